"""Records of an evaluation: each question and its answer, a JSON line each, from which numbers can be computed again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from omnikit.errors import RunError
from omnikit.store.files import disk_errors, write_text

NONE = "none"  # the state of an answer that begins without one
Line = TypeVar("Line", "Record", "Timing")


@dataclass(frozen=True)
class Record:
    """One row of a dataset and the model's answer to it.

    Args:
        expected: the text it should answer; "" where the row is only transcribed.
        facts: free attributes from the dataset, such as its kind.
        question: the question's parts as text.
        answer: the model's text.
        shuffled_audio: its text with another question's audio; None if not asked.
        speech_transcript: the ASR model's transcript of the generated speech; None without speech or ASR model.
        ground_truth_transcript: its transcript of the row's own spoken answer.
        codes: the codes of the generated speech.
        seconds: duration of the generated speech; None without speech.
        ground_truth_seconds: duration of the row's own spoken answer.
        ground_truth_code_count: number of codes of that one.
        wav: the generated speech's file beside the records, if it was saved.
        shuffled_image: its text with another row's images; None if not asked.
        shuffled_video: the same for videos.
        modality: media of the question: "image, audio".
        expected_state: state of the question: "audio", "text", or "noise", which has no answer.
        state: state that the answer begins with, "none" without one; None where the template has no states.
        head_state: state that the turn-detection head predicts; None without one.
        reference_transcripts: text of each audio of the question, where it is given.
        transcripts: the transcript head's transcripts of them.
        codec_transcript: the ASR model's transcript of the row's own spoken answer after the codec alone.
        mel_distance: of that audio from the row's own; None where times differ (merged codes).
        stoi: its intelligibility; None as above, or where it is too short.
        ltas_correlation: of the generated speech with the row's own.
        used_codes: the distinct codes of the row's own speech, those of a second codebook behind all of the first.
        codebook_size: number of codes there are.
    """

    id: str
    expected: str
    answer: str
    question: tuple[str | None, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    shuffled_audio: str | None = None
    speech_transcript: str | None = None
    ground_truth_transcript: str | None = None
    codes: tuple[int | list[int], ...] = ()
    seconds: float | None = None
    ground_truth_seconds: float | None = None
    ground_truth_code_count: int | None = None
    wav: str | None = None
    shuffled_image: str | None = None
    shuffled_video: str | None = None
    modality: str = ""
    expected_state: str | None = None
    state: str | None = None
    head_state: str | None = None
    reference_transcripts: tuple[str, ...] = ()
    transcripts: tuple[str, ...] = ()
    codec_transcript: str | None = None
    mel_distance: float | None = None
    stoi: float | None = None
    ltas_correlation: float | None = None
    used_codes: tuple[int, ...] = ()
    codebook_size: int | None = None

    @property
    def scored(self) -> bool:
        """Whether an answer's text is expected: neither noise nor a row that is only transcribed."""
        return bool(self.expected) and self.expected_state != "noise"


@dataclass(frozen=True)
class Timing:
    """The latency of one answer, in seconds since the question was given.

    Args:
        omega: codes of a segment at least; None for an answer without streaming.
        ttft: time to first token.
        time_to_first_audio: time to its first audio; None if it has none.
        total_time: to the end of the answer.
        audio_seconds: duration of the answer's audio.
    """

    id: str
    omega: int | None
    ttft: float
    time_to_first_audio: float | None
    total_time: float
    audio_seconds: float


def write(path: Path, text: str) -> None:
    """Write a file atomically."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file that a person can read."""
    write(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_lines(path: Path, rows: Iterable[Line]) -> None:
    """Write records or timings, one a line."""
    write(path, "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows))


def read_lines(path: Path, kind: type[Line]) -> list[Line]:
    """Read records or timings back.

    Raises:
        RunError: the file is missing or was not written by `write_lines`.
    """
    rows = []
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:  # splitlines would also split at U+2028 and others, which JSON leaves as they are
                values: dict[str, Any] = json.loads(line)
                values |= {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
                rows.append(kind(**values))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{path} does not hold records of omnikit eval ({type(error).__name__}: {error}); score the run again"
                       " without --rescore.") from error
    return rows


def read_json(path: Path) -> dict[str, Any]:
    """Read conditions back; raises RunError where the file is missing or no JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read, so there are no saved answers to score again ({type(error).__name__}); score"
                       " the run without --rescore first.") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} holds no conditions; score the run again without --rescore.")
    return content
