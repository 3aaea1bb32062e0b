"""Line charts as SVG text that needs no other file: the same bytes for the same numbers. Reads no run."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 460, 200
LEFT, RIGHT, TOP, BOTTOM = 58, 10, 10, 34  # margins around the lines
COLOURS = ("#1f5f99", "#c45a00", "#3a7d44", "#8a3b8f", "#777777", "#a8324a")  # apart for colour-blind readers, dark on white
WIDE = 30  # how many times the largest value is the smallest before the axis is logarithmic
ALL = "all"  # name of a series that stands alone and needs no legend
POINTS = 600  # of a line at most

Series = Sequence[tuple[float, float]]  # (step, value)


def line_chart(lines: Mapping[str, Series], title: str) -> str:
    """Draw series over steps, with a legend; the axis of values is logarithmic where they spread widely and are positive."""
    drawn = {name: _thinned([point for point in series if math.isfinite(point[1])]) for name, series in lines.items()}
    drawn = {name: series for name, series in drawn.items() if series}
    if not drawn:
        return ""
    values = [value for series in drawn.values() for _, value in series]
    logarithmic = min(values) > 0 and max(values) / min(values) > WIDE
    across = _Axis(0.0, max(step for series in drawn.values() for step, _ in series), LEFT, WIDTH - RIGHT)
    up = _Axis(*_range(values, logarithmic), HEIGHT - BOTTOM, TOP, logarithmic)
    legend = 16 * math.ceil(len(drawn) / 2) if [*drawn] != [ALL] else 0
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT + legend}" role="img" font-size="11">',
             f"<title>{escape(title)}</title>"]
    parts += [_tick_up(up, value) for value in up.ticks()] + [_tick_across(across, value) for value in across.ticks()]
    for index, (name, series) in enumerate(drawn.items()):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(f"{across.at(step):.1f},{up.at(value):.1f}" for step, value in series)
        mark = (f'<circle cx="{path.split(",")[0]}" cy="{path.split(",")[1]}" r="3" fill="{colour}"/>' if len(series) == 1 else
                f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{path}"/>')
        x, y = LEFT + (index % 2) * (WIDTH - LEFT) // 2, HEIGHT + 16 * (index // 2)
        named = (f'<rect x="{x}" y="{y}" width="10" height="10" fill="{colour}"/>'
                 f'<text x="{x + 15}" y="{y + 9}" fill="#1b1b1b">{escape(name)}</text>')
        parts += [mark, *([named] if legend else [])]
    return "".join([*parts, "</svg>"])


def short(value: float) -> str:
    """Write a number in few characters: 0.0012, 3.5, 12k."""
    if value and abs(value) < 1e-3:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    for size, mark in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if mark == 'k' else size):.3g}{mark}"
    return f"{value:.4g}"


class _Axis:
    """Maps values to places in the drawing."""

    def __init__(self, low: float, high: float, start: float, end: float, logarithmic: bool = False) -> None:
        self.low, self.high, self.start, self.end, self.logarithmic = low, high, start, end, logarithmic

    def at(self, value: float) -> float:
        low, high, value = map(math.log10, (self.low, self.high, value)) if self.logarithmic else (self.low, self.high, value)
        return self.start + (self.end - self.start) * ((value - low) / (high - low) if high > low else 0.5)

    def ticks(self) -> list[float]:
        """Give round values within, about five."""
        if self.logarithmic:
            lowest, highest = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            step = max(1, math.ceil((highest - lowest) / 5))
            return [10.0 ** power for power in range(lowest, highest + 1, step)]
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        rough = span / 4
        size = 10 ** math.floor(math.log10(rough))
        step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
        return [index * step for index in range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)]


def _range(values: Sequence[float], logarithmic: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    if logarithmic:
        return 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high))
    low = min(low, 0.0)
    return (low, high) if high > low else (low, low + 1)


def _thinned(series: Series) -> Series:
    every = math.ceil(len(series) / POINTS)
    return series if every <= 1 else [*series[::every], series[-1]]


def _tick_up(axis: _Axis, value: float) -> str:
    y = axis.at(value)
    return (f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{short(value)}</text>')


def _tick_across(axis: _Axis, value: float) -> str:
    return (f'<text x="{axis.at(value):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle" fill="#555">{short(value)}</text>')
