"""Plots show the card's numbers."""

import pytest
from matplotlib.axes import Axes

from omnikit.evaluation import aggregate, plots
from omnikit.evaluation.records import Timing

TIMINGS = [Timing("x", 10, 0.1, 0.2, 0.6, 2.0), Timing("y", 10, 0.3, 0.4, 1.0, 2.0), Timing("x", None, 0.5, None, 0.5, 0.0)]


def test_lines_of_latency_are_the_middles_of_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, list[float]] = {}
    plot = Axes.plot

    def noted(axes: Axes, x: list[float], y: list[float], *words: str, **more: object) -> object:
        drawn.setdefault(str(more.get("label")), []).extend(y)
        return plot(axes, x, y, *words, **more)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(Axes, "plot", noted)
    plots.latency(TIMINGS)
    card = aggregate.latency(TIMINGS).values()
    for label, name in (("first text", "first_text"), ("first sound", "first_sound"), ("everything", "whole")):
        assert drawn[label] == [one.value for found in card if (one := found[name])]
    assert drawn["first text"] == pytest.approx([0.2, 0.5])  # between two, not the later one
