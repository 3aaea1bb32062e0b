"""A bfloat16 backbone beside float32 heads: every shipped recipe that fits on this machine runs all that it can do.

The full recipes have the same kinds of parts as the tiny ones that are made of them.
"""

import math
from functools import cache

import numpy as np
import pytest
import torch

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.batch.collate import Collator
from omnikit.inference.session import Session
from omnikit.model import OmniModel
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose
from omnikit.taps import Taps

ASR = ("asr/tiny", "asr/tiny_world")
SPEAKING = ("llama_omni/tiny", "llama_omni/tiny_nar_ar", "vita_1_5/tiny", "vita_1_5/tiny_ctc_units")
DETECTING = ("vita_1_5/tiny", "vita_1_5/tiny_ctc_units")
ANSWERING = (*SPEAKING, "vita/tiny")
SEEING = ("vita/tiny", *DETECTING)
PREFIX = "speech.head.prefix=true"  # nar_ar takes hidden states beside the text
WAVE = 0.1 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)  # 1 s at 16 kHz
PIXELS = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
LOSSES = [*((name, ("transcript",)) for name in ASR), *((name, ("text", "transcript")) for name in ANSWERING),
          *((name, ("speech",)) for name in SPEAKING), *((name, ("turn", "caption")) for name in DETECTING),
          ("vita/tiny", ("caption",))]


@cache
def session(recipe: str, *overrides: str) -> Session:
    model = OmniModel(make(compose(recipe, (*overrides, "generate.max_new_tokens=6"))))
    torch.manual_seed(0)
    for name, part in model.parts().items():
        part.to(torch.bfloat16 if name == "backbone" else torch.float32)
    return Session(model)


def conversation(*, image: bool = False) -> Sample:
    shown = (ContentPart("image", text="a red square", pixels=PIXELS),) if image else ()
    asked = (*shown, ContentPart("audio", text="one", audio=WAVE))
    answer = (ContentPart("text", text="one two three"), ContentPart("audio", codes=((3,), (1,), (4,), (1,), (5,))))
    return Sample("row", (Message("user", asked), Message("assistant", answer)))


@pytest.mark.parametrize(("recipe", "wanted"), LOSSES, ids=lambda value: value if isinstance(value, str) else "+".join(value))
def test_losses_are_finite_and_have_gradients(recipe: str, wanted: tuple[str, ...]) -> None:
    model = session(recipe).model
    batch = Collator(model.plan, wanted)([conversation(image=recipe in SEEING)])
    losses = model.losses(batch, wanted)
    assert set(losses) == set(wanted)
    assert all(math.isfinite(float(loss.detach())) and loss.dtype == torch.float32 for loss in losses.values())
    torch.stack([*losses.values()]).sum().backward()
    assert any(each.grad is not None for each in model.parameters())


@pytest.mark.parametrize("recipe", ANSWERING)
def test_the_backbone_runs_in_its_own_dtype(recipe: str) -> None:
    model = session(recipe).model
    taps = Taps(model, Collator(model.plan, ["text"])([conversation(image=recipe in SEEING)]))
    assert taps.inputs.dtype == taps.hidden.dtype == torch.bfloat16
    assert taps.hidden.isfinite().all()


@pytest.mark.parametrize("recipe", SPEAKING)
def test_a_head_takes_its_own_dtype(recipe: str) -> None:
    model = session(recipe).model
    taps = Taps(model, Collator(model.plan, ["speech"])([conversation(image=recipe in SEEING)]))
    assert taps.features(model.plan.outputs["speech"]).data.dtype == torch.float32


@pytest.mark.parametrize("recipe", SPEAKING)
def test_answers_have_text_and_audio(recipe: str) -> None:
    answer = session(recipe).answer(audio=WAVE)
    assert answer.text and answer.codes and answer.waveform is not None
    assert np.isfinite(answer.waveform).all()


@pytest.mark.parametrize("recipe", ANSWERING)
def test_a_text_is_written_of_audio_and_image(recipe: str) -> None:
    answer, = session(recipe).answers([conversation(image=recipe in SEEING)], speak=False)
    assert isinstance(answer.text, str)


@pytest.mark.parametrize("recipe", SPEAKING)
def test_a_stream_has_the_text_and_codes_of_the_answer(recipe: str) -> None:
    model = session(recipe)
    events, answer = list(model.stream(audio=WAVE, omega=2)), model.answer(audio=WAVE)
    assert "".join(event.text for event in events) == answer.text
    assert [code for event in events for code in event.codes] == list(answer.codes)


@pytest.mark.parametrize("recipe", DETECTING)
def test_turn_detection_gives_probabilities(recipe: str) -> None:
    found = session(recipe).turn_probabilities([conversation()])
    assert 0 < sum(found[0][0].values()) <= 1.0 + 1e-6


@pytest.mark.parametrize("recipe", [*ASR, *ANSWERING])
def test_audio_is_transcribed(recipe: str) -> None:
    assert len(session(recipe).transcribe([WAVE, WAVE[:8000]], 16000)) == 2


def test_hidden_states_beside_the_text_come_in_the_heads_dtype() -> None:
    model = session("vita_1_5/tiny", PREFIX).model
    losses = model.losses(Collator(model.plan, ["speech"])([conversation()]), ["speech"])
    assert math.isfinite(float(losses["speech"].detach()))
    assert session("vita_1_5/tiny", PREFIX).answer(audio=WAVE).codes
