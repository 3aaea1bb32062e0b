"""Two processes train as one does: whatever each of them holds, in the same steps, from each other's checkpoints.

This file is also what the processes run.
"""

import atexit
import csv
import os
import sys
from copy import deepcopy
from dataclasses import replace
from itertools import chain, combinations_with_replacement
from pathlib import Path

import numpy as np
import pytest
import torch
from doubles import make_plan, stages, write_tokenizer
from safetensors.torch import load_file
from two_processes import start_two

from omnikit.contracts.types import Batch, ContentPart, Message, Sample
from omnikit.data.batch.loader import BatchLoader, Place, Position, PositionSampler, RankSampler
from omnikit.data.batch.windows import count_window
from omnikit.errors import RunError
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose
from omnikit.store.runs import WEIGHTS
from omnikit.training.distributed import World, complete, join, shard, sum_gradients
from omnikit.training.fit import collator
from omnikit.training.launch import LAUNCHERS, numbers_of_process
from omnikit.training.module import Training
from omnikit.training.stage import check_processes, run_stages
from omnikit.training.trainable.freeze import freeze

KINDS = ("text", "audio", "image", "video")


# ---- what each of the two processes does -----------------------------------------------------------------------------


def questions(kind: str) -> list[Sample]:
    """Two rows of one modality, answers of different lengths."""
    draws, parts = np.random.default_rng(KINDS.index(kind)), {
        "audio": lambda length: ContentPart("audio", "a dog", audio=length, sample_rate=16000),
        "image": lambda size: ContentPart("image", pixels=size), "video": lambda size: ContentPart("video", pixels=size)}
    rows = []
    for index, answer in enumerate(("a dog", "a cat and a bird")):
        media = {"audio": draws.standard_normal(8000 + 4000 * index).astype(np.float32) / 10,
                 "image": draws.integers(0, 255, (64, 64, 3)).astype(np.uint8),
                 "video": draws.integers(0, 255, (30 + 30 * index, 64, 64, 3)).astype(np.uint8)}
        content = (ContentPart("text", "what is it"),) if kind == "text" else (parts[kind](media[kind]),)
        rows.append(Sample(f"{kind} {index}", (Message("user", content), Message("assistant", (ContentPart("text", answer),)))))
    return rows


def reference(model: OmniModel, batches: list[Batch], weights: dict[str, float]) -> dict[str, torch.Tensor]:
    """Gradients of the losses of all rows, each a mean over all its targets, by their definition."""
    model.zero_grad()
    totals = {name: sum(batch.target_counts.get(name, 0.0) for batch in batches) for name in weights}
    terms = [weights[name] * loss * batch.target_counts[name] / totals[name] for batch in batches
             for name, loss in model.losses(batch, weights).items()]
    torch.stack(terms).sum().backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def compare_pairs(folder: Path) -> None:
    """Compare the gradients of two ranks with those of one process, for every pair of modalities, ddp and fsdp2."""
    world, plan = join(), make(compose("vita/tiny"))
    stage = plan.stages["instruct"]
    stage = replace(stage, stage=replace(stage.stage, trainer=replace(stage.stage.trainer, logger=())))
    model = OmniModel(plan, stage.used)
    freeze(model, stage.trained)
    model.eval()
    collate, alone, failures = collator(plan, stage, model), deepcopy(model), []
    for strategy in ("ddp", "fsdp2"):
        module = Training(deepcopy(model), stage, folder / f"{world.rank}.csv", 1, world=world)
        if strategy == "fsdp2":
            shard(module, module.model, world, ("batch_losses",))
        module.sharded = strategy == "fsdp2"
        for pair in combinations_with_replacement(KINDS, 2):
            batches = [collate(questions(kind)) for kind in pair]
            own = batches[world.rank]
            count_window([own])
            module.zero_grad()
            loss = module.training_step(own, 0)
            loss.backward()
            trained = [weight for weight in module.model.parameters() if weight.requires_grad]
            if not module.sharded:
                sum_gradients(trained, world)
            found = {name: complete(weight.grad) for name, weight in module.model.named_parameters() if weight.grad is not None}
            expected = reference(alone, batches, dict(stage.stage.loss))
            worst = max(float((found[name] - grad).abs().max() / grad.abs().max().clamp(min=1e-3))
                        for name, grad in expected.items())
            if worst > 1e-5:  # of each tensor's largest gradient: what float32 leaves of sums in another order
                failures.append(f"{strategy} {pair}: {worst}")
    (folder / f"rank{world.rank}").write_text("\n".join(failures) or "equal")


def plan_of(folder: Path, processes: int, strategy: str = "auto", steps: int = 6, *, behind: bool = False) -> Plan:
    """A stage that takes the same rows in a step on one device and on two.

    Args:
        behind: it starts from the weights of another one, which one device trains alone.
    """
    stage = stages(steps)["understand"]
    trainer = replace(stage.trainer, batch_size=2, accumulate=2 // processes, devices=processes, strategy=strategy, log_every=1,
                      save_every=2, keep=9, logger=())
    optim = replace(stage.optim, schedule="constant", warmup=0.0)  # so that four steps and two more are six
    only = {"understand": replace(stage, after=None, init_from=None, trainer=trainer, optim=optim)}
    if behind:
        alone = replace(trainer, devices=1, accumulate=2, strategy="auto")
        only = {"begin": replace(only["understand"], trainer=alone), "understand": replace(only["understand"], after="begin")}
    return make_plan(write_tokenizer(folder), only=only, run=folder / "run")


def main(folder: Path) -> None:
    """Do all that two processes are needed for, in one go: starting them takes most of the time."""
    rank = os.environ["RANK"]
    atexit.register(lambda: (folder / f"group at the end of rank {rank}").write_text(str(torch.distributed.is_initialized())))
    compare_pairs(folder)
    for name, strategy, steps in (("ddp", "ddp", 6), ("fsdp2", "fsdp2", 6), ("two to one", "fsdp2", 4),
                                  ("one to two", "fsdp2", 6)):
        run_stages(plan_of(folder / name, 2, strategy, steps), folder / name / "run", "")
    run_stages(plan_of(folder / "behind", 2, "ddp", behind=True), folder / "behind" / "run", "")


# ---- tests -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process trained beside what two did, and what one resumed of two and two of one."""
    top = tmp_path_factory.mktemp("distributed")
    for name in ("alone", "ddp", "fsdp2", "two to one", "one to two", "behind", "behind alone"):
        (top / name).mkdir()
    run_stages(plan_of(top / "alone", 1), top / "alone" / "run", "")
    run_stages(plan_of(top / "behind alone", 1, behind=True), top / "behind alone" / "run", "")
    run_stages(plan_of(top / "one to two", 1, steps=4), top / "one to two" / "run", "")
    start_two(Path(__file__), top)
    run_stages(plan_of(top / "two to one", 1), top / "two to one" / "run", "")
    return top


def test_any_pair_of_modalities_gives_the_gradients_of_one_process(folder: Path) -> None:
    assert [(folder / f"rank{rank}").read_text() for rank in range(2)] == ["equal", "equal"]


def test_process_group_ends_before_the_interpreter_does(folder: Path) -> None:
    assert [(folder / f"group at the end of rank {rank}").read_text() for rank in range(2)] == ["False", "False"]


def losses(folder: Path) -> list[float]:
    with (folder / "run" / "understand" / "metrics.csv").open() as file:
        return [float(row["loss.text"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(("name", "other"), [("ddp", "alone"), ("fsdp2", "alone"), ("two to one", "alone"),
                                             ("one to two", "alone"), ("behind", "behind alone")])
def test_two_processes_train_what_one_trains_with_twice_the_accumulation(folder: Path, name: str, other: str) -> None:
    expected, found = (load_file(folder / each / "run" / "understand" / WEIGHTS) for each in (other, name))
    assert {key: tensor.shape for key, tensor in found.items()} == {key: tensor.shape for key, tensor in expected.items()}
    # the optimizer divides gradients by their size: weights with hardly any may differ, but not by a step of lr 0.01
    assert max(float((found[key] - expected[key]).abs().max()) for key in expected) < 5e-3
    assert losses(folder / name) == pytest.approx(losses(folder / other), rel=1e-4)
    assert len(losses(folder / name)) == 6


class Numbered:
    """Passes of five batches; a batch is its pass and number."""

    def batches(self, number: int) -> "list[tuple[int, int]]":
        return [(number, index) for index in range(5)]

    def count(self, number: int) -> int:
        return 5


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("window", [1, 2])
def test_ranks_share_the_batches_of_a_stage_each_once(world: int, window: int) -> None:
    total = list(PositionSampler(Numbered(), Position(), 2, None))
    ranks = [list(RankSampler(PositionSampler(Numbered(), Position(), 2, None), window, rank, world)) for rank in range(world)]
    own = [place.position for rank in ranks for place, _ in rank if not place.repeated]
    assert sorted(own) == sorted(place.position for place, _ in total)
    assert len({len(rank) for rank in ranks}) == 1, "every rank takes part in every step"
    for step in range(0, len(total), window * world):
        end = total[min(step + window * world, len(total)) - 1][0].next
        first = step // world
        assert {place.next for rank in ranks for place, _ in rank[first:first + window]} == {end}


def test_a_repeated_batch_counts_nothing() -> None:
    plan_rows = BatchLoader(Numbered(), lambda key: Counted(), window=1, passes=1, rank=1, world=2, on_window=count_window)
    last = list(plan_rows)[-1]
    assert (last.repeated, last.target_counts, last.window_counts) == (True, {}, {})


class Counted:
    def __init__(self) -> None:
        self.target_counts: dict[str, float] = {"text": 3.0}
        self.window_counts: dict[str, float] | None = None
        self.repeated = False


def test_a_place_is_not_repeated_unless_stated() -> None:
    assert not Place(Position(), Position(0, 1)).repeated


def test_another_number_of_processes_than_the_stage_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="devices × nodes = 2, but this is one process; start it with omnikit train on"):
        check_processes(plan_of(tmp_path, 2, "ddp"), ["understand"], World())


@pytest.mark.parametrize(("environment", "expected"), [
    ({}, None),
    ({"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "0", "MASTER_ADDR": "there"}, (1, 4, 0)),
    ({"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_LOCALID": "3", "MASTER_ADDR": "there"}, (3, 8, 3)),
    ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0"}, None),
], ids=["nothing", "torchrun", "srun", "a job of SLURM without srun"])
def test_a_launcher_states_the_numbers_of_a_process(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: tuple[int, int, int] | None
) -> None:
    for name in (*chain.from_iterable(LAUNCHERS), "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert numbers_of_process() == expected


def test_numbers_that_are_none_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*LAUNCHERS[0], "MASTER_ADDR"):
        monkeypatch.setenv(name, "many")
    with pytest.raises(RunError, match=r"The environment has RANK='many', .* unset them to train in one process"):
        numbers_of_process()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
