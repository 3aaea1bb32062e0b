"""The wiring of a plan as an SVG: inputs on the left, backbone in the middle, outputs on the right."""

from html import escape

from omnikit.plan.plan import Plan
from omnikit.plan.tables import part_lines

WIDTH, HEIGHT, GAP, LANE = 210, 64, 46, 96
_FILL = {"encoder": "#dbeafe", "projector": "#e0e7ff", "backbone": "#fef3c7", "head": "#dcfce7", "codec": "#fce7f3",
         "units": "#fce7f3"}


def draw(plan: Plan, title: str) -> str:
    """Draw one lane for each branch; a head that taps an encoder hangs on that encoder's lane."""
    rows = {part: (component, gives) for part, component, _, gives in part_lines(plan)}
    places = _places(plan)
    lanes = max(y for _, y in places.values()) + 1
    columns = max(x for x, _ in places.values()) + 1
    boxes = "".join(_box(part, *rows[part], *places[part]) for part in places)
    arrows = "".join(_arrow(places[a], places[b]) for a, b in _links(plan))
    width, height = columns * (WIDTH + GAP) + GAP, lanes * LANE + 70
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">'
            '<defs><marker id="tip" markerWidth="9" markerHeight="9" refX="8" refY="4" orient="auto">'
            '<path d="M0,0 L9,4 L0,8 z" fill="#475569"/></marker></defs>'
            f'<rect width="100%" height="100%" fill="white"/><text x="{GAP}" y="30" font-size="18">{escape(title)}</text>'
            f"{arrows}{boxes}</svg>\n")


def _places(plan: Plan) -> dict[str, tuple[int, int]]:
    """Give each part its column and lane."""
    places: dict[str, tuple[int, int]] = {}
    for lane, (name, input_branch) in enumerate(plan.inputs.items()):
        places[f"{name}.encoder"] = (0, lane)
        if input_branch.projector:
            places[f"{name}.projector"] = (1, lane)
    if plan.backbone:
        places["backbone"] = (2, 0)
    first = 3 if plan.backbone else 1
    for lane, (name, output) in enumerate(plan.outputs.items()):
        places[f"{name}.head"] = (first, lane)
        if output.codec:
            places[f"{name}.codec"] = (first + 1, lane)
        if output.units:
            places[f"{name}.units"] = (first, len(plan.outputs) + lane)
    return places


def _links(plan: Plan) -> list[tuple[str, str]]:
    links = []
    for name, input_branch in plan.inputs.items():
        if input_branch.projector:
            links += [(f"{name}.encoder", f"{name}.projector"), (f"{name}.projector", "backbone")]
    for name, output in plan.outputs.items():
        source = output.head.tap if "." in output.head.tap else "backbone"
        links += [(source, f"{name}.head")] + ([(f"{name}.head", f"{name}.codec")] if output.codec else [])
        links += [(f"{name}.units", f"{name}.codec")] if output.units else []
    return links


def _corner(place: tuple[int, int]) -> tuple[int, int]:
    return GAP + place[0] * (WIDTH + GAP), 52 + place[1] * LANE


def _box(part: str, component: str, gives: str, column: int, lane: int) -> str:
    x, y = _corner((column, lane))
    fill = _FILL[part.rpartition(".")[2]]
    gives = gives if len(gives) < 36 else gives.partition(",")[0]
    lines = [(part, 13, "bold"), (component, 12, "normal"), (gives, 11, "normal")]
    texts = "".join(f'<text x="{x + 10}" y="{y + 20 + 18 * i}" font-size="{size}" font-weight="{weight}">{escape(text)}</text>'
                    for i, (text, size, weight) in enumerate(lines))
    return f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{fill}" stroke="#475569"/>{texts}'


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    (x0, y0), (x1, y1) = _corner(start), _corner(end)
    x0, y0, y1, middle = x0 + WIDTH, y0 + HEIGHT // 2, y1 + HEIGHT // 2, x1 - GAP // 2
    if y0 != y1 and end[0] - start[0] > 1:  # around the boxes between them: along the gap under its lane
        low = y0 + LANE // 2
        path = f"M{x0},{y0} H{x0 + GAP // 2} V{low} H{middle} V{y1} H{x1 - 2}"
    else:
        path = f"M{x0},{y0} H{middle} V{y1} H{x1 - 2}"
    return f'<path d="{path}" fill="none" stroke="#475569" stroke-width="1.5" marker-end="url(#tip)"/>'
