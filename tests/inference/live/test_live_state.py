"""A live session that is copied, saved or restored goes on as if nothing had happened; scripted answers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from live_doubles import POLICY, Amplitude, ScriptedAnswer, ScriptedEngine, answering, audio, live, silence, speech
from live_doubles import session as make_session
from numpy.typing import NDArray

from omnikit.contracts.types import ContentPart, Message
from omnikit.errors import DataError, RunError
from omnikit.inference.live.events import AudioDelta, LiveEvent
from omnikit.inference.live.session import LiveSession
from omnikit.inference.session import Session

WORDS = "one two three four five six seven eight nine ten"
RECORDING = audio(silence(10), speech(20), silence(30), speech(10), silence(90))
SCRIPT = (answering(WORDS, "audio"), answering("stop now", "audio"))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return make_session(tmp_path_factory.mktemp("live"))


def talk(session: Session, *script: ScriptedAnswer) -> LiveSession:
    return live(session, *(replace(answer, ready=[]) for answer in script or SCRIPT))


def plain(events: list[LiveEvent]) -> list[object]:
    """Events as values that can be compared, their audio joined to those of the same answer beside them."""
    found: list[object] = []
    for event in events:
        found.append((event.item, event.start, event.waveform.tolist()) if isinstance(event, AudioDelta) else event)
    return found


def contents(history: list[Message]) -> list[object]:
    return [(message.role, message.state, [(part.type, part.text, None if part.audio is None else part.audio.tolist())
                                           for part in message.content]) for message in history]


def engine(live: LiveSession) -> ScriptedEngine:
    assert isinstance(live.engine, ScriptedEngine)
    return live.engine


def resumed(live: LiveSession, carry: Callable[[LiveSession, LiveSession], None], session: Session) -> LiveSession:
    """Give another session that goes on from this one's state, its engine with the same answers from the first running on."""
    running = [answer for answer in engine(live).running if answer.finish_reason is None]
    begun = len(engine(live).asked)
    script = [replace(SCRIPT[index], ready=[]) for index in range(begun - len(running), len(SCRIPT))]
    other = LiveSession(session, ScriptedEngine(script), POLICY, vad=Amplitude(), pace=1)
    carry(live, other)
    for answer in engine(other).running:  # as far as the engine that it comes from
        for _ in range(running[0].answer_tokens):
            answer.step()
    return other


@pytest.mark.parametrize("cut", [5000, 20 * 512, 33 * 512, 41 * 512, 50 * 512, 63 * 512, 74 * 512, 80 * 512],
                         ids=lambda cut: f"{cut / 512:g} frames")
@pytest.mark.parametrize("way", ["state", "file"])
def test_a_restored_session_goes_on_as_the_one_it_comes_from(cut: int, way: str, session: Session, tmp_path: Path) -> None:
    first = talk(session)
    first.push(RECORDING[:cut])

    def carry(old: LiveSession, new: LiveSession) -> None:
        if way == "file":
            old.save(tmp_path / "live.safetensors")
        new.load(tmp_path / "live.safetensors") if way == "file" else new.restore(old.state())

    other = resumed(first, carry, session)
    assert plain(other.push(RECORDING[cut:])) == plain(first.push(RECORDING[cut:]))
    assert contents(other.history) == contents(first.history)


def test_a_copy_and_its_original_are_two_conversations(session: Session) -> None:
    first = talk(session)
    first.push(RECORDING[: 60 * 512])
    other = first.copy()
    first.truncate("answer_1", 320)
    first.push_text("more")
    assert other.history[-1] != first.history[-1] and first.history[-1].content[0].text == "one"
    assert not other.state().parts and first.state().parts


def test_a_state_is_not_changed_by_the_session_that_it_came_from(session: Session) -> None:
    first = talk(session)
    first.push(RECORDING[: 50 * 512])
    state = first.state()
    before = contents(state.messages(prompt=False))
    first.push(RECORDING[50 * 512:])
    assert contents(state.messages(prompt=False)) == before and state.clock == 50 * 512


def test_a_session_that_is_reset_is_as_new(session: Session) -> None:
    used = talk(session, *SCRIPT, *SCRIPT)
    used.push(RECORDING)
    used.reset()
    assert plain(used.push(RECORDING)) == plain(talk(session).push(RECORDING))


def test_a_reset_cancels_the_answer_that_runs(session: Session) -> None:
    used = talk(session)
    used.push(RECORDING[: 36 * 512])
    used.reset()
    assert [answer.finish_reason for answer in engine(used).running] in (["cancelled"], [])
    assert used.history == [] and used.advance() == []


def test_seeds_of_answers_differ_and_are_those_of_the_session(session: Session) -> None:
    def seeds(seed: int) -> list[int | None]:
        made = LiveSession(session, ScriptedEngine([replace(answer, ready=[]) for answer in SCRIPT]), POLICY, seed=seed,
                           vad=Amplitude(), pace=1)
        made.push(RECORDING)
        return engine(made).seeds

    assert seeds(3) == seeds(3) and len({*seeds(3), *seeds(4)}) == 4


@pytest.mark.parametrize("content", [b"", b"not a state", None], ids=["empty", "text", "none"])
def test_another_file_is_refused(content: bytes | None, session: Session, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    if_there: dict[bool, Callable[[], object]] = {True: lambda: path.write_bytes(content or b""), False: lambda: None}
    if_there[content is not None]()
    with pytest.raises(RunError, match=r"other\.safetensors is not the state of a live session"):
        talk(session).load(path)


def test_audio_that_cannot_be_given_again_is_not_held(session: Session) -> None:
    first = talk(session)
    first.push(RECORDING[: 50 * 512])
    playing, = first.state().replies()
    first.push(audio(silence(200)))
    played, = first.state().replies()
    assert len(playing.audio) == 10 and playing.samples == played.samples and played.audio == [] and played.played_text == WORDS


def test_images_and_texts_are_part_of_the_file(session: Session, tmp_path: Path) -> None:
    first = talk(session)
    pixels: NDArray[np.uint8] = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    first.push_image(pixels)
    first.add(Message("user", (ContentPart("text", text="früher"),)))
    first.save(tmp_path / "live.safetensors")
    other = talk(session)
    other.load(tmp_path / "live.safetensors")
    np.testing.assert_array_equal(other.state().parts[0].pixels, pixels)
    assert other.history == first.history


def test_messages_stand_where_they_are_put(session: Session) -> None:
    first = talk(session)
    texts = {"b": None, "c": None, "a": "", "d": "c"}
    for name, after in texts.items():
        first.add(Message("user", (ContentPart("text", text=name),)), name, after=after)
    assert [item.id for item in first.items] == ["a", "b", "c", "d"]
    with pytest.raises(DataError, match="item is 'z', but this conversation has no turn or answer of that id"):
        first.add(Message("user", ()), after="z")
