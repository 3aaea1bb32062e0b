"""What a scoring run keeps: everything that was asked and answered, a JSON line each, from which numbers are computed again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from omnikit.errors import RunError
from omnikit.store.files import disk_errors

NONE = "none"  # the state of an answer that begins with none
Kept = TypeVar("Kept", "Record", "Timing")


@dataclass(frozen=True)
class Record:
    """One row of a dataset and what became of it.

    Args:
        expected: the text it should answer; "" where only what is said is written down.
        facts: free words of the dataset about it, such as its kind.
        question: the question's parts as text.
        answer: the model's text.
        other: its text when it heard another question's audio; None if not asked.
        heard: what the ASR model hears in the generated speech; None without speech or ASR model.
        natural: what it hears in the row's own spoken answer.
        codes: what the model emitted for its speech.
        seconds: how long the generated speech is; None without speech.
        natural_seconds: how long the row's own spoken answer is.
        natural_codes: how many codes that one becomes.
        wav: the generated speech's file beside the records, if it was kept.
        other_picture: its text when it saw another row's images; None if not asked.
        other_film: the same for videos.
        modality: what the question is made of: "image, audio".
        expected_state: what the question is: "audio", "text", or "noise", whose answer is behind a state that ends it.
        state: what the answer begins with, "none" where the model said none; None where the template has no states.
        told: what the head that tells states took the sound for; None without one.
        said: what is said in each sound of the question, where that is known.
        transcripts: what the transcript head hears in them.
        resynthesised: what the ASR model hears in the row's own spoken answer after the codec alone.
        mel_distance: of that sound from the row's own; None where times differ (merged codes).
        stoi: its intelligibility; None as above, or where it is too short.
        speaker: likeness of the generated speech's voice to that of the row's own.
        drawn: the different codes that the row's own speech becomes, those of a second codebook behind all of the first.
        drawable: how many there are.
    """

    id: str
    expected: str
    answer: str
    question: tuple[str | None, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    other: str | None = None
    heard: str | None = None
    natural: str | None = None
    codes: tuple[int, ...] = ()
    seconds: float | None = None
    natural_seconds: float | None = None
    natural_codes: int | None = None
    wav: str | None = None
    other_image: str | None = None
    other_video: str | None = None
    modality: str = ""
    expected_state: str | None = None
    state: str | None = None
    told: str | None = None
    said: tuple[str, ...] = ()
    transcripts: tuple[str, ...] = ()
    resynthesised: str | None = None
    mel_distance: float | None = None
    stoi: float | None = None
    speaker: float | None = None
    drawn: tuple[int, ...] = ()
    drawable: int | None = None

    @property
    def scored(self) -> bool:
        """Whether an answer's text is expected: neither noise nor a row that is only written down."""
        return bool(self.expected) and self.expected_state != "noise"


@dataclass(frozen=True)
class Timing:
    """One answer against the clock, in seconds since the question was handed over.

    Args:
        omega: new units before a segment is spoken; None for an answer that comes whole.
        first_text: when its first text was there.
        first_sound: when its first sound was there; None if it has none.
        whole: when all of it was there.
        seconds: how long the answer sounds.
    """

    id: str
    omega: int | None
    first_text: float
    first_sound: float | None
    whole: float
    seconds: float


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file that a person can read."""
    write(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_lines(path: Path, rows: Iterable[Kept]) -> None:
    """Write records or timings, one a line."""
    write(path, "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows))


def read_lines(path: Path, kind: type[Kept]) -> list[Kept]:
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
        raise RunError(f"{path} does not hold what omnikit eval kept ({type(error).__name__}: {error}); score the run again"
                       " without --rescore.") from error
    return rows


def read_json(path: Path) -> dict[str, Any]:
    """Read conditions back; raises RunError where the file is missing or no JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read, so there are no kept answers to score again ({type(error).__name__}); score"
                       " the run without --rescore first.") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} holds no conditions; score the run again without --rescore.")
    return content
