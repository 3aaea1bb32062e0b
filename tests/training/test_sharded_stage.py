"""A stage of shards is the stage of one process: validated, with stored features, adapters, its optimizers, and resumed.

This file is also what two processes run.
"""

import csv
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.torch import load_file
from two_processes import start_two

from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose
from omnikit.store import best_weights, training_checkpoint
from omnikit.store.runs import WEIGHTS
from omnikit.training.distributed import join
from omnikit.training.stage import run_stages

RECIPE = """\
# @package _global_
defaults:
  - /recipe
  - /audio/encoder: whisper_tiny_random
  - /audio/projector: linear
  - /backbone: qwen2_tiny_random
  - /text/head: lm
  - /transcript/head: ctc_text_stacked
  - /speech/head: ctc_units_tiny_random
  - /speech/codec: unit_hifigan
  - /data/rows: messages_jsonl
  - _self_
template: qwen2p5_vita
data:
  rows: {path: ROWS, provides: [text, audio, answer, codes, transcript], seconds: 5}
trainer: {max_steps: 3, batch_size: 2, log_every: 1, logger: [], window: 1, save_every: 2, keep: 9}
stages:
  understand:
    train: {audio: {projector: full}, backbone: full}
    loss: {text: 1.0}
    data: {rows: 1.0}
    optim: {schedule: constant, warmup: 0.0}
  speak:
    after: null
    train: {speech: {head: full}, transcript: {head: full}}
    loss: {speech: 1.0, transcript: 1.0, text: 1.0}
    data: {rows: 1.0}
    optim: {schedule: constant, warmup: 0.0}
"""
BACKBONE = "stages.understand.train.backbone"
JOBS: dict[str, tuple[str, ...]] = {  # what differs of the stage → overrides
    "validated": ("understand", "+stages.understand.validate.data.rows=1.0", "stages.understand.validate.every=1",
                  "stages.understand.validate.metrics=[accuracy]", "stages.understand.validate.keep_best=text"),
    "features of an encoder": ("understand", "trainer.cache=features"),
    "states of the backbone": ("speak", "trainer.cache=features"),
    "adapters": ("understand", f"{BACKBONE}=lora", "trainer.precision=bf16-true"),
    "adapters on 8 bits": ("understand", f"{BACKBONE}={{lora:{{load_in:8bit}}}}"),
    "adapters on 4 bits": ("understand", f"{BACKBONE}={{lora:{{load_in:4bit}}}}"),
}
COLLECTED_ONCE = ("validated", "adapters")  # jobs that hold a layer's weights from its forward to its backward pass
OPTIMIZERS: dict[str, tuple[str, ...]] = {"adamw": (), "8-bit moments": ("stages.understand.optim.name=adamw_8bit",)}
RESUMED = {"adamw": ("fsdp2", "ddp", "alone"), "8-bit moments": ("fsdp2", "alone")}  # begun by two with shards, and ended by


# ---- what each of the two processes does -----------------------------------------------------------------------------


def plan_of(folder: Path, job: Sequence[str], strategy: str | None = None, steps: int = 3) -> Plan:
    """The plan of a job, which takes the same rows in a step on one device and on two."""
    own = ["trainer.accumulate=2"] if strategy is None else ["trainer.devices=2", f"trainer.strategy={strategy}"]
    return make(compose(str(folder / "small.yaml"), [f"stage={job[0]}", *job[1:], *own, f"trainer.max_steps={steps}"]))


def main(folder: Path) -> None:
    """Do all that two processes are needed for, in one go: starting them takes most of the time."""
    os.environ["OMNIKIT_CACHE"] = str(folder / "cache of two")
    for name, job in JOBS.items():
        own = ("+trainer.reshard=false",) if name in COLLECTED_ONCE else ()
        run_stages(plan_of(folder, (*job, *own), "fsdp2"), folder / f"{name} fsdp2", "")
    for name in ("adapters", "adapters on 4 bits"):
        run_stages(plan_of(folder, JOBS[name], "ddp"), folder / f"{name} ddp", "")
    for name, resumed in RESUMED.items():
        changes, begun = ("understand", *OPTIMIZERS[name]), folder / f"{name} begun"
        run_stages(plan_of(folder, changes, "fsdp2", steps=2), begun, "")
        for each in resumed if join().is_first else ():
            shutil.copytree(begun, folder / f"{name} resumed {each}")
        join().agree(None)
        for each in (each for each in resumed if each != "alone"):
            run_stages(plan_of(folder, changes, each), folder / f"{name} resumed {each}", "")


# ---- tests -----------------------------------------------------------------------------------------------------------


def write(folder: Path) -> None:
    """Six rows, two of them of text alone, and the recipe."""
    draws, rows = np.random.default_rng(0), []
    soundfile.write(folder / "answer.wav", np.zeros(1600), 16000)
    for number in range(6):
        soundfile.write(folder / f"{number}.wav", draws.normal(size=4000 + 1700 * number) * 0.1, 16000)
        spoken = {"type": "audio", "path": f"{number}.wav", "text": "blue"}
        question = spoken if number % 3 else {"type": "text", "text": "what is it"}
        answer = [{"type": "text", "text": "it is " + "so " * number},
                  {"type": "audio", "path": "answer.wav", "codes": [[3], [4], [5 + number]]}]
        rows.append(json.dumps({"id": f"row{number}", "messages": [
            {"role": "user", "content": [question]}, {"role": "assistant", "content": answer}]}))
    (folder / "rows.jsonl").write_text("\n".join(rows))
    (folder / "small.yaml").write_text(RECIPE.replace("ROWS", str(folder / "rows.jsonl")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process trained beside what two did, and what one resumed of two."""
    top = tmp_path_factory.mktemp("sharded")
    write(top)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMNIKIT_CACHE", str(top / "cache of one"))
        for name, job in (*JOBS.items(), *((name, ("understand", *changes)) for name, changes in OPTIMIZERS.items())):
            run_stages(plan_of(top, job), top / f"{name} alone", "")
        start_two(Path(__file__), top)
        for name, changes in OPTIMIZERS.items():
            run_stages(plan_of(top, ("understand", *changes)), top / f"{name} resumed alone", "")
    return top


def stage_folder(folder: Path, run: str) -> Path:
    [found] = (folder / run).glob(f"[!.]*/{WEIGHTS}")
    return found.parent


def numbers(stage: Path, file: str) -> list[list[float]]:
    """Losses and accuracies of each line of a table."""
    with (stage / file).open() as lines:
        return [[float(value) for key, value in line.items() if key.startswith(("loss", "accuracy"))]
                for line in csv.DictReader(lines)]


def assert_same(found: Path, expected: Path, tolerance: float = 2e-5) -> None:
    """Compare weights and losses; float32 leaves 1e-6 of sums in another order."""
    ours, theirs = load_file(found / WEIGHTS), load_file(expected / WEIGHTS)
    assert {key: tensor.shape for key, tensor in ours.items()} == {key: tensor.shape for key, tensor in theirs.items()}
    assert max(float((ours[key].float() - theirs[key].float()).abs().max()) for key in ours) < tolerance
    assert numbers(found, "metrics.csv") == [pytest.approx(line, rel=1e-4) for line in numbers(expected, "metrics.csv")]


@pytest.mark.parametrize("name", JOBS)
def test_shards_train_what_one_process_does(folder: Path, name: str) -> None:
    assert_same(stage_folder(folder, f"{name} fsdp2"), stage_folder(folder, f"{name} alone"))


@pytest.mark.parametrize("name", ["adapters", "adapters on 4 bits"])
def test_adapters_are_trained_by_ddp(folder: Path, name: str) -> None:
    assert_same(stage_folder(folder, f"{name} ddp"), stage_folder(folder, f"{name} alone"))


def test_shards_are_validated_and_the_best_weights_saved(folder: Path) -> None:
    found, expected = (stage_folder(folder, f"validated {each}") for each in ("fsdp2", "alone"))
    assert numbers(found, "validation.csv") == [pytest.approx(line, rel=1e-4) for line in numbers(expected, "validation.csv")]
    assert {name: tensor.shape for name, tensor in best_weights.read(found, 3).items()} == {
        name: tensor.shape for name, tensor in best_weights.read(expected, 3).items()}


@pytest.mark.parametrize(("name", "resumed"), [(name, each) for name, found in RESUMED.items() for each in found])
def test_checkpoint_of_shards_is_resumed_by_any_number_of_processes(folder: Path, name: str, resumed: str) -> None:
    tolerance = 2e-5 if name == "adamw" else 2e-3  # blocks of 8-bit moments are others in shards
    assert_same(stage_folder(folder, f"{name} resumed {resumed}"), stage_folder(folder, f"{name} alone"), tolerance)


def test_each_process_writes_its_own_shards(folder: Path) -> None:
    found = training_checkpoint.newest(stage_folder(folder, "adamw resumed fsdp2"))
    assert found is not None and found.is_sharded and found.step == 3
    assert sorted(found.record["files"]) == [".metadata", "__0_0.distcp", "__1_0.distcp", "state.pt"]
    shares = [found.record["files"][f"__{rank}_0.distcp"][0] for rank in range(2)]
    assert max(shares) < 1.2 * min(shares)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
