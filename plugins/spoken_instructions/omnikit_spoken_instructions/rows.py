"""The files of a finished dataset: rows, rejected entries with their reasons, and the manifest with every file's hash."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from omnikit.contracts.types import BuildReport
from omnikit.data.build.folder import EmptyDatasetError, write
from omnikit_spoken_instructions.rewriter import Rewritten
from omnikit_spoken_instructions.sources import Rejected

PROVIDES = ("audio", "transcript", "answer", "speech")


@dataclass(frozen=True)
class Recording:
    """An audio file of the dataset, its path from the dataset's folder."""

    path: str
    sha256: str
    seconds: float


@dataclass(frozen=True)
class Spoken:
    """The synthesized row: two recordings, or a reason why there are none."""

    question: Recording = Recording("", "", 0.0)
    answer: Recording = Recording("", "", 0.0)
    facts: Mapping[str, str] | None = None
    codes: tuple[int, ...] | None = None
    rejected: str = ""

    @staticmethod
    def read(entry: Mapping[str, object]) -> "Spoken":
        """Read a worker's reply, or the journal's entry of it."""
        if "rejected" in entry:
            return Spoken(rejected=str(entry["rejected"]))
        facts, question, answer, codes = (entry.get(key) for key in ("facts", "question", "answer", "codes"))
        assert isinstance(facts, dict) and isinstance(question, dict) and isinstance(answer, dict), "as worker.py writes it"
        return Spoken(Recording(**question), Recording(**answer), facts, tuple(codes) if isinstance(codes, list) else None)

    def is_complete(self, folder: Path) -> bool:
        """Whether its files lie in the folder."""
        return bool(self.rejected) or all((folder / file.path).is_file() for file in (self.question, self.answer))


def finish(folder: Path, identity: Mapping[str, object], items: Sequence[Rewritten | Rejected], spoken: Mapping[str, Spoken],
           made: int) -> BuildReport:
    """Write train.jsonl, rejected.jsonl and, last, manifest.json.

    Raises:
        EmptyDatasetError: no row is left.
    """
    results = [_left_out(item, spoken) for item in items]
    rows = [item for item in results if isinstance(item, Rewritten)]
    rejected = [item for item in results if isinstance(item, Rejected)]
    reasons = dict(sorted(Counter(item.reason for item in rejected).items()))
    if not rows:
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        raise EmptyDatasetError(f"No row is left of {len(items)}: {why}; take another source or other options.")
    files = {"rejected.jsonl": write(folder / "rejected.jsonl", _lines([_rejected(item) for item in rejected])),
             "train.jsonl": write(folder / "train.jsonl", _lines([_row(item, spoken[item.id]) for item in rows]))}
    files |= {file.path: file.sha256 for item in rows for file in (spoken[item.id].question, spoken[item.id].answer)}
    seconds = {name: round(sum(getattr(spoken[item.id], name).seconds for item in rows), 1) for name in ("question", "answer")}
    counts = {"entries": len(items), "rows": len(rows), "rejected": reasons, "seconds": seconds}
    provides = (*PROVIDES, *(["codes"] if all(spoken[item.id].codes is not None for item in rows) else []))
    manifest = {**identity, "counts": counts, "provides": provides, "files": dict(sorted(files.items()))}
    write(folder / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return BuildReport(len(rows), reasons, made, seconds["question"], seconds["answer"], provides)


def _left_out(item: Rewritten | Rejected, spoken: Mapping[str, Spoken]) -> Rewritten | Rejected:
    reason = spoken[item.id].rejected if isinstance(item, Rewritten) else ""
    return Rejected(item.id, reason, item.question, item.source_id) if isinstance(item, Rewritten) and reason else item


def _row(item: Rewritten, spoken: Spoken) -> dict[str, object]:
    question = {"type": "audio", "path": spoken.question.path, "text": item.question}
    answer: dict[str, object] = {"type": "audio", "path": spoken.answer.path, "text": item.answer}
    if spoken.codes is not None:
        answer["codes"] = list(spoken.codes)
    messages = [{"role": "user", "content": [question]},
                {"role": "assistant", "content": [{"type": "text", "text": item.answer}, answer]}]
    named = {"source_id": item.source_id} if item.source_id else {}
    return {"id": item.id, "messages": messages, "facts": {**(spoken.facts or {}), **named}}


def _rejected(item: Rejected) -> dict[str, object]:
    return {key: value for key, value in asdict(item).items() if key != "source_id" or value}


def _lines(values: Sequence[Mapping[str, object]]) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
