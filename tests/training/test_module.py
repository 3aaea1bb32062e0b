"""Rates, groups and metrics."""

from pathlib import Path

import pytest
import torch
from doubles import make_plan, write_tokenizer

from omnikit.errors import RunError
from omnikit.model import OmniModel
from omnikit.recipe import Optim
from omnikit.training.freeze import freeze
from omnikit.training.module import Metrics, groups, part_options, rate


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [("cosine", 0, 0.1), ("cosine", 9, 1.0), ("cosine", 10, 1.0), ("cosine", 55, 0.5), ("cosine", 100, 0.0),
     ("linear", 55, 0.5), ("linear", 100, 0.0), ("constant", 4, 0.5), ("constant", 99, 1.0)],
)
def test_rate_warms_up_then_follows_the_schedule(schedule: str, step: int, expected: float) -> None:
    optim = Optim(schedule=schedule, warmup=0.1)  # type: ignore[arg-type]  # a word of the Literal
    assert rate(step, 100, optim) == pytest.approx(expected)


def test_rate_without_warmup_starts_at_the_peak() -> None:
    assert rate(0, 100, Optim(warmup=0.0)) == 1.0


def test_part_takes_its_own_numbers_then_its_branch_s() -> None:
    optim = Optim(parts={"audio": {"lr": 1e-4, "encoder": {"lr": 2e-6}}, "backbone": {"weight_decay": 0.5}})
    assert part_options(optim, "audio.encoder") == {"lr": 2e-6}
    assert part_options(optim, "audio.projector") == {"lr": 1e-4}
    assert part_options(optim, "backbone") == {"weight_decay": 0.5}


def test_groups_decay_matrices_only(tmp_path: Path) -> None:
    model = OmniModel(make_plan(write_tokenizer(tmp_path)))
    freeze(model, ("audio.projector",))
    found = groups(model, ("audio.projector",), Optim(lr=0.1, weight_decay=0.5, parts={"audio": {"projector": {"lr": 0.2}}}))
    numbers = [(group["lr"], group["weight_decay"], [p.ndim for p in group["params"]]) for group in found]
    assert numbers == [(0.2, 0.5, [2]), (0.2, 0.0, [1])]


def test_metrics_are_means_since_the_last_row(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics.csv", ("text", "speech"), "understand")
    metrics.add({"text": torch.tensor(1.0), "speech": torch.tensor(4.0)})
    metrics.add({"text": torch.tensor(2.0)})
    metrics.write(2, 0.1)
    metrics.add({"text": torch.tensor(5.0)})
    metrics.write(3, 0.2)
    rows = [line.rsplit(",", 1)[0] for line in (tmp_path / "metrics.csv").read_text().splitlines()]
    assert rows == ["step,lr,loss.text,loss.speech", "2,0.1,1.5,4", "3,0.2,5,"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_no_number_ends_the_stage(tmp_path: Path, value: float) -> None:
    metrics = Metrics(tmp_path / "metrics.csv", ("text",), "understand")
    metrics.add({"text": torch.tensor(value)})
    with pytest.raises(RunError, match=rf"Stage understand at step 7: loss text is {value}, .* stages.understand.optim.lr"):
        metrics.write(7, 0.1)
