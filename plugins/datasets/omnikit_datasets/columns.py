"""Rows of columns become samples: audio with its transcript, an image with its caption, a question with its answer."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import soundfile

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.errors import DataError
from omnikit_datasets.raw_row import RawRow

NAMES = {  # what a column is → names that it has in well-known datasets, the surest first
    "id": ("id", "utt_id", "utterance_id", "uid", "key", "sample_id"),
    "audio": ("audio", "audio_filepath", "audio_path", "wav", "flac", "mp3", "ogg", "opus", "m4a", "speech", "path", "file"),
    "image": ("images", "image", "jpg", "jpeg", "png", "webp", "image_path"),
    "video": ("videos", "video", "mp4", "webm", "mkv", "mov", "video_path"),
    "question": ("question", "instruction", "prompt", "query"),
    "answer": ("answer", "response", "output", "caption"),
    "transcript": ("transcript", "transcription", "sentence", "normalized_text", "text", "txt"),
    "system": ("system",),
    "offset": ("offset",),
    "duration": ("duration",),
}
MEDIA = ("audio", "image", "video")
TOLERANCE = 0.02  # seconds by which a manifest may round the duration of a file


@dataclass(frozen=True)
class Columns:
    """What stands in which column.

    Args:
        columns: meaning (a key of NAMES) → column; a meaning that is missing is looked for under its well-known names.
        question: text of the question beside the media, where no column holds one.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    question: str | None = None

    def sample(self, row: RawRow) -> Sample:
        """Give the sample of a row.

        Raises:
            DataError: a column is missing or holds something else; the sentence names file, row and column.
        """
        media = [part for kind in MEDIA for part in self._media(row, kind)]
        asked, answer = self._text(row, "question") or self.question, self._text(row, "answer")
        text = self._text(row, "transcript")
        if answer is None:
            answer = text
        if answer is None:
            row.refuse(self._named("answer"), None, "a text, the answer or the transcript")
        parts = (*media, *((ContentPart("text", asked),) if asked else ()))
        if not parts:
            row.refuse(f"{self._named('audio')}, {self._named('image')} or {self._named('question')}", None, "the question")
        messages = [Message("user", parts), Message("assistant", (ContentPart("text", answer),))]
        if system := self._text(row, "system"):
            messages.insert(0, Message("system", (ContentPart("text", system),)))
        name = self._value(row, "id")
        return Sample(str(name) if isinstance(name, str | int) and str(name) else row.name, tuple(messages))

    def _value(self, row: RawRow, meaning: str) -> object:
        if meaning in self.columns:
            return row.values.get(self.columns[meaning])
        used = set(self.columns.values())
        return row.first(*(name for name in NAMES[meaning] if name not in used))

    def _named(self, meaning: str) -> str:
        return self.columns.get(meaning, meaning)

    def _text(self, row: RawRow, meaning: str) -> str | None:
        value = self._value(row, meaning)
        if value is not None and not isinstance(value, str):
            row.refuse(self._named(meaning), value, "a text")
        return value

    def _media(self, row: RawRow, kind: str) -> list[ContentPart]:
        value = self._value(row, kind)
        values = value if isinstance(value, list) else [] if value is None else [value]
        text = self._text(row, "transcript") if kind == "audio" else None
        parts = [row.medium(kind, each, self._named(kind), text) for each in values]
        if kind == "audio" and len(parts) == 1:
            return [self._segment(row, parts[0])]
        return parts

    def _segment(self, row: RawRow, part: ContentPart) -> ContentPart:
        """Give the stretch of a recording that `offset` and `duration` name; the part itself where that is all of it."""
        offset, duration = (self._seconds(row, meaning) for meaning in ("offset", "duration"))
        if not offset and duration is None:
            return part
        try:
            with soundfile.SoundFile(part.path if part.data is None else io.BytesIO(part.data)) as file:
                rate, total = file.samplerate, file.frames / file.samplerate
                if not offset and duration is not None and abs(total - duration) <= TOLERANCE:
                    return part
                if (offset or 0) + (duration or 0) > total + TOLERANCE:
                    raise DataError(f"{row.place}: offset {offset or 0:g} s and duration {duration or 0:g} s end behind the"
                                    f" recording, which has {total:.2f} s; fix them.", kind="wrong segment")
                file.seek(round((offset or 0) * rate))
                data = file.read(-1 if duration is None else round(duration * rate), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise DataError(f"{row.place}: {self._named('audio')} is not a readable audio file ({error.error_string}).",
                            kind="unreadable audio") from None
        return ContentPart("audio", part.text, audio=data.mean(axis=1, dtype=np.float32), sample_rate=rate)

    def _seconds(self, row: RawRow, meaning: str) -> float | None:
        value = self._value(row, meaning)
        if value is None or value == "":
            return None
        try:
            found = float(value) if isinstance(value, str | int | float) else -1.0
        except ValueError:
            found = -1.0
        if not 0 <= found < float("inf"):
            row.refuse(self._named(meaning), value, "a number of seconds")
        return found
