"""Whether a question was meant for the model: what was decided against what it is, counted from kept records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from omnikit.evaluation.aggregate import Numbers
from omnikit.evaluation.estimates import share
from omnikit.evaluation.records import NONE, Record

ORDER = ("audio", "noise", "text", NONE)
MEANINGS = {
    "state_accuracy": "share of questions whose state is found: meant for the model and spoken (audio), not meant for it"
                      " (noise) or written (text); by what the answer begins with, and by the head that tells states",
    "noise_precision": "share of noise among what was taken for noise",
    "noise_recall": "share of the noise that was taken for noise",
}
Confusion = dict[str, dict[str, int]]  # what it is → what was decided → rows


@dataclass(frozen=True)
class Decision:
    """How well states were told in one way; `conditions` holds the same numbers apart for clean and noisy sound."""

    confusion: Confusion
    numbers: Numbers
    conditions: dict[str, Numbers]

    @property
    def rows(self) -> dict[str, Numbers]:
        """Lines of a table: all questions, then each condition."""
        return {"all": self.numbers, **self.conditions}


def decisions(rows: Sequence[Record]) -> dict[str, Decision]:
    """Give "answer", what answers begin with, and "head", what the head tells of sound; each where the run has it."""
    ways = {"answer": [(row, row.state) for row in rows], "head": [(row, row.told) for row in rows]}
    found = {way: [(row, state) for row, state in pairs if state is not None and row.expected_state is not None]
             for way, pairs in ways.items()}
    return {way: _decision(pairs) for way, pairs in found.items() if pairs}


def numbers(pairs: Sequence[tuple[str, str]]) -> Numbers:
    """Give accuracy, and precision and recall of noise, of (what it is, what was decided)."""
    return {
        "state_accuracy": share([is_ == decided for is_, decided in pairs]),
        "noise_precision": share([is_ == "noise" for is_, decided in pairs if decided == "noise"]),
        "noise_recall": share([decided == "noise" for is_, decided in pairs if is_ == "noise"]),
    }


def _decision(pairs: Sequence[tuple[Record, str]]) -> Decision:
    conditions = defaultdict(list)
    for row, state in pairs:
        conditions[row.facts.get("condition", "")].append((_is(row), state))
    told = [(_is(row), state) for row, state in pairs]
    apart = {name: numbers(some) for name, some in sorted(conditions.items()) if name} if len({*conditions} - {""}) > 1 else {}
    return Decision(_confusion(told), numbers(told), apart)


def _is(row: Record) -> str:
    return row.expected_state or ""


def _confusion(told: Sequence[tuple[str, str]]) -> Confusion:
    there = {state for pair in told for state in pair}
    order = [state for state in ORDER if state in there]
    return {is_: {decided: told.count((is_, decided)) for decided in order} for is_ in order}
