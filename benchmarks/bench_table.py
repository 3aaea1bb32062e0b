"""What benchmarks measure: ratios and numbers, judged over alternating rounds, as a table and as JSON. Runs no benchmark."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from omnikit.text_table import columns

MORE = 3  # times as many rounds at most, while a limit lies within the spread
Cost = float | Sequence[float]  # of one round, or of each


@dataclass(frozen=True)
class Ratio:
    """A comparison of two ways: the cost of one as a multiple of the other's, and its limit."""

    name: str
    above: str
    below: str
    most: float | None = None
    least: float | None = None


@dataclass(frozen=True)
class Measure:
    """One line of the table.

    Args:
        value: of a ratio over rounds the median of the rounds' ratios.
        spread: between which values the middle half of the rounds lies.
    """

    benchmark: str
    name: str
    value: float
    unit: str = "x"
    rounds: int = 1
    spread: tuple[float, float] | None = None
    most: float | None = None
    least: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the value keeps to its limits; without one it does."""
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    @property
    def is_undecided(self) -> bool:
        """Whether a limit lies within the spread."""
        low, high = self.spread or (self.value, self.value)
        return any(limit is not None and low < limit < high for limit in (self.most, self.least))

    def line(self) -> tuple[str, ...]:
        """Give its cells: name, value, spread, limit, verdict."""
        spread = f"{short(self.spread[0])} to {short(self.spread[1])} ({self.rounds} rounds)" if self.spread else ""
        limits = [f"at {word} {short(limit)}" for word, limit in (("most", self.most), ("least", self.least))
                  if limit is not None]
        return f"  {self.name}", f"{short(self.value)} {self.unit}", spread, ", ".join(limits), self._verdict(limits)

    def _verdict(self, limits: Sequence[str]) -> str:
        return ("met" if self.is_met else "MISSED") if limits else ""


@dataclass
class Measures:
    """Takes what one benchmark measures; every limit is judged when the benchmark has ended, so that no number is lost."""

    benchmark: str
    found: list[Measure] = field(default_factory=list)

    def ratio(self, name: str, ours: Cost, theirs: Cost, *, most: float | None = None, least: float | None = None) -> Measure:
        """Note ours / theirs: of two numbers, or of the numbers of each round, whose median counts."""
        above, below = ([cost] if isinstance(cost, float | int) else list(cost) for cost in (ours, theirs))
        ratios = [one / other for one, other in zip(above, below, strict=True)]
        made = Measure(self.benchmark, name, statistics.median(ratios), "x", len(ratios), middle_half(ratios), most, least)
        self.found.append(made)
        return made

    def number(self, name: str, value: float, unit: str, *, most: float | None = None, least: float | None = None) -> Measure:
        """Note a number with its unit; of one that depends on the machine there should be no limit."""
        self.found.append(Measure(self.benchmark, name, float(value), unit, most=most, least=least))
        return self.found[-1]

    def compare(self, ways: Mapping[str, Callable[[], float]], *ratios: Ratio, rounds: int = 5) -> dict[str, list[float]]:
        """Let ways take turns, in the other order every second round, and note their ratios; gives each way's costs.

        While the limit of a ratio lies within its spread, there are more rounds, up to three times as many.

        Args:
            ways: each gives what it cost, for example `processor_time(call)`.
        """
        costs: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(MORE * rounds):
            if number >= rounds and not any(self._judged(ratio, costs).is_undecided for ratio in ratios):
                break
            for name in list(ways)[::-1 if number % 2 else 1]:
                costs[name].append(ways[name]())
        for ratio in ratios:
            self.found.append(self._judged(ratio, costs))
        return costs

    def missed(self) -> list[str]:
        """Give the measures that keep to no limit of theirs, in words."""
        return [" ".join(measure.line()).strip() for measure in self.found if not measure.is_met]

    def _judged(self, ratio: Ratio, costs: Mapping[str, Sequence[float]]) -> Measure:
        return Measures(self.benchmark).ratio(ratio.name, costs[ratio.above], costs[ratio.below], most=ratio.most,
                                              least=ratio.least)


def processor_time(call: Callable[[], object]) -> Callable[[], float]:
    """Give a way whose cost is the seconds of processor time that a call takes in this process."""
    def cost() -> float:
        start = time.process_time()
        call()
        return time.process_time() - start

    return cost


def middle_half(values: Sequence[float]) -> tuple[float, float] | None:
    """Give the first and the third quartile; None of fewer than three values."""
    if len(values) < 3:
        return None
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def short(value: float) -> str:
    """Give four digits of a small number, and of a large one those before the point."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table(measures: Sequence[Measure]) -> str:
    """Give measures in columns, under the benchmarks that they are of."""
    lines: list[tuple[str, ...]] = [("measure", "value", "middle half of the rounds", "limit", "")]
    for benchmark in dict.fromkeys(measure.benchmark for measure in measures):
        lines.append((benchmark, ""))
        lines += [measure.line() for measure in measures if measure.benchmark == benchmark]
    return columns(lines, indent="")


def write(path: Path, measures: Sequence[Measure], seconds: Mapping[str, float]) -> None:
    """Write measures, the seconds of each benchmark and the machine as JSON."""
    machine = {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count(),
               "python": platform.python_version(), "load": os.getloadavg()}
    lines = [asdict(measure) | {"met": measure.is_met} for measure in measures]
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine, "measures": lines,
               "seconds": dict(seconds)}
    path.write_text(json.dumps(content, indent=1) + "\n")
