"""Plots as SVG text, the same bytes for the same numbers. Labels are text, in the page's own type face."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from omnikit.evaluation.aggregate import Numbers, setting
from omnikit.evaluation.aggregate import latency as medians
from omnikit.evaluation.estimates import Estimate
from omnikit.evaluation.records import Timing
from omnikit.evaluation.state_accuracy import Confusion

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "omnikit", "font.family": "sans-serif", "font.size": 11,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#dddddd",
    "axes.axisbelow": True}
BLUE, ORANGE, GREY = "#1f5f99", "#c45a00", "#777777"  # apart for colour-blind readers, dark on white
ERRORS = (("WER", "speech_wer", "ground_truth_wer"), ("CER", "speech_cer", "ground_truth_cer"))


def kinds(found: Mapping[str, Numbers]) -> str:
    """Draw exact answers by kind of question."""
    figure, axes = _figure(1.2 + 0.42 * len(found))
    names = list(found)[::-1]
    _bars(axes, [float(position) for position in range(len(names))], [found[name]["exact"] for name in names], BLUE,
          "exact answers")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("exact answers")
    axes.set_ylabel("kind of question")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    return _svg(figure)


def confusion(found: Confusion) -> str:
    """Draw how many questions of each state were predicted as which, darker for a greater fraction of the line."""
    names = list(found)
    figure, axes = _figure(1.3 + 0.5 * len(names))
    totals = [max(1, sum(row.values())) for row in found.values()]
    fractions = [[count / total for count in row.values()] for row, total in zip(found.values(), totals, strict=True)]
    axes.grid(visible=False)
    axes.pcolormesh(fractions, cmap="Blues", vmin=0, vmax=1.3, edgecolors="#bbbbbb", linewidth=0.8)
    for y, row in enumerate(found.values()):
        for x, count in enumerate(row.values()):
            axes.text(x + 0.5, y + 0.5, str(count), ha="center", va="center",
                      color="white" if fractions[y][x] > 0.7 else "#1b1b1b")
    axes.set_xticks([position + 0.5 for position in range(len(names))], names)
    axes.set_yticks([position + 0.5 for position in range(len(names))], names)
    axes.invert_yaxis()
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return _svg(figure)


def errors(found: Numbers) -> str:
    """Draw the ASR model's errors on generated speech beside those on ground-truth speech."""
    figure, axes = _figure(2.6)
    for offset, column, colour, name in ((0.2, 1, ORANGE, "generated speech"), (-0.2, 2, GREY, "ground-truth speech")):
        _bars(axes, [1 + offset, offset], [found[row[column]] for row in ERRORS], colour, name)
    axes.set_yticks([1, 0], [row[0] for row in ERRORS])
    axes.set_xlim(left=0)
    axes.set_xlabel("error rate of the ASR model's transcripts")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    _legend(figure)
    return _svg(figure)


def latency(timings: Sequence[Timing]) -> str:
    """Draw time to first token, time to first audio and total time against Ω: every answer, and the median."""
    figure, axes = _figure(3.6)
    by_omega: dict[str, list[Timing]] = defaultdict(list)
    for timing in timings:
        by_omega[setting(timing)].append(timing)
    typical = list(medians(timings).values())
    for shift, colour, marker, label, name in ((-0.1, BLUE, "o", "time to first token", "ttft"),
                                               (0.0, ORANGE, "s", "time to first audio", "time_to_first_audio"),
                                               (0.1, GREY, "^", "total time", "total_time")):
        dots = [(position + shift, getattr(t, name)) for position, some in enumerate(by_omega.values()) for t in some]
        dots = [(x, y) for x, y in dots if y is not None]
        axes.plot([x for x, _ in dots], [y for _, y in dots], ".", color=colour, alpha=0.35, markersize=4)
        there = [(position + shift, one.value) for position, found in enumerate(typical) if (one := found[name])]
        axes.plot([x for x, _ in there], [y for _, y in there], "-", marker=marker, color=colour, label=label)
    axes.set_xticks(range(len(by_omega)), list(by_omega))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("Ω: codes of a segment at least")
    axes.set_ylabel("seconds from the question")
    _legend(figure)
    return _svg(figure)


def _figure(height: float) -> tuple[Figure, Axes]:
    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, height), layout="constrained")
        return figure, figure.subplots()


def _bars(axes: Axes, positions: Sequence[float], found: Sequence[Estimate | None], colour: str, name: str) -> None:
    there = [(position, one) for position, one in zip(positions, found, strict=True) if one is not None]
    values = [one.value for _, one in there]
    below = [one.value - one.low if one.low is not None else 0.0 for _, one in there]
    above = [one.high - one.value if one.high is not None else 0.0 for _, one in there]
    axes.barh([position for position, _ in there], values, height=0.36 if name != "exact answers" else 0.6, color=colour,
              label=name, xerr=[[max(0.0, v) for v in below], [max(0.0, v) for v in above]],
              error_kw={"ecolor": "#222222", "elinewidth": 1.2, "capsize": 3})


def _legend(figure: Figure) -> None:
    figure.legend(loc="outside upper center", ncols=3, frameon=False)


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    with rc_context(STYLE):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg"):]  # without the XML header, which HTML does not want
