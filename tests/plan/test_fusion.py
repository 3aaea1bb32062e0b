"""A projector may take the features of several encoders: `sources` names the branches of the others."""

from typing import Any

import numpy as np
import pytest
import torch
from plans import changed, mistakes, pick

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.lengths import LengthCounter
from omnikit.inference.prefix_cache import position_keys, whole_signals, without_prefix
from omnikit.model import OmniModel
from omnikit.plan.cache_points import cache_points
from omnikit.plan.plan import Plan
from omnikit.recipe.dump import values
from omnikit.recipe.recipe import parse
from omnikit.taps import Taps
from omnikit.training.lockstep import run_every_part

SECOND = {"encoder": pick("encoder", "whisper_tiny_random"), "input": "audio"}
JOINED = {"second": SECOND, "audio.projector": {"use": "concat_mlp"}, "audio.sources": ["second"]}
FIRST = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
LAST = np.random.default_rng(1).normal(0, 0.1, 12000).astype(np.float32)


def row(*waveforms: Any) -> Sample:
    audio = [ContentPart("audio", audio=waveform) for waveform in waveforms]
    return Sample("r", (Message("user", (ContentPart("text", text="what"), *audio, ContentPart("text", text="this"))),
                        Message("assistant", (ContentPart("text", text="it is"),))))


@pytest.fixture
def plan(fitting: dict[str, Any]) -> Plan:
    return changed(fitting, JOINED)


def test_joined_features_take_the_positions_of_one_encoder(plan: Plan) -> None:
    batch = Collator(plan, ["text"])([row(FIRST, LAST)])
    lengths = [plan.inputs["audio"].encoder.length(len(waveform)) for waveform in (FIRST, LAST)]
    assert batch.counts == {"audio": lengths, "second": [0, 0]}
    assert len(batch.slots["audio"]) == sum(lengths) and "second" not in batch.slots
    assert batch.starts["second"] == [int(batch.slots["audio"][0]), int(batch.slots["audio"][lengths[0]])]
    assert LengthCounter(Collator(plan, ["text"]))(row(FIRST, LAST)) == batch.tokens.shape[1]


def test_the_projector_takes_both_encoders_features(plan: Plan) -> None:
    model, batch = OmniModel(plan).eval(), Collator(plan, ["text"])([row(FIRST)])
    taps, layers = Taps(model, batch), model.get_submodule("audio.projector")
    own, other = taps.point("audio.encoder").data, taps.point("second.encoder").data
    assert not torch.allclose(own, other)  # each encoder has weights of its own
    wide = torch.cat([layers.inputs[0](own), layers.inputs[1](other)], dim=-1)
    expected = layers.layers[1](torch.nn.functional.gelu(wide))
    torch.testing.assert_close(taps.inputs.flatten(0, 1)[batch.slots["audio"]], expected[0])


def test_each_encoder_is_trained_alone(fitting: dict[str, Any]) -> None:
    plan = changed(fitting, {**JOINED, "stages.understand.train": {"second": {"encoder": "full"}}})
    model = OmniModel(plan)
    model.losses(Collator(plan, ["text"])([row(FIRST)]), ["text"])["text"].backward()
    assert any(weight.grad is not None and weight.grad.abs().sum() for weight in model.encoder("second").parameters())
    assert plan.stages["understand"].trained == ("second.encoder",)


def test_frozen_features_of_both_are_stored(plan: Plan) -> None:
    stage = plan.stages["understand"]
    assert set(cache_points(stage, plan.inputs, plan.outputs)) == {"audio.encoder", "second.encoder"}


def test_a_prompt_goes_on_behind_its_first_audio(plan: Plan) -> None:
    batch = Collator(plan, ["text"], prompt_only=True)([row(FIRST, LAST)])
    cut = int(batch.slots["audio"][batch.counts["audio"][0]])  # where the second audio begins
    assert whole_signals(batch, cut + 2) == cut and whole_signals(batch, cut) == cut
    rest = without_prefix(batch, cut)
    assert len(position_keys(batch)) == batch.tokens.shape[1]
    assert [signal.lengths.tolist() for signal in (rest.signals["audio"], rest.signals["second"])] == [[12000], [12000]]
    taps, model = Taps(OmniModel(plan).eval(), rest), OmniModel(plan).eval()
    whole = Taps(model, batch).inputs[:, cut:]
    torch.testing.assert_close(taps.inputs, whole, atol=1e-5, rtol=1e-5)  # encoders see another batch: float32 sums


def test_a_batch_of_text_runs_every_part_on_nothing(plan: Plan) -> None:
    model = OmniModel(plan)
    batch = Collator(plan, ["text"])([row()])
    run_every_part(Taps(model, batch), ["text"]).backward()
    parts = ("audio.encoder", "second.encoder", "audio.projector")
    assert all(any(weight.grad is not None for weight in model.get_submodule(part).parameters()) for part in parts)


def test_sources_change_the_fingerprint_and_survive_a_dump(plan: Plan, fitting: dict[str, Any]) -> None:
    again = parse(values(plan.recipe), "changed")
    assert again.branch_options == plan.recipe.branch_options and again.fingerprint() == plan.recipe.fingerprint()
    alone = changed(fitting, {"second": {**SECOND, "projector": {"use": "linear"}}})
    assert again.fingerprint() != alone.recipe.fingerprint()


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"audio.sources": ["secnd"]},
     "audio.sources names 'secnd', but must be another branch with an encoder: second. Did you mean 'second'?"),
    ({"audio.sources": ["second", "second"]}, "audio.sources names second twice; name each branch once."),
    ({"audio.sources": "second"}, "audio.sources is 'second', but must be a list of input branches,"),
    ({"audio.projector": {"use": "linear"}},
     "audio.projector does not fit audio.encoder and second.encoder: it takes the features of one encoder, but audio.sources"
     " names second as well; choose one that takes several, such as audio/projector=concat_mlp."),
    ({"audio.sources": []}, "second.encoder does not reach the backbone: pick a projector with second/projector=<preset>."),
    ({"audio.projector": {"use": "concat_mlp", "hidden": 5, "depth": 0}},
     "audio.projector does not fit audio.encoder and second.encoder: 2 encoders of 5 channels each make 10, but the backbone"
     " takes 128 and depth is 0; set depth=1."),
    ({"second.encoder": pick("encoder", "wav2vec2_tiny_random")},
     "audio.projector does not fit audio.encoder and second.encoder: it joins features vector by vector, but they give"),
], ids=["unknown", "twice", "no list", "single", "none", "widths", "rates"])
def test_sources_that_do_not_fit_are_one_sentence(fitting: dict[str, Any], changes: dict[str, object], sentence: str) -> None:
    found = mistakes(fitting, {**JOINED, **changes})
    assert any(each.startswith(sentence) for each in found), found
