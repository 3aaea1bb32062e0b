"""Plots show the medians's numbers."""

import pytest
from matplotlib.axes import Axes

from omnikit.evaluation import aggregate, plots
from omnikit.evaluation.records import Timing

TIMINGS = [Timing("x", 10, 0.1, 0.2, 0.6, 2.0), Timing("y", 10, 0.3, 0.4, 1.0, 2.0), Timing("x", None, 0.5, None, 0.5, 0.0)]


def test_lines_of_latency_are_the_medians_of_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: dict[str, list[float]] = {}
    plot = Axes.plot

    def noted(axes: Axes, x: list[float], y: list[float], *words: str, **more: object) -> object:
        lines.setdefault(str(more.get("label")), []).extend(y)
        return plot(axes, x, y, *words, **more)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(Axes, "plot", noted)
    plots.latency(TIMINGS)
    medians = aggregate.latency(TIMINGS).values()
    for label, name in (("time to first token", "ttft"), ("time to first audio", "time_to_first_audio"),
                        ("total time", "total_time")):
        assert lines[label] == [one.value for found in medians if (one := found[name])]
    assert lines["time to first token"] == pytest.approx([0.2, 0.5])  # between two, not the later one
