"""Answers to a file of questions, in batches, in the order of the questions; a second call resumes where one was killed.

An answer is one line of the output, appended as soon as all before it are there: a line is complete or not there.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from omnikit.data.media.audio import save_audio
from omnikit.errors import DataError, OmnikitError, RunError
from omnikit.inference.answer import Event
from omnikit.inference.engine import AnswerEngine, AnswerOptions, AnswerStream
from omnikit.inference.question_file import QuestionFile
from omnikit.store.files import disk_errors
from omnikit.store.locks import hold

WINDOW = 64  # questions that are begun before the first of them is answered


@dataclass(frozen=True)
class AnswerCounts:
    """What a call did.

    Args:
        made: questions answered.
        refused: questions whose line has an error, those of earlier calls too.
        found: lines that were there before.
    """

    made: int
    refused: int
    found: int


@dataclass
class PendingAnswer:
    """A question whose line is not written yet, with what came of its answer so far."""

    index: int
    stream: AnswerStream | None
    error: OmnikitError | None = None
    events: list[Event] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        """Whether its line can be written."""
        return self.stream is None or self.stream.done


class AnswerFile:
    """Owns the output of one file of questions.

    Args:
        questions: what is asked.
        out: the lines; the audio lies in the folder beside it, out.jsonl's in out-audio/.
        engine: makes the answers.
        options: of each answer; a seed is the first one's, and each answer draws with its own.
        window: questions that are begun at the same time at most.
    """

    def __init__(self, questions: QuestionFile, out: Path, engine: AnswerEngine, options: AnswerOptions,
                 window: int = WINDOW) -> None:
        self.questions, self.out, self.engine, self.options, self.window = questions, out, engine, options, window
        self.audio = out.with_name(f"{out.stem}-audio")

    def write(self, progress: Callable[[float], None] = lambda fraction: None) -> AnswerCounts:
        """Write the answers that are not there yet; `progress` takes the finished fraction.

        Raises:
            RunError: the output is another file's, is being written by another process, or the disk refuses.
        """
        with disk_errors(self.out), hold(self.out.with_name(f".{self.out.name}.lock"), f"{self.out} is being written",
                                         "wait for it, or name another file"):
            there = self._resume()
            with self.out.open("ab", buffering=0) as stream:
                new = self._answer(len(there), stream.fileno(), progress)
        return AnswerCounts(new.count(False), sum([*there, *new]), len(there))

    def _resume(self) -> list[bool]:
        """Cut off what a killed process left of a line; gives of each line before it whether it has an error."""
        if not self.out.exists():
            return []
        with self.out.open("r+b") as stream:
            content = stream.read()
            complete = content.rfind(b"\n") + 1
            stream.truncate(complete)
        lines = content[:complete].splitlines()
        for index, line in enumerate(lines):
            expected = self.questions.name(index) if index < len(self.questions) else None
            if _name(line) != expected:
                raise RunError(f"{self.out} has the answer {_name(line)!r} in line {index + 1}, but the question there is"
                               f" {expected!r} of {self.questions.path}; name another file, or remove it.")
        return ["error" in json.loads(line) for line in lines]

    def _answer(self, first: int, descriptor: int, progress: Callable[[float], None]) -> list[bool]:
        """Write the lines from one on; gives of each whether it has an error."""
        pending: deque[PendingAnswer] = deque()
        following, refused, total = first, list[bool](), len(self.questions)
        while following < total or pending:
            while following < total and len(pending) < self.window:
                pending.append(self._begin(following))
                following += 1
            self.engine.step()
            for each in pending:
                each.events += each.stream.take() if each.stream else []
            while pending and pending[0].ready:
                line = self._line(pending[0])
                os.write(descriptor, line.encode())
                refused.append("error" in json.loads(line))
                progress((pending.popleft().index + 1) / total)
        return refused

    def _begin(self, index: int) -> PendingAnswer:
        seed = None if self.options.seed is None else self.options.seed + index
        try:
            return PendingAnswer(index, self.engine.begin(self.questions[index], replace(self.options, seed=seed)))
        except DataError as error:
            return PendingAnswer(index, None, error)

    def _line(self, pending: PendingAnswer) -> str:
        """Write an answer's audio and give its line."""
        line: dict[str, object] = {"id": self.questions.name(pending.index)}
        stream, error = pending.stream, pending.error
        if stream is None or stream.error is not None:
            line["error"] = str(error if stream is None else stream.error)
        else:
            states = [event.state for event in pending.events if event.state]
            line |= {"text": "".join(event.text for event in pending.events), **({"state": states[0]} if states else {}),
                     "finish_reason": stream.finish_reason, "tokens": stream.answer_tokens, **self._audio(pending)}
        return json.dumps(line, ensure_ascii=False) + "\n"

    def _audio(self, pending: PendingAnswer) -> dict[str, object]:
        segments = [(event.waveform, event.sample_rate) for event in pending.events if event.waveform is not None]
        if not segments:
            return {}
        self.audio.mkdir(exist_ok=True)
        path, rate = self.audio / f"{pending.index + 1:06d}.wav", segments[0][1]
        waveform = np.concatenate([waveform for waveform, _ in segments])
        save_audio(path, waveform, rate)
        return {"audio": f"{self.audio.name}/{path.name}", "seconds": round(len(waveform) / rate, 3)}


def _name(line: bytes) -> str | None:
    """Give the id of an output line; None where it has none."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return str(found["id"]) if isinstance(found, dict) and "id" in found else None
