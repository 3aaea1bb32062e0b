"""A branch may read the input of another one: two encoders see one signal, one behind the other at the medium's place."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from plans import changed, mistakes, pick

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.lengths import LengthCounter
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan
from omnikit.recipe.dump import values
from omnikit.recipe.recipe import parse
from omnikit.taps import Taps

SECOND = {"encoder": pick("encoder", "whisper_tiny_random"), "projector": pick("projector", "stack_mlp_2x256"),
          "input": "audio"}
WAVE = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
ROW = Sample("r", (Message("user", (ContentPart("text", text="what"), ContentPart("audio", audio=WAVE),
                                    ContentPart("text", text="this"))),
                   Message("assistant", (ContentPart("text", text="it is"),))))


@pytest.fixture
def plan(fitting: dict[str, Any]) -> Plan:
    return changed(fitting, {"second": SECOND})


def test_both_branches_have_exact_positions_one_behind_the_other(plan: Plan) -> None:
    batch = Collator(plan, ["text"])([ROW])
    first, second = batch.slots["audio"].tolist(), batch.slots["second"].tolist()
    assert [len(first)] == batch.counts["audio"] == [plan.inputs["audio"].length(8000)]
    assert [len(second)] == batch.counts["second"] == [plan.inputs["second"].length(8000)]
    assert [*first, *second] == list(range(first[0], first[0] + len(first) + len(second)))
    assert torch.equal(batch.signals["audio"].data, batch.signals["second"].data)


def test_both_branches_are_spliced(plan: Plan) -> None:
    model, batch = OmniModel(plan).eval(), Collator(plan, ["text"])([ROW])
    taps = Taps(model, batch)
    flat = taps.inputs.flatten(0, 1)
    for name in ("audio", "second"):
        torch.testing.assert_close(flat[batch.slots[name]], taps.point(f"{name}.projector").data[0, :batch.counts[name][0]])


def test_lengths_are_counted_for_both(plan: Plan) -> None:
    collator = Collator(plan, ["text"])
    assert LengthCounter(collator)(ROW) == len(collator.row(ROW).tokens)


def test_an_input_changes_the_fingerprint_and_survives_a_dump(fitting: dict[str, Any], plan: Plan) -> None:
    again = parse(values(plan.recipe), "changed")
    assert again.branch_options == plan.recipe.branch_options
    assert again.fingerprint() == plan.recipe.fingerprint()
    assert replace(again, branch_options={}).fingerprint() != again.fingerprint()


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"second": {**SECOND, "input": "adio"}},
     "second.input is 'adio', but must be a branch with an encoder of audio and no `input` of its own: audio. Did you mean"
     " 'audio'?"),
    ({"second": {**SECOND, "input": "second"}},
     "second.input is 'second', but must be a branch with an encoder of audio and no `input` of its own: audio."),
    ({"second": {key: value for key, value in SECOND.items() if key != "input"}},
     "audio.encoder and second.encoder both take audio; set second.input=audio to let both read each audio, or take one of them"
     " out of the recipe."),
    ({"audio.fusion": "xattn"}, "audio.fusion is 'xattn', but must be one of splice, cross_attention."),
    ({"text.input": "audio"}, "text.input is never read: text has no encoder; pick one with text/encoder=<preset>."),
], ids=["unknown", "itself", "unnamed", "fusion", "no encoder"])
def test_an_option_that_does_not_fit_is_one_sentence(fitting: dict[str, Any], changes: dict[str, object],
                                                     sentence: str) -> None:
    assert mistakes(fitting, changes) == [sentence]


def test_splice_may_be_named(fitting: dict[str, Any]) -> None:
    assert changed(fitting, {"audio.fusion": "splice"}).inputs["audio"].fusion == "splice"
