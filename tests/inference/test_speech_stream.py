"""Streamed answers equal whole ones: text, codes and audio, on real parts of random weights; the original's segments."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from doubles import make_plan, write_tokenizer
from small_recipe import write_recipe
from torch import nn

from omnikit.contracts.types import Message
from omnikit.errors import ConfigError, DataError, PlanError
from omnikit.inference.answer import Answer, Event
from omnikit.inference.session import Session, build
from omnikit.inference.speech_stream import MAX_CHUNK, CodeBuffer
from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose

GOLDEN = Path(__file__).parents[1] / "parity" / "goldens" / "llama_omni_full" / "outputs.json"
SMALLER = ["speech.codec.dim=4", "speech.codec.channels=32", "speech.codec.duration_dim=4", "speech.head.layers=1",
           "generate.max_new_tokens=9", "backbone.layers=1"]


def plan(folder: Path, *overrides: str) -> Plan:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (folder / "rows.jsonl").write_text(json.dumps({"messages": turns}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return make(compose(str(write_recipe(folder)), [*SMALLER, *overrides]))


def sharpened(plan: Plan) -> Session:
    made = build(plan)
    for name, weight in made.model.head("speech").named_parameters():  # sharp attention and classes: labels change often
        weight.data *= 6 if "q_proj" in name or "output_proj" in name else 1
    return made


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return sharpened(plan(tmp_path_factory.mktemp("session")))


def joined(events: list[Event]) -> Answer:
    waves = [event.waveform for event in events if event.waveform is not None]
    wave = np.concatenate([np.zeros(0, np.float32), *waves])
    return Answer("".join(e.text for e in events), wave, events[0].sample_rate, tuple(c for e in events for c in e.codes))


def same(streamed: Answer, whole: Answer) -> None:
    assert (streamed.text, streamed.codes) == (whole.text, whole.codes)
    assert streamed.waveform is not None and whole.waveform is not None
    np.testing.assert_allclose(streamed.waveform, whole.waveform, atol=1e-5, rtol=0)  # float32, other windows


@pytest.mark.parametrize("omega", [1, 10, 1000])
def test_joined_events_are_the_answer(session: Session, omega: int) -> None:
    whole = session.answer(text="what is two plus one")
    assert len(whole.codes) > 30 and whole.text
    same(joined(list(session.stream(text="what is two plus one", omega=omega))), whole)


def test_spoken_question_streams_as_it_is_answered(session: Session) -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    same(joined(list(session.stream(wave))), session.answer(wave))


@pytest.mark.parametrize("field", ["speech.head.alignment=reads", "generate.temperature=1.5",
                                   "speech.head.repeat_position=false"])
def test_joined_events_are_the_answer_of(field: str, tmp_path: Path) -> None:
    made = plan(tmp_path, field)
    same(joined(list(sharpened(made).stream(text="why"))), sharpened(made).answer(text="why"))  # a session each: draws go on


def test_audio_comes_before_the_text_is_complete(session: Session) -> None:
    events = list(session.stream(text="what is two plus one"))
    first = next(i for i, event in enumerate(events) if event.waveform is not None)
    assert any(event.text for event in events[first + 1:])
    assert [event.seconds for event in events] == sorted(event.seconds for event in events)


def test_independent_segments_are_spoken_alone(session: Session) -> None:
    codec = session.model.codec("speech")
    spoken = [event for event in session.stream(text="why", omega=7, independent=True) if event.codes]
    assert len(spoken) > 2 and all(len(event.codes) >= 7 for event in spoken[:-1])
    expected = [codec.decode(torch.tensor(event.codes)).numpy() for event in spoken]
    for event, wave in zip(spoken, expected, strict=True):
        np.testing.assert_array_equal(event.waveform, wave)


@pytest.mark.parametrize("independent", [False, True])
def test_head_runs_less_often_when_there_is_audio(
    session: Session, independent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, asked = session.model.head("speech"), list[int]()
    step = head.step
    monkeypatch.setattr(head, "step", lambda features, state: asked.append(features.data.shape[1]) or step(features, state))
    before: list[int] | None = None
    for event in session.stream(text="why", independent=independent):
        before = list(asked) if before is None and event.waveform is not None else before
    assert before and set(before) == {1}
    rest = asked[len(before):]
    expected = [1] * len(rest) if independent else [min(MAX_CHUNK, 2 ** number) for number in range(1, len(rest) + 1)]
    assert rest and rest[:-1] == expected[:-1] and rest[-1] <= expected[-1]


def test_history_grows_when_the_stream_has_ended(session: Session) -> None:
    streamed: list[Message] = []
    whole: list[Message] = []
    for words in ("one", "two"):
        list(session.stream(text=words, history=streamed))
        session.answer(text=words, history=whole)
    assert streamed == whole and len(streamed) == 4


def test_two_streams_may_take_turns(session: Session) -> None:
    streams = [session.stream(text="one"), session.stream(text="two and two")]
    events: list[list[Event]] = [[], []]
    for number, event in turns(streams):
        events[number].append(event)
    same(joined(events[0]), session.answer(text="one"))
    same(joined(events[1]), session.answer(text="two and two"))


def turns(streams: list[Iterator[Event]]) -> Iterator[tuple[int, Event]]:
    waiting = dict(enumerate(streams))
    while waiting:
        for number in list(waiting):
            event = next(waiting[number], None)
            if event is None:
                del waiting[number]
            else:
                yield number, event


def test_model_without_speech_streams_its_text(session: Session) -> None:
    text_only = Session(session.model)
    text_only.speech = None
    events = list(text_only.stream(text="why"))
    assert joined(events).text == session.answer(text="why").text
    assert not any(event.codes or event.waveform is not None for event in events)


@pytest.mark.parametrize("size", ["10", "40", "100"])
def test_segments_are_those_of_the_original(size: str) -> None:
    streaming, pending = json.loads(GOLDEN.read_text())["streaming"], CodeBuffer(int(size))
    news = streaming["new_units_after_each_token"]
    found = [{"after_token": token, "units": list(codes)} for token, new in enumerate(news) if (codes := pending.push(new))]
    found += [{"after_token": len(news) - 1, "flush": True, "units": list(codes)} for codes in [pending.flush()] if codes]
    assert found == streaming["chunks"][size]


@pytest.mark.parametrize("omega", [0, -3])
def test_impossible_omega_is_refused_at_once(session: Session, omega: int) -> None:
    with pytest.raises(ConfigError, match=f"omega is {omega}, but must be a whole number of at least 1"):
        session.stream(text="why", omega=omega)


def test_question_is_refused_before_the_first_event(session: Session) -> None:
    with pytest.raises(DataError, match="A question has neither audio nor text"):
        session.stream()


class Whole(nn.Module):
    """Has what every head and codec has, and no `step`."""

    def loss(self) -> None: ...
    def encode(self) -> None: ...
    def decode(self) -> None: ...


@pytest.mark.parametrize(("part", "text"), [
    ("head", r"speech.head gives its codes only when the answer is complete.*ask without streaming"),
    ("codec", r"speech.codec cannot continue where a segment ended.*--independent"),
])
def test_part_that_cannot_stream_is_refused(part: str, text: str, tmp_path: Path) -> None:
    doubles = build(make_plan(write_tokenizer(tmp_path)))
    setattr(doubles.model.get_submodule("speech"), part, Whole())
    with pytest.raises(PlanError, match=text):
        doubles.stream(text="one")
