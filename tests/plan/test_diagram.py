"""The wiring diagram: what is drawn, that no arrow crosses a part, and what a stage marks."""

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest

from omnikit.errors import ConfigError
from omnikit.paths import recipe_files
from omnikit.plan.diagram import Layout, draw, is_training_only
from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose

SVG = "{http://www.w3.org/2000/svg}"
Segment = tuple[tuple[float, float], tuple[float, float]]


@pytest.fixture(scope="module")
def vita() -> Plan:
    return make(compose("vita_1_5/full"))


def groups(svg: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).findall(f"{SVG}g"))


def arrow(svg: str, label: str) -> ElementTree.Element:
    found, = (path for group in groups(svg) for path in group.findall(f"{SVG}path")
              if [text.text for text in group.findall(f"{SVG}text")] == [label])
    return found


def box(svg: str, part: str) -> ElementTree.Element:
    found, = (group for group in groups(svg) if [text.text for text in group.findall(f"{SVG}text")][:1] == [part]
              and group.find(f"{SVG}rect") is not None)
    return found


def points(path: ElementTree.Element) -> list[tuple[float, float]]:
    """Read a path of M, H and V."""
    x = y = 0.0
    found = []
    for command, numbers in re.findall(r"([MHV])([\d.,]+)", path.attrib["d"]):
        values = [float(number) for number in numbers.split(",")]
        x, y = {"M": (values[0], values[-1]), "H": (values[0], y), "V": (x, values[0])}[command]
        found.append((x, y))
    return found


def rectangle(group: ElementTree.Element) -> tuple[float, float, float, float]:
    rect = group.find(f"{SVG}rect")
    assert rect is not None
    x, y, width, height = (float(rect.attrib[key]) for key in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def crosses(segment: Segment, rectangle: tuple[float, float, float, float]) -> bool:
    """Say whether an upright or level segment has a point inside a rectangle."""
    (x0, y0), (x1, y1) = segment
    left, top, right, bottom = rectangle
    return max(x0, x1) > left and min(x0, x1) < right and max(y0, y1) > top and min(y0, y1) < bottom


@pytest.mark.parametrize("recipe", recipe_files())
def test_no_arrow_crosses_a_part(recipe: str) -> None:
    svg = draw(make(compose(recipe)))
    parts = [rectangle(group) for group in groups(svg)[:-1] if group.find(f"{SVG}rect") is not None]  # the last is the legend
    segments = [segment for group in groups(svg) for path in group.findall(f"{SVG}path") for segment in pairwise(points(path))]
    assert segments and not [(segment, part) for segment in segments for part in parts if crosses(segment, part)]


@pytest.mark.parametrize("recipe", recipe_files())
def test_every_part_has_a_place_of_its_own(recipe: str) -> None:
    plan = make(compose(recipe))
    boxes = Layout(plan).boxes
    assert set(boxes) == set(plan.parts())
    assert not [(one.part, other.part) for one, other in combinations(boxes.values(), 2) if one.column == other.column
                and one.lane < other.lane + other.lanes and other.lane < one.lane + one.lanes]


def test_head_on_an_encoder_is_drawn_from_the_encoder(vita: Plan) -> None:
    svg = draw(vita)
    left, _, right, bottom = rectangle(box(svg, "audio.encoder"))
    head = rectangle(box(svg, "transcript.head"))
    found = next(points(path) for group in groups(svg) for path in group.findall(f"{SVG}path")
                 if points(path)[-1][0] == head[0] - 2 and head[1] < points(path)[-1][1] < head[3])
    assert left < found[0][0] < right and found[0][1] == bottom


@pytest.mark.parametrize("label", ["4096 × 256", "3584 × 12.5 Hz", "logits, 152064", "hidden, 3584", "embeddings, 3584",
                                   "1 × 1024, 40 Hz", "waveform, 24000 Hz"])
def test_arrow_has_hidden_size_and_rate(label: str, vita: Plan) -> None:
    assert arrow(draw(vita), label) is not None


def test_parts_that_only_train_are_dashed(vita: Plan) -> None:
    assert [part for part in vita.parts() if is_training_only(vita, part)] == ["transcript.head"]
    rect = box(draw(vita), "transcript.head").find(f"{SVG}rect")
    assert rect is not None and "stroke-dasharray" in rect.attrib


def test_transcript_head_without_a_backbone_gives_the_answer() -> None:
    assert not is_training_only(make(compose("asr/tiny")), "transcript.head")


@pytest.mark.parametrize(("part", "state"), [
    ("audio.encoder", "frozen"), ("audio.projector", "trained"), ("backbone", "frozen"),
    ("speech.codec", "not run")])
def test_stage_marks_its_parts(part: str, state: str, vita: Plan) -> None:
    texts = [text.text for text in box(draw(vita, "align_audio"), part).findall(f"{SVG}text")]
    assert texts[-1] == state


def test_stage_that_uses_the_embedding_table_alone(vita: Plan) -> None:
    texts = [text.text for text in box(draw(vita, "speak"), "backbone").findall(f"{SVG}text")]
    assert texts[-1] == "frozen, embedding table alone"


def test_unknown_stage_is_one_sentence(vita: Plan) -> None:
    with pytest.raises(ConfigError, match=r"stage is speek, which is not a stage of vita_1_5/full\. Did you mean 'speak'\?"):
        draw(vita, "speek")


@pytest.mark.parametrize("recipe", recipe_files())
def test_no_two_arrows_lie_on_each_other(recipe: str) -> None:
    paths = re.findall(r'<path d="([^"]+)" fill="none"', draw(make(compose(recipe))))
    assert len(paths) == len(set(paths)) > 2


def test_codes_that_the_backbone_reads_lead_back_to_it() -> None:
    svg = draw(make(compose("survey/mini_omni2/full")))
    (start, _), (end, _) = points(arrow(svg, "codes of each step"))
    assert start == rectangle(box(svg, "speech.head"))[0] and end == rectangle(box(svg, "backbone"))[2] + 2
