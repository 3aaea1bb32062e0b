"""The report's numbers: each scenario by itself, and all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from omnikit.evaluation.duplex import full_duplex_bench as fdb
from omnikit.evaluation.duplex.conversation import Conversation, PeerEvent
from omnikit.evaluation.duplex.exact import AnswerResult, ElementResult, answer_results, element_results
from omnikit.evaluation.duplex.scenario import ADDRESSED, IGNORED, SPOKEN

Json = dict[str, object]
LATENCY = ("smooth_turn_taking", "user_interruption")  # tasks of v1 with a response latency
OVERLAP = ("user_interruption", "user_backchannel", "talking_to_other", "background_speech")  # tasks of v1.5


@dataclass(frozen=True)
class FdbResult:
    """A scenario by Full-Duplex-Bench's definitions, in seconds; None where a metric is not defined for its task."""

    task: str
    take_over: bool | None = None
    response_latency: float | None = None
    backchannel_frequency: float | None = None
    overlap_stop_latency: float | None = None
    overlap_response_latency: float | None = None


@dataclass(frozen=True)
class ScenarioResult:
    """One scenario; `echo` where the answer's audio came back through the microphone, `silent` where nothing was given."""

    id: str
    about: str
    seconds: float
    echo: bool
    silent: bool
    elements: tuple[ElementResult, ...]
    answers: tuple[AnswerResult, ...]
    fdb: FdbResult
    errors: tuple[str, ...]
    events: tuple[Json, ...]


def scenario_result(conversation: Conversation) -> ScenarioResult:
    """Give a conversation's numbers."""
    scenario = conversation.scenario
    return ScenarioResult(
        scenario.id, scenario.about, round(conversation.seconds, 3), scenario.echo is not None,
        scenario.silent, tuple(element_results(conversation)), tuple(answer_results(conversation)), fdb_result(conversation),
        tuple(event.text for event in conversation.events if event.kind == "error"),
        tuple(_event(event) for event in conversation.events))


def _event(event: PeerEvent) -> Json:
    """Give an event without its audio."""
    found: Json = {"at": event.at, "kind": event.kind, "item": event.item}
    if event.text:
        found["text"] = event.text
    if event.audio is not None:
        found["audio_ms"] = round(event.audio_ms)
    return found


def fdb_result(conversation: Conversation) -> FdbResult:
    """Give a scenario by Full-Duplex-Bench's definitions; the user's turn ends with his last query."""
    task = conversation.scenario.task
    words = [(word.start / 1000, word.end / 1000) for word in conversation.words()]
    model = [(one.start / 1000, one.end / 1000) for one in conversation.segments]
    spoken = [(span.start / 1000, span.end / 1000) for span in conversation.spans if span.element.kind in SPOKEN]
    ends = [span.end / 1000 for span in conversation.spans if span.element.kind in ADDRESSED]
    end = ends[-1] if ends else 0.0
    takes_over: bool | None = None
    frequency = latency = None
    if task == "backchannel":
        during = [one for one in fdb.merged(model, fdb.MODEL_GAP) if one[0] < end]
        takes_over = fdb.backchannel_take_over(during, words)
        frequency = fdb.backchannel_frequency(during, end)
    elif task == "pause_handling":
        takes_over = fdb.take_over([word for word in words if word[0] < end])
    elif task in LATENCY:
        after = [word for word in words if word[0] >= end]
        takes_over, latency = fdb.take_over(after), fdb.response_latency(after, end)
    overlaps = task in OVERLAP
    stops = fdb.stop_latencies(spoken, model) if overlaps else []
    responses = fdb.response_latencies(spoken, model) if overlaps else []
    return FdbResult(task, takes_over, _rounded(latency), _rounded(frequency), _rounded(_mean(stops)),
                     _rounded(_mean(responses)))


def summary(results: Sequence[ScenarioResult]) -> Json:
    """Give all scenarios together: counts, never a percentage without its count."""
    elements = [element for result in results for element in result.elements]
    answers = [answer for result in results for answer in result.answers]
    asked = [one for one in elements if one.kind in ADDRESSED]
    ignored = [one for one in elements if one.kind in IGNORED]
    interruptions = [one for one in elements if one.kind == "interruption" and one.over]
    late = [one.audio_after_stop_ms for one in elements if one.audio_after_stop_ms is not None]
    known = [one for one in answers if one.history_equal is not None]
    return {
        "scenarios": len(results),
        "questions_answered": count(one.answers > 0 for one in asked),
        "response_ms": spread([one.response_ms for one in asked if one.response_ms is not None]),
        "begun_inside_a_question": count(one.answers > 0 for one in elements if one.kind == "fragment"),
        "ignored_left_unanswered": count(one.answers == 0 for one in ignored),
        "silence_left_unanswered": count(not result.answers for result in results if result.silent),
        "echo_left_unanswered": count(all(one.answers <= 1 for one in result.elements) for result in results if result.echo),
        "interruptions_that_stopped": count(one.stopped is True for one in interruptions),
        "stop_ms": spread([one.stop_ms for one in interruptions if one.stop_ms is not None]),
        "false_stops": count(one.false_stop for one in ignored if one.over),
        "held_ms": spread([one.held_ms for one in ignored if one.held_ms]),
        "audio_after_stop_ms": spread(late),
        "history_equals_played": count(one.history_equal is True for one in known),
        "errors": sum(len(result.errors) for result in results),
        "kinds": {kind: _kind([one for one in elements if one.kind == kind])
                  for kind in dict.fromkeys(one.kind for one in elements)},
        "full_duplex_bench": {task: _task([result.fdb for result in results if result.fdb.task == task])
                              for task in dict.fromkeys(result.fdb.task for result in results if result.fdb.task)},
    }


def as_json(result: ScenarioResult) -> Json:
    """Give a scenario for the report."""
    return asdict(result)


def count(found: Iterable[bool]) -> Json:
    """Give how many of some truth values are true, and of how many."""
    values = list(found)
    return {"count": sum(map(bool, values)), "of": len(values)}


def spread(values: Sequence[int]) -> Json | None:
    """Give median and largest of some numbers; None for none."""
    return {"median": median(values), "largest": max(values), "of": len(values)} if values else None


def _kind(elements: Sequence[ElementResult]) -> Json:
    over = [one for one in elements if one.over]
    return {"count": len(elements), "answered": sum(one.answers > 0 for one in elements), "during_an_answer": len(over),
            "stopped_it": sum(one.stopped is True for one in over),
            "response_ms": spread([one.response_ms for one in elements if one.response_ms is not None])}


def _task(results: Sequence[FdbResult]) -> Json:
    """Give a task as its authors average it: latencies over the scenarios that have one."""
    def mean(name: str) -> float | None:
        return _rounded(_mean([float(value) for one in results if (value := getattr(one, name)) is not None]))

    return {"scenarios": len(results), **{name: mean(name) for name in (
        "take_over", "response_latency", "backchannel_frequency", "overlap_stop_latency", "overlap_response_latency")}}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
