"""State decisions, counted by hand."""

import pytest

from omnikit.evaluation import plots
from omnikit.evaluation.records import Record
from omnikit.evaluation.state_accuracy import state_accuracies


def record(is_: str, state: str | None, head_state: str | None = None, condition: str | None = None) -> Record:
    facts = {"condition": condition} if condition else {}
    return Record("x", "yes", "yes", facts=facts, expected_state=is_, state=state, head_state=head_state)


ROWS = [record("noise", "noise", "noise", "clean"), record("noise", "noise", "audio", "noisy"),
        record("noise", "audio", "noise", "noisy"), record("audio", "noise", "audio", "clean"),
        record("audio", "audio", "audio", "clean"), record("text", "text"), record("text", "none")]


def test_confusion_precision_and_recall() -> None:
    found = state_accuracies(ROWS)["answer"]
    assert found.confusion == {
        "audio": {"audio": 1, "noise": 1, "text": 0, "none": 0}, "noise": {"audio": 1, "noise": 2, "text": 0, "none": 0},
        "text": {"audio": 0, "noise": 0, "text": 1, "none": 1}, "none": {"audio": 0, "noise": 0, "text": 0, "none": 0}}
    values = {name: (one.value, one.count) for name, one in found.numbers.items() if one}
    assert values == {"state_accuracy": (4 / 7, 7), "noise_precision": (2 / 3, 3), "noise_recall": (2 / 3, 3)}


def test_head_is_counted_on_spoken_questions() -> None:
    found = state_accuracies(ROWS)["head"]
    assert found.confusion == {"audio": {"audio": 2, "noise": 0}, "noise": {"audio": 1, "noise": 2}}
    assert {name: one and one.value for name, one in found.numbers.items()} == {
        "state_accuracy": 4 / 5, "noise_precision": 1.0, "noise_recall": pytest.approx(2 / 3)}


def test_clean_and_noisy_audio_apart() -> None:
    found = state_accuracies(ROWS)["answer"].conditions
    accuracies = {name: one.value for name, some in found.items() if (one := some["state_accuracy"])}
    assert accuracies == {"clean": 2 / 3, "noisy": 0.5}


def test_run_without_states_has_no_accuracy() -> None:
    assert state_accuracies([record("audio", None), Record("x", "yes", "yes")]) == {}


def test_plot_shows_every_count() -> None:
    drawing = plots.confusion({"audio": {"audio": 41, "noise": 17}, "noise": {"audio": 23, "noise": 36}})
    assert all(f">{count}<" in drawing for count in (41, 17, 23, 36)) and ">predicted<" in drawing
