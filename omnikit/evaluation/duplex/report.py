"""The duplex report: report.json for programs, report.html with a timeline for each scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from omnikit.evaluation.duplex import fdb_files
from omnikit.evaluation.duplex.conversation import Conversation
from omnikit.evaluation.duplex.results import Json, as_json, scenario_result, summary
from omnikit.evaluation.duplex.timeline import COLOURS, MARKS, timeline
from omnikit.store.files import write_json, write_text

MEANINGS = {
    "questions_answered": "questions and interruptions to which an answer began",
    "response_ms": "from the end of a question to its answer's audio, or text where it has no audio",
    "begun_inside_a_question": "beginnings of questions that were answered before the question was complete",
    "ignored_left_unanswered": "back-channels, statements, talk to others, other speakers and noises to which no answer began",
    "silence_left_unanswered": "scenarios of silence alone, with and without a room's noise, in which no answer began",
    "echo_left_unanswered": "scenarios with an echo of the answer in which it caused no further answer",
    "interruptions_that_stopped": "interruptions, begun while an answer was playing, that stopped it",
    "stop_ms": "from the beginning of an interruption to the last audio that was played of the answer",
    "false_stops": "of what must be ignored and came while an answer was playing: what ended its playback",
    "held_ms": "how long playback was held back, and then went on, because of what must be ignored",
    "audio_after_stop_ms": "audio of an answer that still came after the event that speech began, which stopped it",
    "history_equals_played": "answers of which the history holds the words that were played, no more and no less",
}
TILES = {"questions_answered": "Questions answered", "ignored_left_unanswered": "Left unanswered as due",
         "interruptions_that_stopped": "Interruptions that stopped", "false_stops": "False stops",
         "response_ms": "Response", "stop_ms": "Stop", "audio_after_stop_ms": "Audio after a stop",
         "history_equals_played": "History is what was played"}


def write(conversations: Sequence[Conversation], conditions: Mapping[str, object], out: Path) -> Json:
    """Write the report and Full-Duplex-Bench's files into a folder; gives report.json's content.

    Raises RunError where the disk refuses.
    """
    for conversation in conversations:
        fdb_files.write(conversation, out)
    results = [scenario_result(conversation) for conversation in conversations]
    found = summary(results)
    content: Json = {"conditions": dict(conditions), "meanings": MEANINGS, "summary": found,
                     "scenarios": [as_json(result) for result in results]}
    write_json(out / "report.json", content)
    drawings = [timeline(conversation) for conversation in conversations]
    write_text(out / "report.html", as_html(dict(conditions), found, list(zip(results, drawings, strict=True))))
    return content


def as_html(conditions: Mapping[str, object], found: Mapping[str, Any], scenarios: Sequence[tuple[object, str]]) -> str:
    """Give the report as one page that needs no other file."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"spread": spread_text, "number": number_text}
    tiles = [(title, *tile_text(found[name])) for name, title in TILES.items()]
    drawn = [(result, Markup(drawing)) for result, drawing in scenarios]
    template = files("omnikit.evaluation.duplex").joinpath("report.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        name=conditions["target"], conditions=conditions, summary=found, tiles=tiles, scenarios=drawn, colours=COLOURS,
        marks=MARKS)


def tile_text(one: Mapping[str, Any] | None) -> tuple[str, str]:
    """Give a count or a spread of milliseconds as (number, note)."""
    if one is None:
        return "–", "never measured"
    if "median" in one:
        return f"{one['median']:g} ms", f"median of {one['of']}, largest {one['largest']} ms"
    return f"{one['count']} of {one['of']}", f"{100 * one['count'] / one['of']:.0f} %" if one["of"] else ""


def spread_text(one: Mapping[str, Any] | None) -> str:
    """Give a spread's median."""
    return "–" if one is None else f"{one['median']:g} ms"


def number_text(value: float | None, unit: str = "") -> str:
    """Give a number with its unit."""
    return "–" if value is None else f"{value:.2f} {unit}".strip()
