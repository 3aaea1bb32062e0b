"""Images and videos in batches: rows with and without them, counts before the model runs, what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from doubles import write_tokenizer
from vision_doubles import SPEC, make_row, make_vision_plan, spoken_question
from vision_doubles import image as pixels_of

from omnikit.contracts.specs import ImageSpec
from omnikit.contracts.types import ContentPart
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.signals import count_tiles, load_tiles
from omnikit.data.media.image import cut_tiles, normalise, save_image
from omnikit.data.media.video import save_video
from omnikit.errors import DataError
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan
from omnikit.splice import normalised, pooled
from omnikit.taps import Taps

WORD = ContentPart("text", text="one")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make_vision_plan(write_tokenizer(tmp_path))


def image(width: int = 8, height: int = 8, seed: int = 0) -> ContentPart:
    return ContentPart("image", pixels=pixels_of(width, height, seed))


def video(frames: int, rate: float = 1.0) -> ContentPart:
    return ContentPart("video", pixels=np.stack([pixels_of(seed=index) for index in range(frames)]), frame_rate=rate)


def test_rows_with_and_without_media_share_a_batch(plan: Plan) -> None:
    rows = [make_row(image(16, 8)), make_row(spoken_question()), make_row(WORD), make_row(video(3)),
            make_row(image(), spoken_question(), WORD)]
    batch = Collator(plan, ["text"])(rows)
    assert batch.counts == {"audio": [1, 1], "vision": [4] * (3 + 3 + 1)}  # two tiles and a thumbnail; three frames; one tile
    assert batch.rows == {"audio": [1, 4], "vision": [0, 0, 0, 3, 3, 3, 4]}
    assert batch.signals["vision"].data.shape == (7, 3, 8, 8)
    assert batch.signals["vision"].lengths.tolist() == [1] * 7


def test_rows_of_a_mixed_batch_give_what_they_give_alone(plan: Plan) -> None:
    rows = [make_row(image(16, 8)), make_row(spoken_question()), make_row(WORD), make_row(video(3)),
            make_row(image(), spoken_question(), WORD)]
    model, collate = OmniModel(plan).eval(), Collator(plan, ["text"])
    together = Taps(model, collate(rows)).hidden
    for index, row in enumerate(rows):
        alone = Taps(model, collate([row])).hidden[0]
        torch.testing.assert_close(together[index, :len(alone)], alone, atol=1e-5, rtol=1e-5)  # float32 in another order


def test_images_of_one_turn_have_counts_of_their_own(plan: Plan) -> None:
    batch = Collator(plan, ["text"])([make_row(image(), WORD, image(8, 24), image(16, 8))])
    assert batch.counts["vision"] == [4] * (1 + 4 + 3)
    first, behind = batch.slots["vision"][:4].tolist(), batch.slots["vision"][4:].tolist()
    assert behind == list(range(first[-1] + 2, first[-1] + 2 + 28))  # one word lies between


def test_vectors_of_tiles_stand_in_their_order(plan: Plan) -> None:
    model, part = OmniModel(plan).eval(), image(16, 8)
    taps = Taps(model, Collator(plan, ["text"])([make_row(part)]))
    eye, nerve = model.encoder("vision"), model.projector("vision")
    one = torch.from_numpy(normalise(cut_tiles(part.pixels, SPEC), SPEC))
    expected = nerve(eye(type(taps.batch.signals["vision"])(one, torch.ones(3, dtype=torch.int64)))).data.flatten(0, 1)
    torch.testing.assert_close(taps.inputs.flatten(0, 1)[taps.batch.slots["vision"]], expected)


def test_tiles_are_bytes_until_the_model_normalises_them(plan: Plan) -> None:
    part = image(16, 8)
    signal = Collator(plan, ["text"])([make_row(part)]).signals["vision"]
    assert signal.data.dtype == torch.uint8
    expected = torch.from_numpy(normalise(cut_tiles(part.pixels, SPEC), SPEC))  # by numpy
    assert torch.equal(normalised(signal, SPEC).data, expected)


def test_frames_are_pooled_at_the_splice(tmp_path: Path) -> None:
    spec = ImageSpec(8, most_tiles=4, least_frames=2, most_frames=5, pooled=(2, 4, 1))
    plan = make_vision_plan(write_tokenizer(tmp_path), spec)
    batch = Collator(plan, ["text"])([make_row(video(5), image())])
    assert batch.counts["vision"] == [4, 1, 4, 1, 4, 4]  # the image keeps its own
    taps = Taps(OmniModel(plan).eval(), batch)
    found = taps.inputs.flatten(0, 1)[batch.slots["vision"]]
    torch.testing.assert_close(found[4], taps.point("vision.projector").data[1].mean(0))  # 2 x 2 to 1 x 1 is the mean


def test_pooling_keeps_a_plane_of_colour() -> None:
    torch.testing.assert_close(pooled(torch.full((2, 16, 3), 0.5), 9), torch.full((2, 9, 3), 0.5))


def test_a_count_that_no_pooling_gives_is_refused(plan: Plan) -> None:
    batch = Collator(plan, ["text"])([make_row(image())])
    batch.counts["vision"] = [1]
    with pytest.raises(AssertionError, match="a position for each projected vector"):
        _ = Taps(OmniModel(plan).eval(), batch).inputs


@pytest.mark.parametrize("part", [image(16, 8), image(8, 24), video(1), video(3), video(9)], ids=lambda part: part.type)
def test_headers_give_the_counts(part: ContentPart, tmp_path: Path) -> None:
    path = tmp_path / ("a.png" if part.type == "image" else "a.mp4")
    if part.type == "image":
        save_image(path, part.pixels)
    else:
        save_video(path, part.pixels, part.frame_rate)
    assert count_tiles(part, SPEC) == count_tiles(ContentPart(part.type, path=str(path)), SPEC) == len(load_tiles(part, SPEC))


@pytest.mark.parametrize(("part", "text"), [
    (ContentPart("image", path="no.png"), r"Row r: no.png does not exist, but an image should be there"),
    (ContentPart("video", path="no.mp4"), r"Row r: no.mp4 does not exist, but a video should be there"),
    (ContentPart("image"), r"Row r: a part of type image has neither a path nor data; give it one"),
    (ContentPart("video"), r"Row r: a part of type video has neither a path nor data; give it one"),
    (ContentPart("image", pixels=pixels_of()[..., :1]),
     r"pixels of shape \[8, 8, 1\] and type uint8, but must be \[height, width, 3\]"),
    (ContentPart("video", pixels=pixels_of()),
     r"pixels of shape \[8, 8, 3\] and type uint8, but must be \[frames, height, width, 3\]"),
    (ContentPart("image", pixels=pixels_of(0)), r"pixels of shape \[8, 0, 3\]"),
], ids=["no image", "no video", "empty image", "empty video", "grey", "image as video", "no width"])
def test_what_cannot_be_seen_names_its_row(plan: Plan, part: ContentPart, text: str) -> None:
    with pytest.raises(DataError, match=text):
        Collator(plan, ["text"])([make_row(part)])


def test_a_recipe_without_vision_refuses_images(tmp_path: Path) -> None:
    from doubles import make_plan

    with pytest.raises(DataError, match="Row r holds image in a question, but the recipe has no input branch for image"):
        Collator(make_plan(write_tokenizer(tmp_path)), ["text"])([make_row(image())])
