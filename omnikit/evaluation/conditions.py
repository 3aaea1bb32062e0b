"""conditions.json of a report: what was scored, and under which conditions, as datasets may be scored one after another.

{"conditions": {id: …}, "data": {title: {"dataset", "fingerprint", "conditions": id}}, "latency": {…, "conditions": id} | null}
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omnikit.errors import RunError
from omnikit.evaluation.estimates import INTERVALS
from omnikit.evaluation.metrics import NORMALISER
from omnikit.evaluation.records import Record, Timing, read_json, write_json, write_lines

FILE, TIMINGS, WAVS = "conditions.json", "latency.jsonl", "wavs"
DATA_KEYS = ("dataset", "fingerprint")
log = logging.getLogger(__name__)


def identifier(conditions: Mapping[str, Any]) -> str:
    """Give 8 hex digits that stand beside each number for the conditions it was measured under."""
    return hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()[:8]


def read(folder: Path) -> dict[str, Any]:
    """Read what conditions.json holds.

    Raises:
        RunError: it is missing, or is not one.
    """
    content = read_json(folder / FILE)
    known = content.get("conditions")
    entries = [*_mapping(content.get("data")).values(), *filter(None, [content.get("latency")])]
    if not isinstance(known, dict) or not all(isinstance(one, dict) and one.get("conditions") in known for one in entries):
        raise RunError(f"{folder / FILE} holds no conditions of this version of omnikit; score the run again without"
                       " --rescore.")
    return {"latency": None, **content}


def shown(content: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], dict[str, str], str | None]:
    """Give id → conditions with the data that was scored under them, title → id, and the id of the latency's.

    The way in which numbers are computed from answers belongs to the conditions.
    """
    found: dict[str, dict[str, Any]] = {}
    ids: dict[str, str] = {}
    for stored, base in content["conditions"].items():
        conditions = {**base, "normaliser": NORMALISER, "intervals": INTERVALS}
        name = ids[stored] = identifier(conditions)
        data = {title: {key: one[key] for key in DATA_KEYS} for title, one in content["data"].items()
                if one["conditions"] == stored}
        clock = dict(content["latency"] or {})
        found[name] = {**conditions, "data": data, "latency": clock if clock.pop("conditions", None) == stored else None}
    titles = {title: ids[one["conditions"]] for title, one in content["data"].items()}
    return found, titles, ids[content["latency"]["conditions"]] if content["latency"] else None


class ConditionsFile:
    """Owns conditions.json while datasets are scored: what it lists has complete records of these conditions.

    Datasets that were scored before stay, as long as the weights are the same.

    Args:
        now: conditions of what is scored from now on.
    """

    def __init__(self, folder: Path, now: dict[str, Any]) -> None:
        self.folder, self._now, self._id = folder, now, identifier(now)
        self._content = self._earlier()

    def begin(self, title: str) -> None:
        """Remove the records and the audio of a dataset that is scored now."""
        self._forget([title])

    def finish(self, title: str, dataset: Mapping[str, Any], records: Iterable[Record]) -> None:
        """Write the records of a dataset."""
        write_lines(self.folder / f"{title}.jsonl", records)
        self._content["data"][title] = {**dataset, "conditions": self._id}
        self._write()

    def write_timings(self, clock: Mapping[str, Any], timings: Iterable[Timing]) -> None:
        """Replace the timings."""
        self._content["latency"] = None
        self._write()
        write_lines(self.folder / TIMINGS, timings)
        self._content["latency"] = {**clock, "conditions": self._id}
        self._write()

    def _earlier(self) -> dict[str, Any]:
        """Give what was scored before with the same weights; removes the rest."""
        nothing: dict[str, Any] = {"conditions": {}, "data": {}, "latency": None}
        if not (self.folder / FILE).exists():
            return nothing
        try:
            self._content = read(self.folder)
        except RunError:
            log.warning("%s cannot be read by this version of omnikit, so earlier scores leave the report; score them again.",
                        self.folder / FILE)
            return nothing
        stale = [title for title, one in self._content["data"].items() if not self._is_current(one)]
        if stale:
            log.warning("%s was scored with other weights, so it leaves the report; score it again.", ", ".join(stale))
        if self._content["latency"] and not self._is_current(self._content["latency"]):
            self._content["latency"] = None
        self._forget(stale)
        return self._content

    def _is_current(self, entry: Mapping[str, Any]) -> bool:
        return bool(self._content["conditions"][entry["conditions"]].get("weights") == self._now["weights"])

    def _forget(self, titles: Sequence[str]) -> None:
        """Remove records, but first what stands of them in the file; None holds their place among the titles."""
        self._content["data"] |= {title: None for title in titles if title in self._content["data"]}
        self._write()
        for title in titles:
            (self.folder / f"{title}.jsonl").unlink(missing_ok=True)
            shutil.rmtree(self.folder / WAVS / title, ignore_errors=True)

    def _write(self) -> None:
        entries = {title: one for title, one in self._content["data"].items() if one}
        used = [one["conditions"] for one in (*entries.values(), self._content["latency"]) if one]
        known = self._content["conditions"] | {self._id: self._now}
        write_json(self.folder / FILE, {"conditions": {name: one for name, one in known.items() if name in used},
                                        "data": entries, "latency": self._content["latency"]})


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
