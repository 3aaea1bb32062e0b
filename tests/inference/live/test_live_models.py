"""Live sessions on real parts of random weights, synthetic speech and silero: the same events whatever the pieces."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray
from omnikit_basics.energy import Energy
from omnikit_espeak.config import Espeak
from small_recipe import write_recipe

from omnikit.contracts.types import Sample
from omnikit.inference.live.events import AnswerDone, AudioDelta, LiveEvent, SpeechStarted, TextDelta, TurnDecided
from omnikit.inference.live.items import Reply
from omnikit.inference.live.session import LiveSession
from omnikit.inference.scheduler.single import SingleEngine
from omnikit.inference.session import Session, build
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose
from omnikit.recipe.live import TurnPolicy

SMALLER = ["speech.codec.dim=4", "speech.codec.channels=32", "speech.codec.duration_dim=4", "speech.head.layers=1",
           "generate.max_new_tokens=9", "backbone.layers=1", "backbone.context=512"]
POLICY = TurnPolicy(min_silence_ms=250, prefix_padding_ms=100)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("live")
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (folder / "rows.jsonl").write_text(json.dumps({"messages": turns}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made = build(make(compose(str(write_recipe(folder)), SMALLER)), device="cpu")
    for name, weight in made.model.head("speech").named_parameters():  # sharp attention and classes: labels change often
        weight.data *= 6 if "q_proj" in name or "output_proj" in name else 1
    return made


@pytest.fixture(scope="module")
def recording() -> NDArray[np.float32]:
    """Two questions, the second during the answer to the first."""
    espeak = Espeak().build()
    first, second = (espeak.speak(text, voice)[0] for text, voice in (("what is two", "en-us+f3"), ("no wait", "en-us+m3")))
    return np.concatenate([np.zeros(3000), first, np.zeros(8000), second, np.zeros(16000)]).astype(np.float32)


def pushed(live: LiveSession, audio: NDArray[np.float32], sizes: Sequence[int], rate: int = 16000) -> list[LiveEvent]:
    """Push audio in pieces of these sizes, repeated."""
    events, start, number = list[LiveEvent](), 0, 0
    while start < len(audio):
        events += live.push(audio[start:start + sizes[number % len(sizes)]], rate)
        start, number = start + sizes[number % len(sizes)], number + 1
    return events


def plain(events: Sequence[LiveEvent]) -> list[object]:
    return [(event.at, event.item, event.start, event.waveform.tobytes()) if isinstance(event, AudioDelta) else event
            for event in events]


def talk(session: Session, engine: SingleEngine | None = None) -> LiveSession:
    return LiveSession(session, engine or SingleEngine(session), POLICY, pace=1)


@pytest.fixture(scope="module")
def once(session: Session, recording: NDArray[np.float32]) -> tuple[LiveSession, list[LiveEvent]]:
    live = talk(session)
    return live, live.push(recording)


def test_both_questions_are_answered_and_the_first_answer_ends(once: tuple[LiveSession, list[LiveEvent]]) -> None:
    live, events = once
    assert [event.state for event in events if isinstance(event, TurnDecided)] == ["query", "query"]
    assert sum(isinstance(event, AudioDelta) for event in events) > 3
    assert [message.role for message in live.history][-2:] == ["user", "assistant"]


SIZES = {"1": [1], "160": [160], "512": [512], "4000": [4000],
         "random": np.random.default_rng(0).integers(1, 3000, 40).tolist()}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())
def test_any_pieces_give_the_same_events(sizes: list[int], session: Session, recording: NDArray[np.float32],
                                         once: tuple[LiveSession, list[LiveEvent]]) -> None:
    assert plain(pushed(talk(session), recording, sizes)) == plain(once[1])


def test_any_pieces_at_another_rate_give_the_same_events(session: Session, recording: NDArray[np.float32]) -> None:
    faster = np.asarray(soxr.resample(recording, 16000, 24000), dtype=np.float32)
    events = talk(session).push(faster, 24000)
    assert plain(pushed(talk(session), faster, SIZES["random"], 24000)) == plain(events)
    assert sum(isinstance(event, AnswerDone) for event in events) == 2


def test_an_answer_is_that_of_the_session_to_the_same_prompt(session: Session,
                                                             once: tuple[LiveSession, list[LiveEvent]]) -> None:
    live, events = once
    first = live.history[0]
    whole = session.answers([Sample("turn", (first,))])[0]
    given = "".join(event.text for event in events if isinstance(event, TextDelta) and event.item == "answer_1")
    waves = [event.waveform for event in events if isinstance(event, AudioDelta) and event.item == "answer_1"]
    assert whole.text.startswith(given) and whole.waveform is not None
    joined = np.concatenate(waves)
    np.testing.assert_allclose(joined, whole.waveform[:len(joined)], atol=1e-5)  # float32, other windows


def test_what_was_played_is_the_beginning_of_what_was_given(once: tuple[LiveSession, list[LiveEvent]]) -> None:
    replies = [item for item in once[0].items if isinstance(item, Reply)]
    assert len(replies) == 2 and all(reply.text.startswith(reply.played_text) for reply in replies)


def test_conversations_on_one_engine_do_not_meet(session: Session, recording: NDArray[np.float32]) -> None:
    def texts(live: LiveSession, events: list[LiveEvent]) -> dict[str, str]:
        return {reply.id: "".join(event.text for event in events if isinstance(event, TextDelta) and event.item == reply.id)
                for reply in live.items if isinstance(reply, Reply)}

    other = np.concatenate([recording[20000:], recording[:20000]])
    alone = []
    for audio in (recording, other):
        live = LiveSession(session, SingleEngine(session), TurnPolicy(min_silence_ms=250, interrupt="never"), pace=1)
        alone.append(texts(live, live.push(audio)))
    engine = SingleEngine(session)
    lives = [LiveSession(session, engine, TurnPolicy(min_silence_ms=250, interrupt="never"), pace=1) for _ in alone]
    events: list[list[LiveEvent]] = [[], []]
    for start in range(0, len(recording), 512):
        for live, audio, found in zip(lives, (recording, other), events, strict=True):
            found += live.push(audio[start:start + 512])
    together = [texts(live, found) for live, found in zip(lives, events, strict=True)]
    assert [found["answer_1"] for found in together] == [found["answer_1"] for found in alone]


def test_the_detection_of_the_recipe_or_another_is_used(session: Session, recording: NDArray[np.float32]) -> None:
    silero = LiveSession(session, SingleEngine(session), POLICY, pace=1)
    energy = LiveSession(session, SingleEngine(session), POLICY, vad=Energy(), pace=1)
    assert type(silero.vad).__name__ == "SileroVAD" and type(energy.vad).__name__ == "EnergyVAD"
    starts = [[event.start_ms for event in live.push(recording) if isinstance(event, SpeechStarted)]
              for live in (silero, energy)]
    assert len(starts[0]) == 2 and np.abs(np.subtract(*starts)).max() < 200
