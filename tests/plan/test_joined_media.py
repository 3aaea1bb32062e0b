"""A projector may join the features of all tiles of an image, or of all frames of a video."""

import numpy as np
import pytest
import torch

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.lengths import LengthCounter
from omnikit.data.batch.packing import pack_batch
from omnikit.data.batch.single_rows import content_keys, single_row
from omnikit.errors import PlanError
from omnikit.inference.generate import Sampling, generate
from omnikit.inference.prefix_cache import position_keys, without_prefix
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan, make
from omnikit.plan.tables import part_lines
from omnikit.recipe.compose import compose
from omnikit.taps import Taps
from omnikit.training.lockstep import run_every_part

PATCHES = 16  # of a tile of 64 pixels
TILED = ["vision/projector=anyres_mlp", "+vision.encoder.grids=[[1,2],[2,1],[2,2]]"]
POOLED = ["vision/projector=spatiotemporal_pool"]
QUERIES = ["vision/projector=video_qformer"]


def image(width: int, height: int, seed: int = 0) -> ContentPart:
    return ContentPart("image", pixels=np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8))


def video(frames: int, seed: int = 0) -> ContentPart:
    """Frames that are all taken: one in four of 25 a second would be otherwise."""
    pixels = np.random.default_rng(seed).integers(0, 255, (frames, 64, 64, 3)).astype(np.uint8)
    return ContentPart("video", pixels=pixels, frame_rate=1.0)


def row(*parts: ContentPart, name: str = "r") -> Sample:
    content = [each for part in parts for each in (part, ContentPart("text", text="and"))]
    return Sample(name, (Message("user", (ContentPart("text", text="what"), *content)),
                         Message("assistant", (ContentPart("text", text="it is"),))))


def plan_of(*overrides: str) -> Plan:
    return make(compose("survey/llava/tiny", [*overrides, "vision.encoder.most_frames=6"]))


@pytest.fixture(params=[TILED, POOLED, QUERIES], ids=["anyres_mlp", "spatiotemporal_pool", "video_qformer"])
def plan(request: pytest.FixtureRequest) -> Plan:
    return plan_of(*request.param)


ROWS = [row(image(200, 60), video(5), name="a"), row(video(6, 1), name="b"), row(name="c"), row(image(50, 50, 2), name="d")]


def test_vectors_are_those_that_the_contract_counts() -> None:
    counts = Collator(plan_of(*TILED), ["text"])([row(image(128, 64), image(64, 128), image(128, 128), video(5))]).counts
    whole = [4 * 9, 8 * 5, 8 * 9]  # rows of 8, 4 and 8 patches, and a learned vector behind each
    assert counts["vision"] == [*(PATCHES + grid for grid in whole), 5 * PATCHES + 1]
    assert Collator(plan_of(*POOLED), ["text"])([row(video(5), image(9, 9))]).counts["vision"] == [5 + PATCHES, 1 + PATCHES]
    assert Collator(plan_of(*QUERIES), ["text"])([row(video(5), image(9, 9))]).counts["vision"] == [32, 32]


def test_the_table_states_the_largest_media() -> None:
    pooled, queries = ({line.part: line.gives for line in part_lines(plan_of(*which))} for which in (POOLED, QUERIES))
    assert pooled["vision.projector"] == "hidden size 128, at most 22 positions of a video, 17 of an image"
    assert queries["vision.projector"] == "hidden size 128, 32 positions"


def test_padding_is_left_out() -> None:
    """An image of 3 : 1 fills 2 of 3 rows of patches of a grid of 2 : 1, of 4 rows; 3 would be 2.67 of them."""
    batch = Collator(plan_of(*TILED), ["text"])([row(image(192, 64))])
    assert batch.media["vision"][0].grid == (2, 1)
    assert batch.counts["vision"] == [PATCHES + 2 * 9]


def test_rows_alone_are_as_in_a_batch(plan: Plan) -> None:
    model, collate = OmniModel(plan).eval(), Collator(plan, ["text"])
    together = Taps(model, collate(ROWS)).hidden
    for index, sample in enumerate(ROWS):
        alone = Taps(model, collate([sample])).hidden[0]
        torch.testing.assert_close(together[index, :len(alone)], alone, atol=1e-4, rtol=1e-4)


def test_a_frame_changes_its_own_video_only(plan: Plan) -> None:
    model, collate = OmniModel(plan).eval(), Collator(plan, ["text"])
    other = video(6, 1)
    assert other.pixels is not None
    other.pixels[5] = 0
    first, second = (Taps(model, collate([ROWS[0], row(part), ROWS[3]])).point("vision.projector").data
                     for part in (video(6, 1), other))
    changed = (first - second).abs().amax((1, 2)) > 1e-4
    assert changed.tolist() == [False, False, True, False]


def test_positions_are_counted_without_decoding(plan: Plan) -> None:
    collate = Collator(plan, ["text"])
    assert [LengthCounter(collate)(sample) for sample in ROWS] == [len(collate.row(sample).tokens) for sample in ROWS]


def test_a_row_cut_out_of_a_batch_is_the_row_alone(plan: Plan) -> None:
    model, collate = OmniModel(plan).eval(), Collator(plan, ["text"])
    batch = collate(ROWS)
    for index, sample in enumerate(ROWS):
        cut, alone = single_row(batch, index), collate([sample])
        assert (cut.media, cut.counts, cut.sizes) == (alone.media, alone.counts, alone.sizes)
        torch.testing.assert_close(Taps(model, cut).hidden, Taps(model, alone).hidden)


def test_packed_rows_are_as_alone(plan: Plan) -> None:
    model, batch = OmniModel(plan).eval(), Collator(plan, ["text"])([ROWS[0], ROWS[1]])
    expected = [Taps(model, single_row(batch, index)).hidden[0] for index in range(2)]
    found = Taps(model, pack_batch(batch, [0, 0], ["text"])).hidden[0]
    torch.testing.assert_close(found[:sum(map(len, expected))], torch.cat(expected), atol=1e-4, rtol=1e-4)


def test_the_second_medium_is_left_where_the_first_is_cut_off(plan: Plan) -> None:
    prompt = Collator(plan, ["text"], prompt_only=True)([ROWS[0]])
    model = OmniModel(plan).eval()
    second = int(prompt.slots["vision"][prompt.counts["vision"][0]])
    rest = without_prefix(prompt, second)
    assert (rest.media["vision"], len(rest.signals["vision"].data)) == (prompt.media["vision"][1:], 5)
    torch.testing.assert_close(Taps(model, rest).inputs, Taps(model, prompt).inputs[:, second:], atol=1e-5, rtol=1e-5)


def test_keys_depend_on_every_frame(plan: Plan) -> None:
    collate, other = Collator(plan, ["text"], prompt_only=True), video(5)
    assert other.pixels is not None
    other.pixels[4, 0, 0, 0] ^= 1
    keys = [position_keys(collate([row(part)])) for part in (video(5), other, video(5))]
    assert keys[0] == keys[2] != keys[1]


def test_stored_features_depend_on_how_signals_belong_together() -> None:
    """Two videos of two frames hold the signals of one of four, but their projected vectors are others."""
    plan, frames = plan_of(*POOLED, "vision.encoder.least_frames=2"), video(4).pixels
    assert frames is not None
    halves = [ContentPart("video", pixels=part, frame_rate=1.0) for part in (frames[:2], frames[2:])]
    whole = ContentPart("video", pixels=frames, frame_rate=1.0)
    keys = [content_keys(Collator(plan, ["text"])([row(*parts)]), ["vision.projector"]) for parts in ([whole], halves)]
    assert keys[0] != keys[1]


def test_a_batch_without_media_runs_the_projector_on_nothing(plan: Plan) -> None:
    model = OmniModel(plan)
    run_every_part(Taps(model, Collator(plan, ["text"])([row()])), ["text"]).backward()
    assert all(weight.grad is not None for weight in model.get_submodule("vision.projector").parameters())


def test_an_answer_about_a_video_depends_on_its_frames(plan: Plan) -> None:
    model, collate = OmniModel(plan).eval(), Collator(plan, ["text"], prompt_only=True)
    first, again, other = (generate(model, collate([row(video(5, seed))]), Sampling((), 3)).hidden_before for seed in (0, 0, 3))
    assert torch.equal(first, again) and not torch.allclose(first[:, 0], other[:, 0])


def test_pooled_frames_are_refused() -> None:
    assert sentences(*POOLED, "vision.encoder.pooled=[2,16,4]") == (
        "vision.projector joins the frames of a video, but vision.encoder pools frames one by one; set"
        " vision.encoder.pooled=null.",)


def test_videos_longer_than_the_projector_takes_are_refused() -> None:
    assert sentences(*QUERIES, "vision.projector.frames=4") == (
        "vision.projector cannot take a video as vision.encoder cuts it: it has 6 frames, but the projector has positions for"
        " 4; raise its frames, or lower the encoder's most_frames.",)


def test_a_head_behind_it_is_refused() -> None:
    assert sentences(*POOLED, "+words/head=caption_words", "words.head.tap=vision.projector") == (
        "words.head.tap is 'vision.projector', but that projector joins the signals of a medium, and a head reads them one by"
        " one; tap vision.encoder, or choose another projector.",)


def sentences(*overrides: str) -> tuple[str, ...]:
    with pytest.raises(PlanError) as caught:
        plan_of(*overrides)
    return tuple(caught.value.sentences)
