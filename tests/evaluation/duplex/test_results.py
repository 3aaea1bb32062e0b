"""Each task of Full-Duplex-Bench takes its own part of a conversation."""

from pathlib import Path

import pytest
import soundfile
from duplex_doubles import audio, conversation, span

from omnikit.evaluation.duplex import fdb_files
from omnikit.evaluation.duplex.conversation import PeerEvent, PlayedSegment
from omnikit.evaluation.duplex.results import fdb_result, scenario_result, summary
from omnikit.evaluation.duplex.timeline import timeline
from omnikit.store.files import read_json

ANSWER = [PeerEvent(1500, "answer_started", "a"), PeerEvent(1500, "text", "a", "one two three four"), audio(1500, "a", 2000)]
PLAYED = [PlayedSegment("a", 0, 1600.0, 3600.0)]
QUERY = [span("query", 0, 1000)]


def test_smooth_turn_taking_has_a_latency() -> None:
    found = fdb_result(conversation(QUERY, ANSWER, PLAYED, task="smooth_turn_taking"))
    assert (found.take_over, found.response_latency) == (True, 0.6)


def test_pause_handling_counts_words_before_the_turns_end() -> None:
    found = fdb_result(conversation([span("fragment", 0, 500), span("pause", 500, 1000), span("query", 1000, 4000)], ANSWER,
                                    PLAYED, task="pause_handling"))
    assert found.take_over is True


def test_pause_handling_leaves_out_words_behind_the_turn() -> None:
    assert fdb_result(conversation(QUERY, ANSWER, PLAYED, task="pause_handling")).take_over is False


def test_backchannels_are_counted_while_the_user_speaks() -> None:
    found = fdb_result(conversation([span("query", 0, 4000)], ANSWER, [PlayedSegment("a", 0, 1600.0, 2000.0)],
                                    task="backchannel"))
    assert (found.take_over, found.backchannel_frequency) == (False, 0.25)


def test_overlap_of_an_interruption_is_its_stop_latency() -> None:
    found = fdb_result(conversation([*QUERY, span("interruption", 3000, 3500, "a")], ANSWER, PLAYED, task="user_interruption"))
    assert found.overlap_stop_latency == 0.5


def test_a_task_without_latency_has_none() -> None:
    found = fdb_result(conversation(QUERY, ANSWER, PLAYED))
    assert (found.take_over, found.response_latency, found.overlap_stop_latency) == (None, None, None)


def test_summary_counts_with_their_totals() -> None:
    answered = scenario_result(conversation([*QUERY, span("cough", 5000, 5500)], ANSWER, PLAYED))
    silent = scenario_result(conversation(QUERY, []))
    found = summary([answered, silent])
    assert (found["questions_answered"], found["ignored_left_unanswered"], found["interruptions_that_stopped"]) == (
        {"count": 1, "of": 2}, {"count": 1, "of": 1}, {"count": 0, "of": 0})


@pytest.mark.parametrize(("task", "file", "expected"), [
    ("smooth_turn_taking", "turn_taking.json", [{"text": "[TURN-TAKING]", "timestamp": [4.0, 4.0]}]),
    ("user_interruption", "interrupt.json", [{"context": "words", "interrupt": "words", "timestamp": [3.0, 4.0]}]),
    ("pause_handling", "pause.json", [{"text": "[PAUSE]", "timestamp": [1.0, 3.0]}]),
])
def test_a_tasks_own_times_are_written(task: str, file: str, expected: object) -> None:
    made = conversation([*QUERY, span("pause", 1000, 3000), span("query", 3000, 4000)], ANSWER, PLAYED, task=task)
    assert fdb_files.task_files(made) == {file: expected}


def test_files_of_a_scenario_stand_in_its_tasks_folder(tmp_path: Path) -> None:
    own = fdb_files.write(conversation(QUERY, ANSWER, PLAYED, task="smooth_turn_taking"), tmp_path)
    assert own == tmp_path / "smooth_turn_taking" / "made"
    assert soundfile.info(own / "input.wav").duration == soundfile.info(own / "output.wav").duration == 10.0
    words = read_json(own / "output.json", "")
    assert words["text"] == "one two three four" and words["chunks"][0] == {"text": "one", "timestamp": [1.6, 1.933]}


def test_a_timeline_names_what_was_played_and_escapes_texts() -> None:
    drawn = timeline(conversation(QUERY, [*ANSWER, PeerEvent(1600, "error", "", "<b>")], PLAYED, stops=[(3600, "a")]))
    assert "a, 1.60 to 3.60 s" in drawn and "a stopped at 3.60 s" in drawn and "&lt;b&gt;" in drawn and "<b>" not in drawn
