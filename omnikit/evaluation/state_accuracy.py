"""Predicted against true states of questions (audio, noise, text), counted from saved records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from omnikit.evaluation.aggregate import Numbers
from omnikit.evaluation.estimates import fraction
from omnikit.evaluation.records import NONE, Record

ORDER = ("audio", "noise", "text", NONE)
MEANINGS = {
    "state_accuracy": "fraction of questions whose state is right: meant for the model and spoken (audio), not meant for it"
                      " (noise) or written (text); by the answer's first tokens, and by the turn-detection head",
    "noise_precision": "fraction of noise among what was predicted as noise",
    "noise_recall": "fraction of the noise that was predicted as noise",
}
Confusion = dict[str, dict[str, int]]  # true state → predicted state → rows


@dataclass(frozen=True)
class StateAccuracy:
    """How well one method predicts states; `conditions` holds the same numbers for clean and for noisy audio."""

    confusion: Confusion
    numbers: Numbers
    conditions: dict[str, Numbers]

    @property
    def rows(self) -> dict[str, Numbers]:
        """Lines of a table: all questions, then each condition."""
        return {"all": self.numbers, **self.conditions}


def state_accuracies(rows: Sequence[Record]) -> dict[str, StateAccuracy]:
    """Give "answer", by the first tokens of answers, and "head", by the turn-detection head; each where the run has it."""
    methods = {"answer": [(row, row.state) for row in rows], "head": [(row, row.head_state) for row in rows]}
    found = {method: [(row, state) for row, state in pairs if state is not None and row.expected_state is not None]
             for method, pairs in methods.items()}
    return {method: _accuracy(pairs) for method, pairs in found.items() if pairs}


def numbers(pairs: Sequence[tuple[str, str]]) -> Numbers:
    """Give accuracy, and precision and recall of noise, of pairs (true state, predicted state)."""
    return {
        "state_accuracy": fraction([true == predicted for true, predicted in pairs]),
        "noise_precision": fraction([true == "noise" for true, predicted in pairs if predicted == "noise"]),
        "noise_recall": fraction([predicted == "noise" for true, predicted in pairs if true == "noise"]),
    }


def _accuracy(pairs: Sequence[tuple[Record, str]]) -> StateAccuracy:
    conditions = defaultdict(list)
    for row, state in pairs:
        conditions[row.facts.get("condition", "")].append((_true_state(row), state))
    predicted = [(_true_state(row), state) for row, state in pairs]
    grouped = {name: numbers(some) for name, some in sorted(conditions.items())
               if name} if len({*conditions} - {""}) > 1 else {}
    return StateAccuracy(_confusion(predicted), numbers(predicted), grouped)


def _true_state(row: Record) -> str:
    return row.expected_state or ""


def _confusion(pairs: Sequence[tuple[str, str]]) -> Confusion:
    there = {state for pair in pairs for state in pair}
    order = [state for state in ORDER if state in there]
    return {true: {predicted: pairs.count((true, predicted)) for predicted in order} for true in order}
