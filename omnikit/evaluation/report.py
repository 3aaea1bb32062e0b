"""The card: every number of a scoring run with its interval and its conditions, as JSON and as one HTML file.

It is computed from what the run kept, and from nothing else, so scoring again gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from omnikit.evaluation import aggregate, state_accuracy
from omnikit.evaluation.aggregate import MEANINGS, Numbers
from omnikit.evaluation.estimates import INTERVALS, Estimate
from omnikit.evaluation.metrics import NORMALISER, exact
from omnikit.evaluation.records import Record, Timing, read_json, read_lines, write, write_json

CONDITIONS, TIMINGS = "conditions.json", "latency.jsonl"
NARROW = "\N{NARROW NO-BREAK SPACE}"
GROUPS = {"kinds": "kind of question", "languages": "language", "modalities": "modality"}
ANSWERS = {"exact": "exact", "exact_with_other_audio": "with other audio", "exact_with_other_picture": "with other image",
           "exact_with_other_film": "with other video", "text_wer": "text WER", "text_cer": "text CER",
           "transcript_wer": "transcript WER", "transcript_cer": "transcript CER"}
EXAMPLES = 3  # answers of each dataset that the page lets sound
MISTAKES = 8  # wrong answers that the page shows of each dataset


@dataclass(frozen=True)
class EvalRun:
    """What a scoring run wrote down in a folder."""

    folder: Path
    conditions: dict[str, Any]
    records: dict[str, list[Record]]
    timings: list[Timing]

    @property
    def mark(self) -> str:
        """Give 8 hex digits that stand beside each number for all that it was measured under."""
        return hashlib.sha256(json.dumps(self.conditions, sort_keys=True).encode()).hexdigest()[:8]


def read(folder: Path) -> EvalRun:
    """Read what was kept in a folder; raises RunError where something is missing."""
    conditions = read_json(folder / CONDITIONS)
    records = {title: read_lines(folder / f"{title}.jsonl", Record) for title in conditions.get("data", {})}
    timings = read_lines(folder / TIMINGS, Timing) if conditions.get("latency") else []
    return EvalRun(folder, {**conditions, "normaliser": NORMALISER, "intervals": INTERVALS}, records, timings)


def make(folder: Path) -> dict[str, Any]:
    """Write report.json and report.html from what a folder holds; gives the former's content."""
    kept = read(folder)
    content = as_json(kept)
    write_json(folder / "report.json", content)
    write(folder / "report.html", as_html(kept))
    return content


def as_json(kept: EvalRun) -> dict[str, Any]:
    """Give the card for programs: each number with its interval, its count of rows and the mark of its conditions."""
    mark = kept.mark

    def marked(found: Numbers) -> dict[str, Any]:
        return {name: {**asdict(one), "conditions": mark} if one else None for name, one in found.items()}

    return {
        "recipe": kept.conditions.get("recipe"), "run": kept.conditions.get("run"),
        "conditions": {mark: kept.conditions},
        "meanings": MEANINGS | state_accuracy.MEANINGS,
        "scores": {title: {"dataset": kept.conditions["data"][title].get("dataset"), "rows": len(rows),
                           "numbers": marked(aggregate.scores(rows)),
                           **{group: {name: marked(found) for name, found in apart(rows).items()}
                              for group, apart in aggregate.GROUPS.items()},
                           "states": {way: {"numbers": marked(found.numbers), "confusion": found.confusion,
                                            "conditions": {name: marked(some) for name, some in found.conditions.items()}}
                                      for way, found in state_accuracy.decisions(rows).items()}}
                   for title, rows in kept.records.items()},
        "latency": {name: marked(found) for name, found in aggregate.latency(kept.timings).items()},
    }


def as_html(kept: EvalRun) -> str:
    """Give the card for people: one page that needs nothing else."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    from omnikit.evaluation import plots

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"shown": shown, "interval": interval, "counted": aggregate.counted}
    scores = {title: aggregate.scores(rows) for title, rows in kept.records.items()}
    groups = {GROUPS[group]: {title: apart(rows) for title, rows in kept.records.items()}
              for group, apart in aggregate.GROUPS.items()}
    told = {title: state_accuracy.decisions(rows) for title, rows in kept.records.items()}
    latency = aggregate.latency(kept.timings)
    drawn = {
        "kinds": {title: Markup(plots.kinds(found)) for title, found in groups["kind of question"].items()
                  if any(one["exact"] for one in found.values())},
        "states": {(title, way): Markup(plots.confusion(found.confusion)) for title, ways in told.items()
                   for way, found in ways.items()},
        "errors": {title: Markup(plots.errors(found)) for title, found in scores.items() if found["speech_wer"]},
        "latency": Markup(plots.latency(kept.timings)) if any(t.first_sound is not None for t in kept.timings) else None,
    }
    template = files("omnikit.evaluation").joinpath("report.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        conditions=kept.conditions, brief=_brief(kept.conditions), facts=_facts(kept.conditions),
        mark=kept.mark, scores=scores, groups=groups, states=told, latency=latency, plots=drawn, answers=_answers,
        meanings=MEANINGS | state_accuracy.MEANINGS,
        rows={title: len(rows) for title, rows in kept.records.items()},
        sounds={title: found for title, rows in kept.records.items() if (found := _sounds(kept.folder, rows))},
        mistakes={title: _mistakes(rows) for title, rows in kept.records.items()})


def shown(one: Estimate | None, unit: str) -> str:
    """Set a number: a share as "%", seconds as "ms", a rate as ""."""
    return "–" if one is None else f"{_digits(one.value, unit)}{NARROW + unit if unit else ''}"


def interval(one: Estimate | None, unit: str) -> str:
    """Set a number's interval; nothing where it has none."""
    return "" if one is None or one.low is None or one.high is None else f"{_digits(one.low, unit)}–{_digits(one.high, unit)}"


def _digits(value: float, unit: str) -> str:
    return {"%": f"{100 * value:.1f}", "ms": f"{1000 * value:.0f}"}.get(unit, f"{value:.2f}")


def _brief(conditions: Mapping[str, Any]) -> str:
    """Say in one line what a reader asks first about a number."""
    decoding, machine, asr = conditions["decoding"], conditions["hardware"], conditions["asr"]
    words = ["greedy" if not decoding["temperature"] else f"temperature {decoding['temperature']:g}",
             f"at most {decoding['max_new_tokens']} tokens", f"seed {conditions['seed']}",
             str(machine.get("gpu") or f"{machine['cores']} cores ({machine['machine']})")]
    words += [f"spoken from {decoding['speak_after']} characters on"] if decoding.get("speak_after") else []
    words += [f"heard by {asr['recipe']} {asr['weights']}"] if asr else []
    return f"{', '.join([*words, str(conditions['date'])])}; texts compared in {conditions['normaliser']}"


def _answers(found: Iterable[Numbers]) -> list[tuple[str, str]]:
    """Give (number, heading) of the numbers of answers that were measured somewhere."""
    there = list(found)
    return [(name, words) for name, words in ANSWERS.items() if any(numbers[name] for numbers in there)]


def _mistakes(rows: Sequence[Record]) -> list[Record]:
    return [row for row in rows if row.scored and not exact(row.answer, row.expected)][:MISTAKES]


def _sounds(folder: Path, rows: Sequence[Record]) -> list[tuple[Record, str]]:
    """Give the first rows whose speech was kept, with the sound as a data URL."""
    there = [(row, folder / row.wav) for row in rows if row.wav]
    return [(row, f"data:audio/wav;base64,{base64.b64encode(file.read_bytes()).decode()}")
            for row, file in there[:EXAMPLES] if file.is_file()]


def _facts(conditions: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Give conditions as lines of a table."""
    lines: list[tuple[str, str]] = []
    for key, value in conditions.items():
        name = f"{above} {key}".strip().replace("_", " ")
        if isinstance(value, dict) and key == "versions":
            lines.append((name, ", ".join(f"{package} {version}" for package, version in value.items())))
        elif isinstance(value, dict):
            lines += _facts(value, name)
        elif isinstance(value, list):
            lines.append((name, ", ".join(map(str, value))))
        else:
            lines.append((name, "–" if value is None else str(value)))
    return lines
