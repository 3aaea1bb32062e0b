"""The files of a finished dataset: rows, rejected entries with their reasons, and the manifest with every file's hash."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from omnikit.contracts.types import BuildReport
from omnikit.data.build.folder import NothingLeftError, write
from omnikit_spoken_instructions.rewriter import Said
from omnikit_spoken_instructions.sources import Rejected

PROVIDES = ("audio", "transcript", "answer", "speech")


@dataclass(frozen=True)
class Recording:
    """A wave file of the dataset, its path from the dataset's folder."""

    path: str
    sha256: str
    seconds: float


@dataclass(frozen=True)
class Spoken:
    """What became of a row when it was spoken: two recordings, or a reason why there are none."""

    question: Recording = Recording("", "", 0.0)
    answer: Recording = Recording("", "", 0.0)
    facts: Mapping[str, str] | None = None
    codes: tuple[int, ...] | None = None
    rejected: str = ""

    @staticmethod
    def read(entry: Mapping[str, object]) -> "Spoken":
        """Read what a worker replied, or what the journal kept of it."""
        if "rejected" in entry:
            return Spoken(rejected=str(entry["rejected"]))
        facts, question, answer, codes = (entry.get(key) for key in ("facts", "question", "answer", "codes"))
        assert isinstance(facts, dict) and isinstance(question, dict) and isinstance(answer, dict), "as worker.py writes it"
        return Spoken(Recording(**question), Recording(**answer), facts, tuple(codes) if isinstance(codes, list) else None)

    def is_there(self, folder: Path) -> bool:
        """Say whether its files lie in the folder."""
        return bool(self.rejected) or all((folder / file.path).is_file() for file in (self.question, self.answer))


def finish(folder: Path, identity: Mapping[str, object], said: Sequence[Said | Rejected], spoken: Mapping[str, Spoken],
           made: int) -> BuildReport:
    """Write train.jsonl, rejected.jsonl and, last, manifest.json.

    Raises:
        NothingLeftError: nothing is left.
    """
    whole = [_left_out(item, spoken) for item in said]
    kept = [item for item in whole if isinstance(item, Said)]
    rejected = [item for item in whole if isinstance(item, Rejected)]
    reasons = dict(sorted(Counter(item.reason for item in rejected).items()))
    if not kept:
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        raise NothingLeftError(f"No row is left of {len(said)}: {why}; take another source or other options.")
    files = {"rejected.jsonl": write(folder / "rejected.jsonl", _lines([_rejected(item) for item in rejected])),
             "train.jsonl": write(folder / "train.jsonl", _lines([_row(item, spoken[item.id]) for item in kept]))}
    files |= {file.path: file.sha256 for item in kept for file in (spoken[item.id].question, spoken[item.id].answer)}
    seconds = {name: round(sum(getattr(spoken[item.id], name).seconds for item in kept), 1) for name in ("question", "answer")}
    counts = {"entries": len(said), "rows": len(kept), "rejected": reasons, "seconds": seconds}
    provides = (*PROVIDES, *(["codes"] if all(spoken[item.id].codes is not None for item in kept) else []))
    manifest = {**identity, "counts": counts, "provides": provides, "files": dict(sorted(files.items()))}
    write(folder / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return BuildReport(len(kept), reasons, made, seconds["question"], seconds["answer"], provides)


def _left_out(item: Said | Rejected, spoken: Mapping[str, Spoken]) -> Said | Rejected:
    reason = spoken[item.id].rejected if isinstance(item, Said) else ""
    return Rejected(item.id, reason, item.question, item.source_id) if isinstance(item, Said) and reason else item


def _row(item: Said, spoken: Spoken) -> dict[str, object]:
    asked = {"type": "audio", "path": spoken.question.path, "text": item.question}
    answered: dict[str, object] = {"type": "audio", "path": spoken.answer.path, "text": item.answer}
    if spoken.codes is not None:
        answered["codes"] = list(spoken.codes)
    messages = [{"role": "user", "content": [asked]},
                {"role": "assistant", "content": [{"type": "text", "text": item.answer}, answered]}]
    named = {"source_id": item.source_id} if item.source_id else {}
    return {"id": item.id, "messages": messages, "facts": {**(spoken.facts or {}), **named}}


def _rejected(item: Rejected) -> dict[str, object]:
    return {key: value for key, value in asdict(item).items() if key != "source_id" or value}


def _lines(values: Sequence[Mapping[str, object]]) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
