"""Metrics."""

from pathlib import Path

import pytest
import torch

from omnikit.errors import RunError
from omnikit.training.monitoring.metrics import Metrics


def test_metrics_are_means_since_the_last_row(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics.csv", ("text", "speech"), "understand")
    metrics.add({"text": torch.tensor(1.0), "speech": torch.tensor(4.0)})
    metrics.add({"text": torch.tensor(2.0)})
    metrics.write(2, 0.1)
    metrics.add({"text": torch.tensor(5.0)})
    metrics.write(3, 0.2)
    rows = [line.rsplit(",", 1)[0] for line in (tmp_path / "metrics.csv").read_text().splitlines()]
    assert rows == ["step,lr,loss.text,loss.speech", "2,0.1,1.5,4", "3,0.2,5,"]


def test_metrics_are_means_over_targets(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics.csv", ("text",), "understand")
    for loss, targets in ((1.0, 3.0), (4.0, 9.0), (0.0, 0.0)):
        metrics.add({"text": torch.tensor(loss)}, {"text": targets})
    assert metrics.check(1) == {"text": pytest.approx((1.0 * 3 + 4.0 * 9) / 12)}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_no_number_ends_the_stage(tmp_path: Path, value: float) -> None:
    metrics = Metrics(tmp_path / "metrics.csv", ("text",), "understand")
    metrics.add({"text": torch.tensor(value)})
    with pytest.raises(RunError, match=rf"Stage understand at step 7: loss text is {value}, .* stages.understand.optim.lr"):
        metrics.write(7, 0.1)
