"""A prompt that is not read from its beginning gives the same answer; what is kept, for whom, and how much."""

import numpy as np
import pytest
import torch
from engines import drained, plan, same

from omnikit.contracts.types import Message
from omnikit.inference.answer import Event
from omnikit.inference.engine import AnswerOptions
from omnikit.inference.prefix_cache import PrefixCache, position_keys, whole_signals, without_prefix
from omnikit.inference.question import question
from omnikit.inference.scheduler.batch import BatchEngine
from omnikit.inference.scheduler.running_answer import RunningAnswer
from omnikit.inference.session import Session, _append_turn, build
from omnikit.taps import Taps

WAVES = [np.random.default_rng(seed).normal(0, 0.1, 6000 + 2000 * seed).astype(np.float32) for seed in range(3)]


@pytest.fixture(scope="module", params=[(), ("+turn/head=state",)], ids=["plain", "turn detection"])
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Session:
    made = build(plan(tmp_path_factory.mktemp("session"), *request.param), device="cpu")
    if request.param:  # a question is never noise
        made.model.get_submodule("turn.head.output").bias.data += torch.tensor([100.0, -100.0, -100.0])
    return made


def conversation(session: Session, prefix: PrefixCache | None) -> list[tuple[list[Event], RunningAnswer]]:
    """Ask three spoken questions one after another."""
    engine, history, found = BatchEngine(session), list[Message](), []
    for wave in WAVES:
        asked = question(wave, "and this", history=history)
        answer = engine.begin(asked, AnswerOptions(), prefix)
        events, = drained(engine, [answer])
        _append_turn(history, asked, "".join(event.text for event in events), None)
        found.append((events, answer))
    return found


def test_answers_are_the_same_with_and_without(session: Session) -> None:
    with_cache, without = conversation(session, PrefixCache()), conversation(session, None)
    for (found, answer), (expected, fresh) in zip(with_cache, without, strict=True):
        same(found, expected)
        assert (answer.prompt_tokens, fresh.cached_tokens) == (fresh.prompt_tokens, 0)
    counts = [(answer.cached_tokens, answer.prompt_tokens) for _, answer in with_cache]
    assert counts[0][0] == 0
    assert all(cached >= before for (cached, _), (_, before) in zip(counts[1:], counts, strict=False))  # all of the last prompt


def test_media_of_earlier_turns_are_not_encoded_again(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    encoder = session.model.encoder("audio")
    monkeypatch.setattr(encoder, "forward", lambda signal, forward=encoder.forward: (
        encoded.append(len(signal.lengths)), forward(signal))[1])
    conversation(session, PrefixCache())
    assert encoded == [1, 1, 1]
    encoded.clear()
    conversation(session, None)
    assert encoded == [1, 2, 3]


def test_other_audio_is_read_again(session: Session) -> None:
    engine, prefix = BatchEngine(session), PrefixCache()
    drained(engine, [engine.begin(question(WAVES[0]), AnswerOptions(), prefix)])
    answer = engine.begin(question(WAVES[0] * 0.5), AnswerOptions(), prefix)
    events, = drained(engine, [answer])
    fresh, = drained(engine, [engine.begin(question(WAVES[0] * 0.5), AnswerOptions())])
    same(events, fresh)
    first = int(session.prompt([question(WAVES[0])]).batch.slots["audio"][0])
    assert answer.cached_tokens == first


def test_the_same_prompt_is_read_from_its_last_position_or_question(session: Session) -> None:
    engine, prefix = BatchEngine(session), PrefixCache()
    first, = drained(engine, [engine.begin(question(WAVES[0]), AnswerOptions(), prefix)])
    again = engine.begin(question(WAVES[0]), AnswerOptions(), prefix)
    events, = drained(engine, [again])
    same(events, first)
    assert 0 < again.cached_tokens < again.prompt_tokens


def test_another_engine_and_a_cleared_cache_reuse_nothing(session: Session) -> None:
    prefix = PrefixCache()
    engines = BatchEngine(session), BatchEngine(session)
    drained(engines[0], [engines[0].begin(question(text="a"), AnswerOptions(speak=False), prefix)])
    other = engines[1].begin(question(text="a"), AnswerOptions(speak=False), prefix)
    drained(engines[1], [other])
    assert (other.cached_tokens, prefix.length > 0, prefix.bytes > 0) == (0, True, True)
    prefix.clear()
    assert (prefix.length, prefix.bytes) == (0, 0)


def test_cancelled_answer_leaves_its_prompt(session: Session) -> None:
    engine, prefix = BatchEngine(session), PrefixCache()
    answer = engine.begin(question(text="what is two plus one"), AnswerOptions(), prefix)
    for _ in range(3):
        engine.step()
    answer.cancel()
    assert prefix.length >= answer.prompt_tokens


def test_memory_is_bounded_by_keeping_the_beginning(session: Session) -> None:
    engine, whole = BatchEngine(session), PrefixCache()
    drained(engine, [engine.begin(question(text="what is two"), AnswerOptions(speak=False), whole)])
    half = PrefixCache(limit=whole.bytes // 2)
    drained(engine, [engine.begin(question(text="what is two"), AnswerOptions(speak=False), half)])
    assert 0 < half.bytes <= half.limit and half.length == whole.length // 2


def test_prefix_never_cuts_a_signal(session: Session) -> None:
    from omnikit.contracts.types import ContentPart, Sample

    parts = (ContentPart("text", text="b"), ContentPart("audio", audio=WAVES[0]), ContentPart("audio", audio=WAVES[1]))
    batch = session.prompt([Sample("a", (Message("user", parts),))]).batch
    slots, counts = batch.slots["audio"].tolist(), batch.counts["audio"]
    second = slots[counts[0]]
    assert whole_signals(batch, second + 1) == second
    assert whole_signals(batch, second) == second
    assert whole_signals(batch, slots[0] + 1) == slots[0]
    assert whole_signals(batch, slots[-1] + 1) == slots[-1] + 1
    keys = position_keys(batch)
    assert len(set(keys[slots[0]:second])) == 1 and keys[slots[0]] != keys[second]
    rest = without_prefix(batch, second)
    expected = Taps(session.model, batch).inputs[:, second:]
    torch.testing.assert_close(Taps(session.model, rest).inputs, expected, rtol=1e-4, atol=1e-5)  # other padding
