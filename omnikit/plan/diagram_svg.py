"""Boxes and arrows as SVG. Holds a grid of columns and lanes, and no plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

BOX, GAP = (208, 62), (132, 32)  # width and height; between columns and lanes
LEFT, TOP, RIGHT, BOTTOM = 164, 62, 170, 86  # margins
INDENT = 30  # of a box that hangs below the part that it taps
FILLS = {"encoder": "#dbeafe", "projector": "#e0e7ff", "backbone": "#fef3c7", "head": "#dcfce7", "codec": "#fce7f3",
         "units": "#fce7f3"}
LINE, ACCENT = "#475569", "#b91c1c"
DASHES, FADED = ' stroke-dasharray="6 4"', ' opacity="0.35"'
TIP = ('<marker id="tip" markerWidth="9" markerHeight="9" refX="8" refY="4" orient="auto">'
       f'<path d="M0,0 L9,4 L0,8 z" fill="{LINE}"/></marker>')


@dataclass
class Box:
    """A part in the grid.

    Args:
        lanes: that it is high.
        indented: it hangs below the part that it taps.
        dashed: it runs while training only.
        state: in a stage: "trained", "frozen" or "not run"; "" where no stage is shown.
    """

    part: str
    column: int
    lane: int
    lanes: int = 1
    indented: bool = False
    component: str = ""
    detail: str = ""
    dashed: bool = False
    state: str = ""

    @property
    def x(self) -> int:
        """The left edge."""
        return LEFT + self.column * (BOX[0] + GAP[0]) + (INDENT if self.indented else 0)

    @property
    def right(self) -> int:
        """The right edge."""
        return self.x + BOX[0]

    @property
    def y(self) -> int:
        """The upper edge."""
        return TOP + self.lane * (BOX[1] + GAP[1])

    @property
    def bottom(self) -> int:
        """The lower edge."""
        return self.y + self.lanes * (BOX[1] + GAP[1]) - GAP[1]

    def svg(self) -> str:
        """Draw it."""
        dash = DASHES if self.dashed else ""
        line = f'stroke="{ACCENT}" stroke-width="3"' if self.state == "trained" else f'stroke="{LINE}" stroke-width="1.2"'
        faded = FADED if self.state == "not run" else ""
        middle = (self.y + self.bottom) // 2
        lines = [(self.part, 13, "bold"), (self.component, 12, "normal"), (self.detail, 11, "normal")]
        lines = [line for line in lines if line[0]]
        texts = "".join(_text(self.x + 11, middle + 5 + 17 * i - 17 * (len(lines) - 1) // 2, words, size=size, weight=weight)
                        for i, (words, size, weight) in enumerate(lines))
        return (f'<g{faded}><rect x="{self.x}" y="{self.y}" width="{BOX[0]}" height="{self.bottom - self.y}" rx="8"'
                f' fill="{FILLS[self.part.rpartition(".")[2]]}" {line}{dash}/>{texts}</g>')


@dataclass(frozen=True)
class Arrow:
    """What flows from one box to another; None is the world outside."""

    start: Box | None
    end: Box | None
    label: str
    dashed: bool = False

    def svg(self) -> str:
        """Draw it with its label."""
        dash = DASHES if self.dashed else ""
        faded = any(box is not None and box.state == "not run" for box in (self.start, self.end))
        path, (x, y, anchor) = self._path()
        label = _text(x, y, self.label, size=11, anchor=anchor)
        return (f'<g{FADED if faded else ""}><path d="{path}" fill="none" stroke="{LINE}"'
                f' stroke-width="1.5"{dash} marker-end="url(#tip)"/>{label}</g>')

    def _path(self) -> tuple[str, tuple[int, int, str]]:
        """Give the path, and where its label stands: x, y and the anchor of the text."""
        start, end = self.start, self.end
        if start is None:
            assert end, "an arrow has one end at least"
            y = (end.y + end.bottom) // 2
            return f"M{end.x - 28},{y} H{end.x - 2}", (end.x - 34, y + 4, "end")
        if end is None:
            y = (start.y + start.bottom) // 2
            return f"M{start.right},{y} H{start.right + 26}", (start.right + 31, y + 4, "start")
        if start.column > end.column:  # back, below the arrow that leads there
            y = start.y + BOX[1] - 12
            return f"M{start.x},{y} H{end.right + 2}", ((start.x + end.right) // 2 + 3, y + 14, "middle")
        if start.column < end.column and start.lane > end.lane and start.lanes == end.lanes == 1:  # right, then up
            x, y = end.x + BOX[0] // 2, start.y + BOX[1] // 2
            return f"M{start.right},{y} H{x} V{end.bottom + 2}", ((start.right + end.x) // 2 - 3, y - 6, "middle")
        if start.column < end.column:  # in the lane of the lower one of the two that is one lane high
            y = ((end if end.lanes == 1 else start).y + BOX[1] // 2)
            return f"M{start.right},{y} H{end.x - 2}", ((start.right + end.x) // 2 - 3, y - 6, "middle")
        if start.lane > end.lane:  # up, in one column
            x = start.x + BOX[0] // 2
            return f"M{x},{start.y} V{end.bottom + 2}", (x + 8, (start.y + end.bottom) // 2 + 4, "start")
        if end.x == start.x:  # down, in one column
            x = start.x + BOX[0] // 2
            return f"M{x},{start.bottom} V{end.y - 2}", (x + 8, (start.bottom + end.y) // 2 + 4, "start")
        x, y = start.x + INDENT // 2, end.y + BOX[1] // 2
        return f"M{x},{start.bottom} V{y} H{end.x - 2}", (x + 8, end.y - GAP[1] // 2 + 4, "start")


def page(title: str, boxes: Sequence[Box], arrows: Sequence[Arrow], *, of_stage: bool) -> str:
    """Give the SVG with a title above and a legend below."""
    width = max([*(box.right for box in boxes), LEFT]) + RIGHT
    width = max(width, 760)
    bottom = max([*(box.bottom for box in boxes), TOP])
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{bottom + BOTTOM}"'
            f' viewBox="0 0 {width} {bottom + BOTTOM}" font-family="sans-serif"><defs>{TIP}</defs>'
            f'<rect width="100%" height="100%" fill="white"/><text x="24" y="34" font-size="18">{title}</text>'
            f'{"".join(arrow.svg() for arrow in arrows)}{"".join(box.svg() for box in boxes)}'
            f'{_legend(bottom + 44, of_stage=of_stage)}</svg>\n')


def _legend(y: int, *, of_stage: bool) -> str:
    """Explain lines and numbers."""
    samples = [(f'stroke="{LINE}" stroke-width="1.2"{DASHES}', "training only")]
    if of_stage:
        samples = [(f'stroke="{ACCENT}" stroke-width="3"', "trained in this stage"),
                   (f'stroke="{LINE}" stroke-width="1.2"', "frozen"),
                   (f'stroke="{LINE}" stroke-width="1.2"{FADED}', "does not run in this stage"), *samples]
    drawn, x = "", 24
    for style, words in samples:
        drawn += f'<rect x="{x}" y="{y - 11}" width="24" height="14" rx="3" fill="#f8fafc" {style}/>'
        drawn += _text(x + 31, y, words, size=11)
        x += 50 + 6 * len(words)
    note = "on an arrow: hidden size × rate, or × positions of one item; codebooks × codes, rate"
    return f'<g>{drawn}{_text(24, y + 24, note, size=11)}</g>'


def _text(x: int, y: int, words: str, *, size: int, weight: str = "normal", anchor: str = "start") -> str:
    bold = f' font-weight="{weight}"' if weight != "normal" else ""
    side = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x}" y="{y}" font-size="{size}"{bold}{side}>{escape(words)}</text>'
