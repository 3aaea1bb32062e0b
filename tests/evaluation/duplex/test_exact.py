"""What exact times show, against conversations worked out by hand; a sample is a millisecond."""

import pytest
from duplex_doubles import audio, conversation, span

from omnikit.evaluation.duplex.conversation import Conversation, PeerEvent, PlayedSegment, Word
from omnikit.evaluation.duplex.exact import answer_results, element_results, history_equal

ANSWERED = [PeerEvent(1500, "answer_started", "a"), PeerEvent(1500, "text", "a", "one two"), audio(1500, "a", 2000)]
PLAYED = [PlayedSegment("a", 0, 1600.0, 2900.0)]  # 1.3 of 2 s
MARKS = {"a": [(1000, 3), (2000, 7)]}


def interrupted(history: str, *, marks: bool = True, kind: str = "interruption", ended: bool = True) -> Conversation:
    """An answer of two words of a second each, stopped in the second one, by what began at 2600 and was detected at 2900."""
    events = [*ANSWERED, PeerEvent(2900, "speech_started", "t"), PeerEvent(2900, "paused", "a"),
              *([PeerEvent(3700, "interrupted", "a")] if ended else [])]
    return conversation([span("query", 0, 1000), span(kind, 2600, 3200, "a")], events, PLAYED, stops=[(2900, "a")],
                        history={"a": history}, marks=MARKS if marks else None)


def test_response_runs_from_the_querys_end_to_the_first_audio() -> None:
    (found,) = element_results(conversation([span("query", 0, 1000)], ANSWERED, [PlayedSegment("a", 0, 1600.0, 3600.0)]))
    assert (found.answers, found.response_ms) == (1, 600)


def test_an_answer_without_audio_counts_from_its_text() -> None:
    (found,) = element_results(conversation([span("query", 0, 1000)], ANSWERED[:2]))
    assert found.response_ms == 500


def test_stop_runs_from_the_interruptions_beginning_to_the_last_audio() -> None:
    found = element_results(interrupted("one"))[1]
    assert (found.stopped, found.stop_ms, found.missed_stop) == (True, 300, False)


def test_an_answer_that_goes_on_is_a_missed_stop() -> None:
    found = element_results(conversation([span("query", 0, 1000), span("interruption", 2300, 2900, "a")], ANSWERED))[1]
    assert found.missed_stop


def test_an_answer_that_a_backchannel_stops_is_a_false_stop() -> None:
    assert element_results(interrupted("one", kind="backchannel"))[1].false_stop


def test_a_stop_by_a_question_is_not_that_of_a_cough_before_it() -> None:
    made = conversation([span("cough", 1700, 2100, "a"), span("interruption", 2600, 3200, "a")], ANSWERED, PLAYED,
                        stops=[(2900, "a")])
    assert [one.stopped for one in element_results(made)] == [False, True]


def test_nothing_is_stopped_where_nothing_plays() -> None:
    found = element_results(conversation([span("query", 0, 1000), span("interruption", 2300, 2900)], ANSWERED))[1]
    assert found.stopped is None and not found.missed_stop


def test_audio_that_comes_after_speech_began_is_counted() -> None:
    made = conversation([span("query", 0, 1000), span("interruption", 2300, 2900, "a")],
                        [*ANSWERED, PeerEvent(2600, "speech_started", "t"), audio(2610, "a", 120), audio(2620, "b", 50)],
                        PLAYED, stops=[(2620, "a")])
    assert element_results(made)[1].audio_after_stop_ms == 120


def test_audio_that_is_held_back_and_goes_on_is_no_stop() -> None:
    events = [*ANSWERED, PeerEvent(2400, "paused", "a"), PeerEvent(3000, "resumed", "a")]
    found = element_results(conversation([span("query", 0, 1000), span("cough", 2300, 2700, "a")], events))[1]
    assert (found.stopped, found.held_ms) == (False, 600)


@pytest.mark.parametrize("kind", ["fragment", "side_talk", "noise"])
def test_an_answer_belongs_to_what_ended_last(kind: str) -> None:
    found = element_results(conversation([span("query", 0, 500), span(kind, 700, 1400), span("query", 1450, 2000)], ANSWERED))
    assert [one.answers for one in found] == [0, 1, 0]


def test_an_answer_before_anything_ended_has_no_cause() -> None:
    (found,) = answer_results(conversation([], ANSWERED))
    assert found.cause == ""


@pytest.mark.parametrize(("history", "expected"), [("one", True), ("", False), ("one two", False), ("on", False)])
def test_history_of_an_answer_that_was_cut_holds_the_words_that_were_played(history: str, expected: bool) -> None:
    assert history_equal(interrupted(history), "a") is expected


@pytest.mark.parametrize(("history", "expected"), [("one", True), ("one two", False), ("two", False)])
def test_without_marks_a_cut_history_is_a_beginning(history: str, expected: bool) -> None:
    assert history_equal(interrupted(history, marks=False), "a") is expected


def test_history_of_a_complete_answer_is_its_text() -> None:
    made = conversation([span("query", 0, 1000)], ANSWERED, [PlayedSegment("a", 0, 1600.0, 3600.0)], history={"a": "one"})
    assert history_equal(made, "a") is False


def test_history_that_cannot_be_asked_for_is_unknown() -> None:
    (found,) = answer_results(conversation([span("query", 0, 1000)], ANSWERED))
    assert found.history_equal is None


def test_history_of_an_answer_that_is_held_back_at_the_end_is_unknown() -> None:
    assert history_equal(interrupted("one two", ended=False), "a") is None


def test_words_stand_where_their_audio_was_played() -> None:
    made = conversation([], ANSWERED, [PlayedSegment("a", 0, 1600.0, 3600.0)], marks=MARKS)
    assert made.words() == [Word("one", 1600.0, 2600.0), Word("two", 2850.0, 3600.0)]


def test_a_word_that_was_not_played_to_its_end_is_left_out() -> None:
    assert interrupted("one").words() == [Word("one", 1600.0, 2600.0)]
