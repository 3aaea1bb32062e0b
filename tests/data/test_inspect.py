# ruff: noqa: E501  # what is shown stands in one line
"""What is shown of a batch is what training gets: held against the collator's own batch."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from doubles import RATE, TEMPLATE, make_plan, speak, write_tokenizer
from PIL import Image
from vision_doubles import image, make_row, make_vision_plan

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.batch.codes import Codes
from omnikit.data.batch.collate import Collator
from omnikit.data.inspect import html, inspect_batch
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make_plan(write_tokenizer(tmp_path))


def audio(text: str) -> ContentPart:
    return ContentPart("audio", text=text, audio=speak(text), sample_rate=RATE)


ROW = Sample("r1", (Message("system", (ContentPart("text", text="seven"),)), Message("user", (ContentPart("text", text="one two "), audio("three four"))),
                    Message("assistant", (ContentPart("text", text="five six"), audio("five six")))), {"kind": "sum"})


def collator(plan: Plan, *wanted: str) -> Collator:
    return Collator(plan, wanted, {"speech": Codes(OmniModel(plan).codec("speech"), RATE)})


def test_each_token_has_its_origin(plan: Plan) -> None:
    row, = inspect_batch("t", collator(plan, "text"), [ROW]).rows
    assert [(token.text.strip(), token.origin) for token in row.tokens] == [
        ("<bos>", "template"), ("seven", "system"), ("<user>", "template"), ("<user>", "template"), ("one", "question"), ("two", "question"),
        ("three four", "audio"), ("<bot>", "template"), ("five", "answer"), ("six", "answer"), ("<end>", "template")]


def test_ids_positions_and_targets_are_the_batch_s(plan: Plan) -> None:
    made = collator(plan, "text")
    row, = inspect_batch("t", made, [ROW]).rows
    batch = made([ROW])
    assert [(token.position, token.id) for token in row.tokens if token.id is not None] == [
        (place, number) for place, number in enumerate(batch.tokens[0].tolist()) if place not in batch.slots["audio"].tolist()]
    assert [token.position for token in row.tokens if token.supervised_by] == batch.answers[0].tolist()
    assert [(token.position, token.count) for token in row.tokens if token.id is None] == [(batch.slots["audio"].tolist()[0], batch.counts["audio"][0])]
    assert row.length == batch.tokens.shape[1]


def test_targets_of_other_heads_are_shown_with_their_count(plan: Plan) -> None:
    made = collator(plan, "text", "speech", "transcript")
    row, = inspect_batch("t", made, [ROW]).rows
    codes = made([ROW]).targets["speech"].ids[0, :, 0].tolist()
    assert [(t.branch, t.text, t.count) for t in row.targets] == [
        ("speech", " ".join(map(str, codes)), len(codes)), ("transcript", "three four", 2)]


def test_heads_say_what_they_learn_and_where_they_read(plan: Plan) -> None:
    assert inspect_batch("t", collator(plan, "text", "speech", "transcript"), [ROW]).heads == {
        "text": "learns the answer's tokens from the hidden states that predict the answer's tokens (logits)",
        "speech": "learns the answer's codes from the hidden states that predict the answer's tokens (hidden)",
        "transcript": "learns the audio's transcript from the features of audio.encoder"}


def test_row_that_would_stop_training_is_a_problem_and_the_others_are_shown(plan: Plan) -> None:
    bad = Sample("r2", (Message("user", (ContentPart("audio", path="gone.wav"),)), Message("assistant", (ContentPart("text", text="one"),))))
    shown = inspect_batch("t", collator(plan, "text"), [bad, ROW])
    assert shown.rows[0].problem == "Row r2: gone.wav does not exist, but an audio file should be there."
    assert shown.rows[1].tokens and shown.facts["rows"] == "2"


def test_row_without_a_target_for_a_branch_is_marked(plan: Plan) -> None:
    written = Sample("r3", (Message("user", (ContentPart("text", text="one"),)), Message("assistant", (ContentPart("text", text="two"),))))
    row, = inspect_batch("t", collator(plan, "text", "transcript"), [written]).rows
    assert [(target.branch, target.count) for target in row.targets] == [("transcript", 0)]


def test_numbers_of_the_batch_add_up(plan: Plan) -> None:
    shown = inspect_batch("t", collator(plan, "text"), [ROW, ROW])
    assert shown.facts == {"rows": "2", "positions": "24, longest row 12", "padding": "0%", "from template": "10", "from system": "2",
                           "from question": "4", "from audio": "4", "from answer": "4", "supervised tokens": "6"}


def test_page_stands_alone_and_escapes_the_data(plan: Plan) -> None:
    evil = Sample("<script>alert(1)</script>", ROW.messages, {"kind": "<b>"})
    page = html(inspect_batch("t", collator(plan, "text"), [evil]))
    assert "<script" not in page and "&lt;script&gt;" in page and "&lt;bos&gt;" in page
    assert not re.search(r"(?:src|href)=|@import|url\(", page)
    assert page.count('class="t answer supervised"') == 2 and TEMPLATE.end == "<end>"


def test_an_image_is_shown_by_its_tiles(tmp_path: Path) -> None:
    plan = make_vision_plan(write_tokenizer(tmp_path))
    shown = inspect_batch("t", Collator(plan, ["text"]), [make_row(ContentPart("image", pixels=image(16, 8)), ContentPart("text", text="one"))])
    medium, = [token for token in shown.rows[0].tokens if token.id is None]
    assert (medium.origin, medium.count, len(medium.tiles)) == ("vision", 12, 3)
    first = Image.open(io.BytesIO(base64.b64decode(medium.tiles[0].partition(",")[2])))
    expected = Image.fromarray(image(16, 8)[:, :8]).resize(first.size, Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(first).astype(int) - np.asarray(expected)).max() <= 1  # rounded twice
    assert html(shown).count("<img src=\"data:image/png") == 3 and "3 tiles or frames" in html(shown)
