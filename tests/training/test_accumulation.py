"""Accumulated batches equal one batch of all their rows: each in-tree head alone, packed rows, and whole stages."""

import csv
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from doubles import EchoDataset, make_plan, stages, write_tokenizer
from omnikit_basics.config import CaptionWords, CtcText, Lm, State
from omnikit_llama_omni.config import CTCUnits
from omnikit_vita.nar_ar import NarAr
from torch import Generator, Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from omnikit.contracts.configs import HeadConfig
from omnikit.contracts.specs import CodecSpec, FeatureSpec
from omnikit.contracts.types import Features, Targets
from omnikit.data.batch.windows import PADDING, count_window, target_count
from omnikit.recipe.optim import Optim
from omnikit.recipe.recipe import TrainerConfig
from omnikit.training.codecs.vocoder import VocoderBatch
from omnikit.training.module import Training
from omnikit.training.normalisation import WindowScales
from omnikit.training.stage import run_stages

DIM, VOCABULARY, ACCUMULATE = 16, 11, 4
SIZES = ((3, 1), (9,), (2, 5, 7))  # targets of the rows of three batches: an incomplete window of four


@dataclass
class Counted:
    target_counts: dict[str, float]
    window_counts: dict[str, float] | None = None


def rows(sizes: Sequence[int], make: Callable[[int, Generator], tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    return [make(size, Generator().manual_seed(size)) for size in sizes]


def joined(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Features, Targets]:
    vectors, ids = zip(*pairs, strict=True)
    lengths = [torch.tensor([len(each) for each in column]) for column in (vectors, ids)]
    return (Features(pad_sequence(list(vectors), batch_first=True), lengths[0]),
            Targets(pad_sequence(list(ids), batch_first=True, padding_value=PADDING), lengths[1]))


def tokens(size: int, generator: Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(size, VOCABULARY, generator=generator), torch.randint(VOCABULARY, (size,), generator=generator)


def transcript(size: int, generator: Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(3 * size + 2, DIM, generator=generator), torch.randint(VOCABULARY, (size,), generator=generator)


def units(size: int, generator: Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(size + 1, DIM, generator=generator), torch.randint(VOCABULARY, (size, 1), generator=generator)


def state(size: int, generator: Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(1, DIM, generator=generator), torch.tensor([PADDING if size == 5 else size % 2])


HEADS: dict[str, tuple[HeadConfig, Callable[[int, Generator], tuple[Tensor, Tensor]]]] = {
    "lm": (Lm(), tokens),
    "ctc_text": (CtcText(), transcript),
    "caption_words": (CaptionWords(), transcript),
    "state": (State(), state),
    "ctc_units": (CTCUnits(dim=16, heads=2, layers=1, ffn=16, factor=4), units),
    "nar_ar": (NarAr(dim=8, heads=2, layers=2, ffn=16), units),
}


def gradients(module: nn.Module, loss: Tensor, given: Sequence[Tensor]) -> list[Tensor]:
    wanted = [*module.parameters(), *given]
    return list(torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True))


@pytest.mark.parametrize("name", HEADS)
def test_accumulated_losses_of_a_head_are_the_loss_of_all_rows(name: str) -> None:
    config, make = HEADS[name]
    codec = CodecSpec(16000, Fraction(50), 1, VOCABULARY, merged=True)
    torch.manual_seed(0)
    module = config.build(FeatureSpec(DIM, count=1), codec, VOCABULARY).eval()
    batches = [rows(sizes, make) for sizes in SIZES]
    vectors = [vector.requires_grad_(True) for batch in batches for vector, _ in batch]
    counted = [Counted({"one": target_count(config, joined(batch)[1])}) for batch in batches]
    count_window(counted)
    scales = WindowScales(["one"], ACCUMULATE)
    found = sum(module.loss(*joined(batch)) * scales(each, torch.device("cpu"))["one"] / ACCUMULATE  # as Lightning divides
                for batch, each in zip(batches, counted, strict=True))
    expected = module.loss(*joined([row for batch in batches for row in batch]))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    for one, other in zip(gradients(module, found, vectors), gradients(module, expected, vectors), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_a_batch_without_targets_for_a_loss_leaves_its_mean_alone() -> None:
    batches = [Counted({"text": 4.0}), Counted({"text": 2.0, "speech": 6.0})]
    count_window(batches)
    scales = [WindowScales(["text", "speech"], 2)(batch, torch.device("cpu")) for batch in batches]
    assert scales == [{"text": pytest.approx(4 / 3)}, {"text": pytest.approx(2 / 3), "speech": pytest.approx(2)}]


def test_durations_of_a_vocoder_count_by_their_units() -> None:
    batches = [VocoderBatch(*[torch.zeros(0)] * 4, {"mel": 4.0, "duration": count}) for count in (30.0, 10.0)]
    count_window(batches)
    scales = [WindowScales(["mel", "duration"], 2)(batch, torch.device("cpu")) for batch in batches]
    assert scales == [{"mel": 1.0, "duration": 1.5}, {"mel": 1.0, "duration": 0.5}]


# ---- stages ----


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def step_gradients(tokenizer: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **batch: int) -> list[dict[str, Tensor]]:
    """Give the gradients of each step of a pass over 34 rows in their order: three steps, the last of ten rows."""
    run = TrainerConfig(max_epochs=1, window=1, **batch)
    stage = replace(stages()["understand"], trainer=run, optim=Optim(lr=1e-9, clip=0.0))  # the weights stay where they are
    found: list[dict[str, Tensor]] = []
    monkeypatch.setattr(Training, "on_before_optimizer_step", lambda self, optimizer: found.append(
        {name: weight.grad.clone() for name, weight in self.model.named_parameters() if weight.grad is not None}))
    run_stages(make_plan(tokenizer, echo=EchoDataset(34, textual=3), only={"understand": stage}), folder, "")
    return found


def test_steps_of_accumulated_batches_equal_those_of_large_batches(tokenizer: str, tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    large = step_gradients(tokenizer, tmp_path / "a", monkeypatch, batch_size=12)
    small = step_gradients(tokenizer, tmp_path / "b", monkeypatch, batch_size=4, accumulate=3)
    assert len(large) == len(small) == 3 and large[0].keys() == small[0].keys()
    for one, other in zip(large, small, strict=True):
        for name in one:
            torch.testing.assert_close(other[name], one[name], atol=1e-6, rtol=0)


def test_metrics_of_unequal_batches_equal_those_of_one_batch(tokenizer: str, tmp_path: Path) -> None:
    found = []
    for size in (12, 5):  # 34 rows: batches of 12, 12 and 10, or six of 5 and one of 4
        run = TrainerConfig(max_epochs=1, window=1, batch_size=size, log_every=100)
        stage = replace(stages()["understand"], trainer=run, optim=Optim(lr=1e-9, clip=0.0))
        run_stages(make_plan(tokenizer, echo=EchoDataset(34, textual=3), only={"understand": stage}), tmp_path / str(size), "")
        with (tmp_path / str(size) / "understand" / "metrics.csv").open() as file:
            found.append([float(row["loss.text"]) for row in csv.DictReader(file)])
    assert found == [[pytest.approx(found[1][0], rel=1e-5)]] * 2


RANK = """
import sys
import torch, torch.distributed as dist
import torch.nn.functional as F
from omnikit.training.normalisation import WindowScales

class Batch:
    def __init__(self, rows):
        self.rows, self.target_counts, self.window_counts = rows, {"text": float(len(rows))}, None

rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
x, y = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 3
weight = torch.nn.Parameter(torch.randn(3, 4, generator=torch.Generator().manual_seed(1)))
parts = ([range(0, 3), range(3, 4)], [range(4, 15), range(15, 20)])[rank]  # two batches on each rank
batches, scales = [Batch(part) for part in parts], WindowScales(["text"], 2, ranks=2)
for batch in batches:
    batch.window_counts = {"text": float(sum(map(len, parts)))}
    loss = F.cross_entropy(x[list(batch.rows)] @ weight.T, y[list(batch.rows)])
    (scales(batch, torch.device("cpu"))["text"] * loss / 2).backward()
dist.all_reduce(weight.grad)
whole = torch.autograd.grad(F.cross_entropy(x @ weight.T, y), weight)[0]
print(float((weight.grad - whole).abs().max()))  # ranks add up their gradients
dist.destroy_process_group()
"""


def test_gradients_of_two_ranks_are_those_of_one_batch(tmp_path: Path) -> None:
    ranks = [subprocess.Popen([sys.executable, "-c", RANK, str(rank), str(tmp_path / "store")], stdout=subprocess.PIPE,
                              text=True) for rank in range(2)]
    for rank in ranks:
        assert float(rank.communicate(timeout=120)[0]) < 1e-6
