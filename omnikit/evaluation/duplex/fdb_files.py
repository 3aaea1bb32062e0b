"""The files of Full-Duplex-Bench, so that its own scorer runs on what was played: TASK/ID/{input.wav, output.wav, …}."""

from __future__ import annotations

import json
from pathlib import Path

from omnikit.data.media.audio import save_audio
from omnikit.evaluation.duplex.conversation import Conversation, Span
from omnikit.evaluation.duplex.scenario import ADDRESSED, SPOKEN
from omnikit.store.files import disk_errors, write_text

OTHER = "other"  # folder of scenarios without a task


def write(conversation: Conversation, folder: Path) -> Path:
    """Write both sides' audio, the words that were played and the task's own times; gives the scenario's folder.

    Raises RunError where the disk refuses.
    """
    own = folder / (conversation.scenario.task or OTHER) / conversation.scenario.id
    with disk_errors(own):
        own.mkdir(parents=True, exist_ok=True)
    save_audio(own / "input.wav", conversation.user, conversation.user_rate)
    save_audio(own / "output.wav", conversation.output, conversation.output_rate)
    chunks = [{"text": word.text, "timestamp": _seconds(word.start, word.end)} for word in conversation.words()]
    _write(own / "output.json", {"text": " ".join(str(chunk["text"]) for chunk in chunks), "chunks": chunks})
    spoken = [{"text": span.element.text, "timestamp": _seconds(span.start, span.end)} for span in conversation.spans
              if span.element.kind in SPOKEN]
    _write(own / "transcription.json", {"text": " ".join(str(chunk["text"]) for chunk in spoken), "chunks": spoken})
    for name, content in task_files(conversation).items():
        _write(own / name, content)
    return own


def task_files(conversation: Conversation) -> dict[str, list[dict[str, object]]]:
    """Give the files that a task's scorer reads: when the turn ends, where pauses are, when the user interrupts."""
    task, spans = conversation.scenario.task, conversation.spans
    asked = [span for span in spans if span.element.kind in ADDRESSED]
    pauses = [span for span in spans if span.element.kind == "pause"]
    if task == "smooth_turn_taking" and asked:
        return {"turn_taking.json": [{"text": "[TURN-TAKING]", "timestamp": _seconds(asked[-1].end, asked[-1].end)}]}
    if task == "pause_handling":
        return {"pause.json": [{"text": "[PAUSE]", "timestamp": _seconds(span.start, span.end)} for span in pauses]}
    if task == "user_interruption" and asked:
        return {"interrupt.json": [{"context": _text(asked[:-1]), "interrupt": asked[-1].element.text,
                                    "timestamp": _seconds(asked[-1].start, asked[-1].end)}]}
    return {}


def _text(spans: list[Span]) -> str:
    return " ".join(span.element.text for span in spans)


def _seconds(start: float, end: float) -> list[float]:
    return [round(start / 1000, 3), round(end / 1000, 3)]


def _write(path: Path, content: object) -> None:
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
