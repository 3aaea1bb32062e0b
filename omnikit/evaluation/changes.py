"""How far a run's scores are from those after an earlier stage."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

METRICS = ("exact", "text_wer", "text_cer", "transcript_wer", "transcript_cer")
"""What is compared: metrics that need no speech, which an earlier stage may lack."""
GROUPS = ("kinds", "languages", "modalities")
"""How the rows of a dataset are grouped in a report."""


@dataclass(frozen=True)
class ScoreChange:
    """The changes of one dataset, or of one group of its rows.

    Args:
        group: a kind, language or modality; None for the dataset as a whole.
        points: metric → percentage points by which it rose; None where one of the two reports lacks it.
        rows_before: rows that the earlier report scored, where they are others, so that nothing can be compared.
    """

    dataset: str
    group: str | None = None
    points: dict[str, float | None] = field(default_factory=dict)
    rows_before: int | None = None


def changes(report: Mapping[str, Any], before: Mapping[str, Any]) -> list[ScoreChange]:
    """Compare two evaluation reports, dataset by dataset, where both scored it."""
    found = []
    for title, scores in report["scores"].items():
        old = before["scores"].get(title)
        if old is None:
            continue
        if (old["rows"], old["dataset"]) != (scores["rows"], scores["dataset"]):
            found.append(ScoreChange(title, rows_before=old["rows"]))
            continue
        found.append(ScoreChange(title, None, _points(scores["numbers"], old["numbers"])))
        found += [ScoreChange(title, group, _points(numbers, old[grouping][group]))
                  for grouping in GROUPS for group, numbers in scores[grouping].items() if group in old.get(grouping, {})]
    return found


def _points(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: 100 * (now[name]["value"] - before[name]["value"]) if now.get(name) and before.get(name) else None
            for name in METRICS}
