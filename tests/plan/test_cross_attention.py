"""A branch with `fusion: cross_attention` takes no position; the backbone attends to its embeddings."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from plans import changed, mistakes

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.lengths import LengthCounter
from omnikit.errors import PlanError
from omnikit.inference.engine import AnswerOptions
from omnikit.inference.generate import Sampling, generate
from omnikit.inference.scheduler.batch import BatchEngine, engine_for
from omnikit.inference.scheduler.single import SingleEngine
from omnikit.inference.session import Session
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan
from omnikit.taps import Taps

WIDTH = {"use": "hf_cross_attention", "cross_gate": 0.5, "cross_heads": 2, "cross_head_dim": 32}
FIRST = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
LAST = np.random.default_rng(1).normal(0, 0.1, 12000).astype(np.float32)


def row(*waveforms: Any) -> Sample:
    parts = [part for waveform in waveforms for part in (ContentPart("audio", audio=waveform), ContentPart("text", text="and"))]
    return Sample("r", (Message("user", (ContentPart("text", text="what"), *parts)),
                        Message("assistant", (ContentPart("text", text="it is"),))))


@pytest.fixture
def plan(fitting: dict[str, Any]) -> Plan:
    return changed(fitting, {"audio.fusion": "cross_attention", "backbone": WIDTH})


@pytest.fixture
def model(plan: Plan) -> OmniModel:
    return OmniModel(plan).eval()


def test_media_have_no_positions(plan: Plan) -> None:
    collator = Collator(plan, ["text"])
    spoken, written = collator.row(row(FIRST, LAST)), collator.row(row())
    batch = collator([row(FIRST, LAST), row()])
    assert batch.slots == {} and batch.counts == {"audio": [0, 0]}
    assert len(spoken.tokens) == len(collator.row(replace(row(), messages=(
        Message("user", (ContentPart("text", text="what"), ContentPart("text", text="and"), ContentPart("text", text="and"))),
        row().messages[1]))).tokens) > len(written.tokens)
    assert LengthCounter(collator)(row(FIRST)) == len(collator.row(row(FIRST)).tokens)


def test_the_layout_holds_what_each_row_attends_to(plan: Plan, model: OmniModel) -> None:
    batch = Collator(plan, ["text"])([row(), row(FIRST, LAST)])
    taps = Taps(model, batch)
    memory, features = taps.layout.memory, taps.point("audio.projector")
    lengths = [plan.inputs["audio"].length(len(waveform)) for waveform in (FIRST, LAST)]
    assert memory.data.shape[:2] == (2, sum(lengths)) and not memory.data[0].any()
    assert torch.equal(memory.data[1], torch.cat([features.data[0, :lengths[0]], features.data[1, :lengths[1]]]))
    assert memory.media[1].tolist() == [0] * lengths[0] + [1] * lengths[1]
    first, last = batch.starts["audio"]
    assert memory.starts[1].tolist() == [first] * lengths[0] + [last] * lengths[1] and first < last
    assert taps.layout.prompts.tolist() == batch.answers[:, 0].tolist()


def test_a_row_alone_equals_the_row_in_a_batch(plan: Plan, model: OmniModel) -> None:
    collator = Collator(plan, ["text"])
    together = Taps(model, collator([row(FIRST), row(), row(LAST, FIRST)])).hidden
    for index, sample in enumerate([row(FIRST), row(), row(LAST, FIRST)]):
        alone = Taps(model, collator([sample])).hidden[0]
        torch.testing.assert_close(together[index, :len(alone)], alone, atol=1e-5, rtol=1e-5)  # other widths: float32 sums


def test_other_audio_gives_other_logits(plan: Plan, model: OmniModel) -> None:
    collator = Collator(plan, ["text"])
    first, last = (model.losses(collator([row(waveform)]), ["text"])["text"] for waveform in (FIRST, FIRST[::-1].copy()))
    assert not torch.isclose(first, last)


def test_answers_of_a_batch_of_prompts_equal_those_of_each_alone(plan: Plan, model: OmniModel) -> None:
    collator = Collator(plan, ["text"], prompt_only=True)
    samples = [row(FIRST), row(), row(LAST, FIRST)]
    together = generate(model, collator(samples), Sampling((-1,), 6))
    for index, sample in enumerate(samples):
        alone = generate(model, collator([sample]), Sampling((-1,), 6))
        assert together.tokens[index] == alone.tokens[0]
        torch.testing.assert_close(together.hidden_before[index], alone.hidden_before[0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(together.hidden_before[0], together.hidden_before[2], atol=1e-3)


def test_the_engine_reads_the_prompt_at_once_and_gives_the_same_answer(plan: Plan, model: OmniModel) -> None:
    session = Session(model)
    engine = engine_for(session)
    assert isinstance(engine, SingleEngine)
    answers = [engine.begin(sample, AnswerOptions(max_new_tokens=6, speak=False)) for sample in (row(FIRST), row(LAST, FIRST))]
    while engine.step():
        pass
    collator = Collator(plan, ["text"], prompt_only=True)
    expected = [generate(model, collator([sample]), Sampling((-1,), 6)).tokens[0] for sample in (row(FIRST), row(LAST, FIRST))]
    ends = set(session.prompt([row(FIRST)], 6).ends)
    cut = [next((tokens[:at] for at, token in enumerate(tokens) if token in ends), tokens) for tokens in expected]
    assert [answer.tokens for answer in answers] == cut
    with pytest.raises(PlanError, match="takes a layout"):
        BatchEngine(session)


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"audio.fusion": "cross_attention"},
     "audio.fusion is 'cross_attention', but backbone hf takes splice; set audio.fusion to that, or choose another backbone."),
    ({"backbone": WIDTH, "stages.understand.trainer.pack": 512},
     "stages.understand.trainer.pack is 512, but this backbone cannot separate the conversations of a row;"),
], ids=["backbone", "packed"])
def test_what_does_not_fit_is_one_sentence(fitting: dict[str, Any], changes: dict[str, object], sentence: str) -> None:
    assert any(each.startswith(sentence) for each in mistakes(fitting, changes))
