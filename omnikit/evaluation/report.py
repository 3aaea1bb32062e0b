"""The evaluation report: every number with its interval and its conditions, as JSON and as one HTML file.

It is computed from the saved records, and from nothing else, so scoring again gives the same bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from omnikit.evaluation import aggregate, state_accuracy
from omnikit.evaluation.aggregate import MEANINGS, Numbers
from omnikit.evaluation.conditions import TIMINGS, shown
from omnikit.evaluation.conditions import read as read_conditions
from omnikit.evaluation.estimates import Estimate
from omnikit.evaluation.metrics import exact
from omnikit.evaluation.records import Record, Timing, read_lines, write, write_json

NARROW = "\N{NARROW NO-BREAK SPACE}"
GROUPS = {"kinds": "kind of question", "languages": "language", "modalities": "modality"}
ANSWERS = {"exact": "exact", "shuffled_audio": "exact, shuffled audio", "shuffled_image": "exact, shuffled image",
           "shuffled_video": "exact, shuffled video", "text_wer": "text WER", "text_cer": "text CER",
           "transcript_wer": "transcript WER", "transcript_cer": "transcript CER"}
ACRONYMS = {"wer": "WER", "cer": "CER", "stoi": "STOI", "ltas": "LTAS", "ttft": "TTFT", "p90": "90 %"}
EXAMPLES = 3  # answers of each dataset with audio on the page
WRONG_ANSWERS = 8  # wrong answers that the page shows of each dataset


@dataclass(frozen=True)
class EvalRun:
    """The records of an evaluation in a folder.

    Args:
        conditions: id → what numbers depend on, with the data that was scored under it; the newest is the last.
        ids: title → id of its conditions.
        latency_id: id of the latency's; None where none was measured.
    """

    folder: Path
    conditions: dict[str, dict[str, Any]]
    ids: dict[str, str]
    latency_id: str | None
    records: dict[str, list[Record]]
    timings: list[Timing]

    @property
    def newest(self) -> dict[str, Any]:
        """Give the conditions of the datasets that were scored last."""
        return max(self.conditions.values(), key=lambda one: str(one["date"]))

    def data(self, title: str) -> dict[str, Any]:
        """Give the dataset behind a title."""
        return dict(self.conditions[self.ids[title]]["data"][title])


def read(folder: Path) -> EvalRun:
    """Read the records of a folder; raises RunError where something is missing."""
    known, ids, latency_id = shown(read_conditions(folder))
    records = {title: read_lines(folder / f"{title}.jsonl", Record) for title in ids}
    return EvalRun(folder, known, ids, latency_id, records, read_lines(folder / TIMINGS, Timing) if latency_id else [])


def make(folder: Path) -> dict[str, Any]:
    """Write report.json and report.html from the records of a folder; gives the former's content."""
    run = read(folder)
    content = as_json(run)
    write_json(folder / "report.json", content)
    write(folder / "report.html", as_html(run))
    return content


def as_json(run: EvalRun) -> dict[str, Any]:
    """Give the report for programs: each number with its interval, its count of rows and the id of its conditions."""

    def listed(found: Numbers, identifier: str | None) -> dict[str, Any]:
        return {name: {**asdict(one), "conditions": identifier} if one else None for name, one in found.items()}

    def scored(rows: list[Record], identifier: str) -> dict[str, Any]:
        return {"rows": len(rows), "numbers": listed(aggregate.scores(rows), identifier),
                **{group: {name: listed(found, identifier) for name, found in grouped(rows).items()}
                   for group, grouped in aggregate.GROUPS.items()},
                "states": {method: {"numbers": listed(found.numbers, identifier), "confusion": found.confusion,
                                    "conditions": {name: listed(some, identifier) for name, some in found.conditions.items()}}
                           for method, found in state_accuracy.state_accuracies(rows).items()}}

    silent = untranscribed(run)
    return {
        "recipe": run.newest.get("recipe"), "run": run.newest.get("run"),
        "conditions": run.conditions,
        "meanings": MEANINGS | state_accuracy.MEANINGS,
        "scores": {title: {**run.data(title), "conditions": run.ids[title], "untranscribed": silent.get(title),
                           **scored(rows, run.ids[title])} for title, rows in run.records.items()},
        "latency": {name: listed(found, run.latency_id) for name, found in aggregate.latency(run.timings).items()},
    }


def as_html(run: EvalRun) -> str:
    """Give the report for people: one page that needs no other file."""
    from markupsafe import Markup

    from omnikit.evaluation import plots

    scores = {title: aggregate.scores(rows) for title, rows in run.records.items()}
    groups = {GROUPS[group]: {title: grouped(rows) for title, rows in run.records.items()}
              for group, grouped in aggregate.GROUPS.items()}
    states = {title: state_accuracy.state_accuracies(rows) for title, rows in run.records.items()}
    latency = aggregate.latency(run.timings)
    drawings = {
        "kinds": {title: Markup(plots.kinds(found)) for title, found in groups["kind of question"].items()
                  if any(one["exact"] for one in found.values())},
        "states": {(title, method): Markup(plots.confusion(found.confusion)) for title, methods in states.items()
                   for method, found in methods.items()},
        "errors": {title: Markup(plots.errors(found)) for title, found in scores.items() if found["speech_wer"]},
        "latency": Markup(plots.latency(run.timings)) if any(t.time_to_first_audio is not None for t in run.timings) else None,
    }
    return render(
        "report.html.jinja", recipe=run.newest["recipe"],
        dates=list(dict.fromkeys(one["date"] for one in run.conditions.values())),
        conditions={name: _facts(one) for name, one in run.conditions.items()}, ids=run.ids, latency_id=run.latency_id,
        clock=run.conditions[run.latency_id]["latency"] if run.latency_id else None,
        stamps=lambda titles: _stamps(run, titles), silent=untranscribed(run),
        spoken=[title for title, found in scores.items() if found["words_per_second"]],
        coded=[title for title, found in scores.items() if found["codebook_utilisation"] or found["ltas_correlation"]],
        scores=scores, groups=groups, states=states, latency=latency, plots=drawings, answers=_answers,
        meanings=MEANINGS | state_accuracy.MEANINGS,
        rows={title: len(rows) for title, rows in run.records.items()},
        examples={title: found for title, rows in run.records.items() if (found := _examples(run.folder, rows))},
        wrong_answers={title: _wrong_answers(rows) for title, rows in run.records.items()})


def render(template: str, **values: object) -> str:
    """Give a page of this room with the style that its pages share."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    def text(name: str) -> str:
        return files("omnikit.evaluation").joinpath(name).read_text(encoding="utf-8")

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"title": title_of, "shown": formatted, "interval": interval, "row_count": aggregate.row_count}
    return environment.from_string(text(template)).render(style=Markup(text("report.css")), **values)


def formatted(one: Estimate | None, unit: str) -> str:
    """Format a number: a fraction as "%", seconds as "ms", a rate as ""."""
    return "–" if one is None else f"{_digits(one.value, unit)}{NARROW + unit if unit else ''}"


def title_of(name: str) -> str:
    """Write a number's name as a heading: "ltas_correlation" as "LTAS correlation"."""
    return " ".join(ACRONYMS.get(word, word) for word in name.split("_"))


def interval(one: Estimate | None, unit: str) -> str:
    """Format a number's interval; nothing where it has none."""
    return "" if one is None or one.low is None or one.high is None else f"{_digits(one.low, unit)}–{_digits(one.high, unit)}"


def _digits(value: float, unit: str) -> str:
    return {"%": f"{100 * value:.1f}", "ms": f"{1000 * value:.0f}"}.get(unit, f"{value:.2f}")


def _stamps(run: EvalRun, titles: Iterable[str] | None) -> list[tuple[str, str, str]]:
    """Give (id, titles, main conditions) of the conditions behind some titles, or behind the latency; no titles where all have
    the same."""
    ids: dict[str, list[str]] = {}
    for title in titles or ():
        ids.setdefault(run.ids[title], []).append(title)
    if titles is None and run.latency_id:
        ids[run.latency_id] = []
    return [(name, ", ".join(some) if len(ids) > 1 else "", _brief(run.conditions[name])) for name, some in ids.items()]


def untranscribed(run: EvalRun) -> dict[str, str]:
    """Give title → why its speech was not transcribed, of those whose answers were spoken."""
    found = {}
    for title, rows in run.records.items():
        if any(row.seconds for row in rows) and not any(row.speech_transcript is not None for row in rows):
            missing = run.conditions[run.ids[title]].get("asr_missing")
            found[title] = f"the recipe's ASR model {missing} was not trained" if missing else "no ASR model was named"
    return found


def _brief(conditions: Mapping[str, Any]) -> str:
    """Give the main conditions in one line."""
    decoding, machine, asr = conditions["decoding"], conditions["hardware"], conditions["asr"]
    facts = ["greedy" if not decoding["temperature"] else f"temperature {decoding['temperature']:g}",
             f"at most {decoding['max_new_tokens']} tokens", f"seed {conditions['seed']}",
             str(machine.get("gpu") or f"{machine['cores']} cores ({machine['machine']})")]
    facts += [f"speech from {decoding['speak_after']} characters on"] if decoding.get("speak_after") else []
    facts += [f"transcribed by {asr['recipe']} {asr['weights']}"] if asr else []
    return f"{', '.join([*facts, str(conditions['date'])])}; texts compared in {conditions['normaliser']}"


def _answers(found: Iterable[Numbers]) -> list[tuple[str, str]]:
    """Give (number, heading) of the numbers of answers that were measured somewhere."""
    there = list(found)
    return [(name, heading) for name, heading in ANSWERS.items() if any(numbers[name] for numbers in there)]


def _wrong_answers(rows: Sequence[Record]) -> list[Record]:
    return [row for row in rows if row.scored and not exact(row.answer, row.expected)][:WRONG_ANSWERS]


def _examples(folder: Path, rows: Sequence[Record]) -> list[tuple[Record, str]]:
    """Give the first rows whose speech was saved, with the audio as a data URL."""
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
