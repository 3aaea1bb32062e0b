"""What a live session makes of scripted speech and scripted answers, worked out by hand."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, TypeVar

import numpy as np
import pytest
from live_doubles import (
    FRAME,
    POLICY,
    STEP,
    Amplitude,
    ScriptedAnswer,
    ScriptedEngine,
    answering,
    audio,
    live,
    names,
    noise,
    silence,
    speech,
    text,
)
from live_doubles import session as make_session

from omnikit.contracts.types import Message
from omnikit.errors import AdmissionError, DataError
from omnikit.inference.answer import Event
from omnikit.inference.live.events import (
    AnswerDone,
    AnswerStarted,
    AudioDelta,
    IdleTimeout,
    Interrupted,
    LiveError,
    LiveEvent,
    Paused,
    Resumed,
    SpeculationDiscarded,
    SpeechStarted,
    SpeechStopped,
    Truncated,
    TurnDecided,
    TurnsDropped,
)
from omnikit.inference.live.items import UserTurn
from omnikit.inference.live.session import LiveSession
from omnikit.inference.session import Session
from omnikit.recipe.live import TurnPolicy

Kind = TypeVar("Kind", bound=LiveEvent)
TURN = ["SpeechStarted", "SpeechStopped", "TurnCommitted"]
WORDS = "one two three four five six seven eight nine ten"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return make_session(tmp_path_factory.mktemp("live"))


def of(events: Sequence[LiveEvent], kind: type[Kind]) -> list[Kind]:
    return [event for event in events if isinstance(event, kind)]


def transcript(live: LiveSession) -> list[tuple[str, str]]:
    """Give the history: role and text, of audio its frames."""
    return [(message.role, " ".join(part.text if part.text is not None else f"{len(part.audio) / FRAME:g} frames"
                                    for part in message.content)) for message in live.history]


def test_a_query_is_answered(session: Session) -> None:
    talk = live(session, answering("one two", "audio"))
    events = talk.push(audio(silence(10), speech(20), silence(40)))
    assert names(events) == [*TURN, "TurnDecided", "AnswerStarted", "AnswerDone"]
    assert [(event.item, event.state, event.detected) for event in of(events, TurnDecided)] == [("turn_1", "query", "audio")]
    assert text(events, "answer_1") == "one two" and transcript(talk) == [("user", "24 frames"), ("assistant", "one two")]


def test_events_carry_the_input_clock(session: Session) -> None:
    events = live(session, answering("one")).push(audio(silence(10), speech(20), silence(40)))
    started, stopped = of(events, SpeechStarted)[0], of(events, SpeechStopped)[0]
    # speech begins with frame 10; two frames of it begin a turn, two frames before it belong to it
    assert (started.at, started.start_ms) == (12 * 32, 8 * 32)
    # it ends with frame 30; ten frames of silence end the turn, of which two belong to it
    assert (stopped.at, stopped.end_ms) == (40 * 32, 32 * 32)


def test_a_model_without_states_answers_every_turn(session: Session) -> None:
    events = live(session, answering("one")).push(audio(speech(20), silence(40)))
    assert [event.detected for event in of(events, TurnDecided)] == [None] and text(events, "answer_1") == "one"


def test_a_pause_inside_a_turn_does_not_end_it(session: Session) -> None:
    talk = live(session, answering("one"))
    events = talk.push(audio(speech(20), silence(9), speech(5), silence(40)))
    assert names(events)[:4] == [*TURN, "TurnDecided"] and transcript(talk)[0] == ("user", "36 frames")


@pytest.mark.parametrize("recording", [
    (silence(100),), (speech(1), silence(60)), (speech(1), silence(1), speech(1), silence(60))],
                         ids=["silence", "cough", "two coughs"])
def test_what_is_shorter_than_speech_is_no_turn(recording: tuple[tuple[float, int], ...], session: Session) -> None:
    talk = live(session)
    assert talk.push(audio(*recording)) == [] and talk.history == []


def test_noise_is_not_answered_and_not_remembered(session: Session) -> None:
    talk = live(session, noise())
    events = talk.push(audio(speech(20), silence(40)))
    assert names(events) == [*TURN, "TurnDecided"] and of(events, TurnDecided)[0].state == "noise" and talk.history == []


def test_noise_during_an_answer_pauses_it_and_it_goes_on(session: Session) -> None:
    talk = live(session, answering(WORDS, "audio"), noise())
    events = talk.push(audio(speech(20), silence(30), speech(5), silence(150)))
    assert names(events) == [*TURN, "TurnDecided", "AnswerStarted", "AnswerDone", "SpeechStarted", "Paused", "SpeechStopped",
                             "TurnCommitted", "TurnDecided", "Resumed"]
    assert of(events, Resumed)[0].played_ms == of(events, Paused)[0].played_ms
    assert transcript(talk) == [("user", "22 frames"), ("assistant", WORDS)]


def test_resumed_audio_begins_where_it_was_held(session: Session) -> None:
    events = live(session, answering(WORDS, "audio"), noise()).push(audio(speech(20), silence(30), speech(5), silence(150)))
    index = next(index for index, event in enumerate(events) if isinstance(event, Resumed))
    again, held = events[index + 1], events[index].played_ms
    assert isinstance(again, AudioDelta) and again.start == held * 24
    sent = np.concatenate([event.waveform for event in events[:index] if isinstance(event, AudioDelta)])
    np.testing.assert_array_equal(again.waveform, sent[again.start:])


def test_no_audio_is_given_while_the_user_speaks(session: Session) -> None:
    events = live(session, answering(WORDS, "audio"), answering("two", "audio")).push(
        audio(speech(20), silence(12), speech(20), silence(60)))
    started = of(events, SpeechStarted)[1].at
    decided = of(events, TurnDecided)[1].at
    assert not [event for event in of(events, AudioDelta) if started <= event.at < decided]


def test_a_query_during_an_answer_ends_it_at_the_words_that_were_played(session: Session) -> None:
    talk = live(session, answering(WORDS, "audio"), answering("stop", "audio"))
    events = talk.push(audio(speech(20), silence(50), speech(10), silence(40)))
    # AnswerStarted at frame 31; its audio plays from frame 32 to 71, when two frames of speech were there: 40 or 41 frames
    assert names(events) == [*TURN, "TurnDecided", "AnswerStarted", "AnswerDone", "SpeechStarted", "Paused", "SpeechStopped",
                             "TurnCommitted", "Interrupted", "TurnDecided", "AnswerStarted", "AnswerDone"]
    interrupted = of(events, Interrupted)[0]
    count = interrupted.played_ms // 320
    assert interrupted.played_ms == of(events, Paused)[0].played_ms and 3 <= count < 10
    assert interrupted.text == " ".join(WORDS.split()[:count])
    assert transcript(talk) == [("user", "22 frames"), ("assistant", interrupted.text), ("user", "14 frames"),
                                ("assistant", "stop")]


def test_the_next_prompt_holds_what_was_played(session: Session) -> None:
    talk = live(session, answering(WORDS, "audio"), answering("stop", "audio"))
    talk.push(audio(speech(20), silence(50), speech(10), silence(40)))
    engine = talk.engine
    assert isinstance(engine, ScriptedEngine)
    assert [message.role for message in engine.asked[1].messages] == ["user", "assistant", "user"]
    assert engine.asked[1].messages[1] == talk.history[1]


def test_a_decision_cancels_the_generation(session: Session) -> None:
    first = answering(" ".join(["word"] * 500), "audio")
    events = live(session, first, answering("stop", "audio")).push(audio(speech(20), silence(50), speech(10), silence(40)))
    assert first.finish_reason == "cancelled"
    assert [event.reason for event in of(events, AnswerDone) if event.item == "answer_1"] == ["interrupted"]


def test_an_answer_that_nobody_was_given_is_not_in_the_history(session: Session) -> None:
    first = ScriptedAnswer(["one"], "audio")
    talk = live(session, first, answering("two", "audio"))
    talk.push(audio(speech(20), silence(10), speech(10), silence(60)))  # the state comes as the user goes on
    assert [role for role, _ in transcript(talk)] in (["user", "assistant"], ["user", "user", "assistant"])
    assert transcript(talk)[-1] == ("assistant", "two")


def test_by_decision_audio_goes_on_until_the_query_is_certain(session: Session) -> None:
    policy = replace(POLICY, interrupt="decision")
    talk = live(session, answering(WORDS, "audio"), answering("stop", "audio"), policy=policy)
    events = talk.push(audio(speech(20), silence(50), speech(10), silence(40)))
    assert "Paused" not in names(events)
    interrupted = of(events, Interrupted)[0]
    assert interrupted.at == of(events, TurnDecided)[1].at and interrupted.played_ms > 1280
    assert interrupted.text == " ".join(WORDS.split()[:interrupted.played_ms // 320])


def test_where_nothing_interrupts_turns_are_dropped(session: Session) -> None:
    talk = live(session, answering(WORDS, "audio"), policy=replace(POLICY, interrupt="never"))
    events = talk.push(audio(speech(20), silence(50), speech(10), silence(120)))
    assert [event.state for event in of(events, TurnDecided)] == ["query", "dropped"]
    assert transcript(talk) == [("user", "22 frames"), ("assistant", WORDS)]


def test_without_resuming_noise_ends_an_answer(session: Session) -> None:
    talk = live(session, answering(WORDS, "audio"), noise(), policy=replace(POLICY, resume=False))
    events = talk.push(audio(speech(20), silence(50), speech(10), silence(40)))
    assert names(events)[-2:] == ["TurnDecided", "Interrupted"] and transcript(talk)[-1][1] == of(events, Interrupted)[0].text


def test_a_speculative_answer_is_given_at_the_end_of_the_turn(session: Session) -> None:
    early = live(session, answering("one", "audio"), policy=replace(POLICY, speculative_ms=128))
    events = early.push(audio(speech(20), silence(40)))
    assert names(events) == [*TURN, "TurnDecided", "AnswerStarted", "AnswerDone"]
    assert of(events, AnswerStarted)[0].at == of(events, SpeechStopped)[0].at  # it was ready
    assert transcript(early) == [("user", "22 frames"), ("assistant", "one")]


def test_a_speculative_answer_is_discarded_when_the_user_goes_on(session: Session) -> None:
    first = answering(WORDS, "audio")
    talk = live(session, first, answering("two", "audio"), policy=replace(POLICY, speculative_ms=128))
    events = talk.push(audio(speech(20), silence(6), speech(10), silence(40)))
    assert of(events, SpeculationDiscarded)[0].item == "turn_1" and first.finish_reason in ("cancelled", "stop")
    assert text(events, "answer_1") == "" and transcript(talk) == [("user", "38 frames"), ("assistant", "two")]


def test_a_long_monologue_is_cut_into_turns(session: Session) -> None:
    talk = live(session, answering("one", "audio"), answering("two", "audio"), policy=replace(POLICY, max_turn_ms=1600))
    events = talk.push(audio(speech(70), silence(60)))
    assert [event.end_ms - started.start_ms for event, started in zip(of(events, SpeechStopped), of(events, SpeechStarted),
                                                                     strict=True)] == [1600, 704]
    assert transcript(talk)[-1] == ("assistant", "two")


def test_silence_after_an_answer_is_reported_once(session: Session) -> None:
    events = live(session, answering("one", "audio"), policy=replace(POLICY, idle_timeout_ms=640)).push(
        audio(speech(20), silence(200)))
    assert [(event.item, event.silence_ms) for event in of(events, IdleTimeout)] == [("answer_1", 640)]


def test_turns_are_only_committed_where_the_policy_answers_none(session: Session) -> None:
    talk = live(session, answering(WORDS, "audio"), policy=replace(POLICY, answer=False))
    assert names(talk.push(audio(speech(20), silence(40)))) == TURN
    assert talk.respond() == "answer_1"
    assert names(talk.push(audio(silence(10)))) == ["TurnDecided", "AnswerStarted"]
    assert names(talk.push(audio(speech(20))))[-2:] == ["SpeechStarted", "Interrupted"]


def test_by_hand_a_turn_holds_what_was_pushed(session: Session) -> None:
    talk = live(session, answering("one two"), policy=TurnPolicy(turn_detection="none"))
    assert talk.push(audio(speech(4))[:1700]) == []
    talk.push_text("and this")
    assert talk.commit() == "turn_1" and names(talk.advance()) == ["TurnCommitted"]
    message, = talk.history
    assert [part.type for part in message.content] == ["audio", "text"] and len(message.content[0].audio) == 1700
    talk.respond()
    for _ in range(5):
        talk.engine.step()
    assert names(talk.advance()) == ["TurnDecided", "AnswerStarted", "AnswerDone"]
    assert transcript(talk)[-1] == ("assistant", "one two")


@pytest.mark.parametrize("detection", ["none", "vad"])
def test_written_questions_leave_complete_answers_in_the_history(detection: Literal["none", "vad"], session: Session) -> None:
    talk = live(session, answering("one two"), answering("three"), policy=TurnPolicy(turn_detection=detection), pace=None)
    for question in ("first", "second"):
        talk.push_text(question)
        talk.commit()
        talk.respond()
        assert [talk.engine.step() for _ in range(5)]
        talk.advance()
    assert transcript(talk)[:3] == [("user", "first"), ("assistant", "one two"), ("user", "second")]
    assert talk.engine.asked[1].messages == tuple(talk.history[:3])


def test_images_stand_before_text_and_audio(session: Session) -> None:
    talk = live(session, policy=TurnPolicy(turn_detection="none"))
    talk.push(audio(speech(4)))
    talk.push_text("what is it")
    talk.push_image(np.zeros((4, 4, 3), np.uint8))
    talk.commit()
    assert [part.type for part in talk.history[0].content] == ["image", "text", "audio"]


@pytest.mark.parametrize(("call", "kind"), [
    (lambda talk: talk.commit(), "empty turn"), (lambda talk: talk.respond(), "empty turn"),
    (lambda talk: talk.truncate("answer_9", 0), "unknown item"), (lambda talk: talk.remove("turn_9"), "unknown item"),
    (lambda talk: talk.push(np.zeros((2, 2), np.float32)), "audio"),
    (lambda talk: talk.push(audio(silence(1)), 100), "sample rate"),
    (lambda talk: [talk.push(audio(silence(1)), 16000), talk.push(audio(silence(1)), 24000)], "sample rate"),
], ids=["commit", "respond", "truncate", "remove", "channels", "rate", "another rate"])
def test_what_cannot_be_done_is_an_error_of_a_kind(call: Callable[[LiveSession], object], kind: str, session: Session) -> None:
    talk = live(session, policy=TurnPolicy(turn_detection="none"))
    with pytest.raises(DataError) as caught:
        call(talk)
    assert caught.value.kind == kind


def test_a_second_answer_is_refused_while_one_is_generated(session: Session) -> None:
    talk = live(session, answering(WORDS), policy=TurnPolicy(turn_detection="none"))
    talk.push_text("one")
    talk.commit()
    talk.respond()
    with pytest.raises(DataError, match="answer_1 is being generated, so no other answer begins; cancel it first"):
        talk.respond()


def test_a_full_engine_is_an_event_and_the_conversation_goes_on(session: Session) -> None:
    talk = live(session, answering(WORDS, "audio"), answering("two", "audio"))
    talk.engine.limit = 0
    events = talk.push(audio(speech(20), silence(40)))
    assert [event.message for event in of(events, LiveError)] == ["The engine is full; ask again later."]
    talk.engine.limit = 8
    assert text(talk.push(audio(speech(20), silence(60))), "answer_2") == WORDS


def test_a_full_engine_lets_a_paused_answer_go_on(session: Session) -> None:
    talk = live(session, answering(WORDS, "audio"))
    talk.push(audio(speech(20), silence(14)))
    talk.engine.limit = 0
    found = names(talk.push(audio(speech(5), silence(40))))
    assert found == ["SpeechStarted", "Paused", "SpeechStopped", "TurnCommitted", "LiveError", "Resumed", "AnswerDone"]


def test_an_answer_that_fails_ends_with_an_error(session: Session) -> None:
    failing = replace(answering("one two", "audio"), error=AdmissionError("The device is out of memory."))
    events = live(session, failing).push(audio(speech(20), silence(40)))
    assert names(events)[-3:] == ["AnswerStarted", "LiveError", "AnswerDone"] and of(events, AnswerDone)[0].reason == "error"


def test_the_oldest_turns_are_dropped_where_the_context_is_full(session: Session) -> None:
    class Short(ScriptedEngine):
        def begin(self, sample: object, options: object, prefix: object = None) -> ScriptedAnswer:
            messages = [message for message in sample.messages if message.role == "user"]
            if len(messages) > 2:
                raise DataError("Row turn has 70 positions.", kind="too long")
            return super().begin(sample, options, prefix)

    talk = LiveSession(session, Short([answering(word, "audio") for word in ("one", "two", "three")]), POLICY,
                       vad=Amplitude(), pace=1)
    events = talk.push(audio(*[speech(20), silence(60)] * 3))
    assert [(event.item, event.items) for event in of(events, TurnsDropped)] == [("turn_3", ("turn_1", "answer_1"))]
    assert [role for role, _ in transcript(talk)] == ["user", "assistant"] * 3  # the history holds them


@pytest.mark.parametrize(("limit", "roles"), [
    (0, ["user"]), (1, ["user", "assistant", "user"]), (2, ["user", "assistant"] * 2 + ["user"]),
    (None, ["user", "assistant"] * 2 + ["user"])])
def test_a_prompt_holds_so_many_earlier_turns(limit: int | None, roles: list[str], session: Session) -> None:
    talk = live(session, *(answering(word, "audio") for word in ("one", "two", "three")),
                policy=replace(POLICY, history_turns=limit))
    talk.push(audio(*[speech(20), silence(60)] * 3))
    assert [message.role for message in talk.engine.asked[-1].messages] == roles and len(talk.history) == 6


def test_cancel_ends_an_answer_at_what_was_played(session: Session) -> None:
    first = answering(" ".join([WORDS] * 50), "audio")
    talk = live(session, first)
    talk.push(audio(speech(20), silence(41)))  # decided in frame 29: 31 frames played since
    talk.cancel()
    events = talk.advance()
    assert names(events) == ["Interrupted", "AnswerDone"] and of(events, AnswerDone)[0].reason == "cancelled"
    assert transcript(talk)[-1] == ("assistant", "one two three") and first.finish_reason == "cancelled"


def test_reports_of_the_player_count_instead_of_the_clock(session: Session) -> None:
    talk = live(session, answering(WORDS, "audio"))
    talk.push(audio(speech(20), silence(60)))
    talk.played(700)
    talk.push(audio(silence(100)))
    talk.cancel()
    assert of(talk.advance(), Interrupted)[0].played_ms == 700 and transcript(talk)[-1] == ("assistant", "one two")


# ---- truncation: the five cases in which servers fail ----


def talking(session: Session, frames: int = 60) -> LiveSession:
    talk = live(session, answering(WORDS, "audio"))
    talk.push(audio(speech(20), silence(frames)))
    return talk


@pytest.mark.parametrize(("milliseconds", "expected"), [(0, ""), (319, ""), (320, "one"), (1000, "one two three"),
                                                        (10 ** 9, WORDS), (-5, "")])
def test_truncation_keeps_the_words_until_then(milliseconds: int, expected: str, session: Session) -> None:
    talk = talking(session)
    talk.truncate("answer_1", milliseconds)
    assert [message for role, message in transcript(talk) if role == "assistant"] == ([expected] if expected else [])
    assert [event.text for event in of(talk.advance(), Truncated)] == [expected]


def test_truncation_of_a_finished_answer_keeps_the_rest_of_the_history(session: Session) -> None:
    talk = live(session, answering(WORDS, "audio"), answering("two", "audio"))
    talk.push(audio(speech(20), silence(200), speech(20), silence(60)))
    talk.truncate("answer_1", 960)
    assert transcript(talk) == [("user", "22 frames"), ("assistant", "one two three"), ("user", "24 frames"),
                                ("assistant", "two")]


def test_truncation_before_the_first_audio_leaves_nothing(session: Session) -> None:
    first = answering(WORDS, "audio")
    talk = live(session, first, pace=None)
    talk.push(audio(speech(20), silence(20)))
    first.ready.append(Event(0.0, text="one", state="audio"))
    assert names(talk.advance()) == ["TurnDecided", "AnswerStarted"]
    talk.truncate("answer_1", 500)
    assert names(talk.advance()) == ["Truncated", "AnswerDone"] and first.finish_reason == "cancelled"
    assert [role for role, _ in transcript(talk)] == ["user"]


def test_truncation_of_an_unknown_answer_changes_nothing(session: Session) -> None:
    talk = talking(session)
    with pytest.raises(DataError, match=r"item is 'turn_1', but must be the id of an answer of this conversation: answer_1\."):
        talk.truncate("turn_1", 0)
    assert transcript(talk)[-1][0] == "assistant"


# ---- the conversation ----


def test_messages_can_be_added_and_removed(session: Session) -> None:
    talk = live(session)
    added = talk.add(Message("user", ()), "mine")
    assert added == "mine" and isinstance(talk.items[0], UserTurn) and len(talk.history) == 1
    talk.remove("mine")
    assert talk.history == []


def test_a_removed_answer_is_no_longer_generated(session: Session) -> None:
    first = answering(WORDS, "audio")
    talk = live(session, first)
    talk.push(audio(speech(20), silence(14)))
    talk.remove("answer_1")
    assert first.finish_reason == "cancelled" and [role for role, _ in transcript(talk)] == ["user"]


def test_steps_are_as_long_as_ten_frames() -> None:
    assert STEP / 24000 == 10 * FRAME / 16000
