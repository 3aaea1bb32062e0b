"""The reader: rows of the script with their recordings, as samples."""

from collections.abc import Sequence

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.errors import DataError
from omnikit_spoken_qa.config import SECONDS
from omnikit_spoken_qa.recordings import Recordings, record
from omnikit_spoken_qa.script import CodeIterator, Row, readings, rows

SAMPLE_RATE = 16000


class SpokenCorpus:
    """Owns one split in one view; recordings lie in the cache folder and are read when asked for."""

    def __init__(self, split: str, view: str, size: int, seed: int, tts: str) -> None:
        self.split, self.view = split, view
        self._rows: list[Row] = []
        self._readings: list[CodeIterator] = []
        self._asked: Recordings | None = None
        self._answered: Recordings | None = None
        if view == "reading":
            self._readings = readings(split, size, seed)
            self._asked = _checked(self._readings, tts, f"recording readings, {split}")
            return
        self._rows = rows(split, size, seed)
        if view == "speech":
            answers = sorted({row.answered for row in self._rows}, key=lambda item: item.text)
            self._place = {item.text: index for index, item in enumerate(answers)}
            self._asked = _checked([row.asked for row in self._rows], tts, f"recording questions, {split}")
            self._answered = _checked(answers, tts, f"recording answers, {split}")

    def __len__(self) -> int:
        return len(self._readings or self._rows)

    def __getitem__(self, index: int) -> Sample:
        """Give one conversation: a question and its answer (a reading has no answer)."""
        if self._readings:
            return self._reading(index)
        row = self._rows[index]
        answer = ContentPart("text", text=row.question.answer)
        spoken: tuple[ContentPart, ...] = ()
        if self._answered is not None:
            place = self._place[row.question.answer]
            spoken = (ContentPart("audio", text=row.question.answer, audio=self._answered[place], sample_rate=SAMPLE_RATE),)
        facts = {"kind": row.question.kind, "voice": row.asked.voice, "split": self.split}
        messages = (Message("user", (self._question(index, row),)), Message("assistant", (answer, *spoken)))
        return Sample(row.id, messages, facts)

    def _question(self, index: int, row: Row) -> ContentPart:
        if self._asked is None:
            return ContentPart("text", text=row.question.text)
        return ContentPart("audio", text=row.question.text, audio=self._asked[index], sample_rate=SAMPLE_RATE)

    def _reading(self, index: int) -> Sample:
        assert self._asked is not None
        item = self._readings[index]
        part = ContentPart("audio", text=item.text, audio=self._asked[index], sample_rate=SAMPLE_RATE)
        facts = {"kind": "reading", "voice": item.voice, "split": self.split}
        return Sample(f"reading-{self.split}-{index:05}", (Message("user", (part,)),), facts)


def _checked(utterances: Sequence[CodeIterator], tts: str, title: str) -> Recordings:
    """Record, and make sure that nothing is longer than the contract says."""
    recordings = record(utterances, tts, title)
    longest = recordings.seconds(SAMPLE_RATE)
    if longest > SECONDS:
        raise DataError(f"spoken_qa: a recording of {tts} takes {longest:.1f} s, but the corpus allows {SECONDS:.0f} s.")
    return recordings
