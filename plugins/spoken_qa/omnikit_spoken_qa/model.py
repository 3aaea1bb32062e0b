"""The reader: rows of the script with their recordings, as samples."""

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.build.recordings import SAMPLE_RATE, Utterance, record
from omnikit_spoken_qa.config import SECONDS
from omnikit_spoken_qa.script import readings, rows


class SpokenCorpus:
    """Owns one split in one view; recordings are cached on disk and read when asked for."""

    def __init__(self, split: str, view: str, size: int, seed: int, tts: str) -> None:
        self.split, self.view = split, view
        self._readings = readings(split, size, seed) if view == "reading" else []
        self._rows = [] if view == "reading" else rows(split, size, seed)
        utterances = list(self._readings)
        if view == "speech":
            utterances += [utterance for row in self._rows for utterance in (row.question_utterance, row.answer_utterance)]
        title = f"recording {view}, {split}"
        self._recordings = record(utterances, tts, corpus="spoken_qa", title=title, limit=SECONDS)

    def __len__(self) -> int:
        return len(self._readings or self._rows)

    def __getitem__(self, index: int) -> Sample:
        """Give one conversation: a question and its answer (a reading has no answer)."""
        if self._readings:
            return self._reading(index)
        row = self._rows[index]
        question, answer = ContentPart("text", text=row.question.text), [ContentPart("text", text=row.question.answer)]
        if self.view == "speech":
            question = self._spoken(row.question_utterance)
            answer.append(self._spoken(row.answer_utterance))
        facts = {"kind": row.question.kind, "voice": row.question_utterance.voice, "split": self.split}
        return Sample(row.id, (Message("user", (question,)), Message("assistant", tuple(answer))), facts)

    def _reading(self, index: int) -> Sample:
        item = self._readings[index]
        facts = {"kind": "reading", "voice": item.voice, "split": self.split}
        return Sample(f"reading-{self.split}-{index:05}", (Message("user", (self._spoken(item),)),), facts)

    def _spoken(self, utterance: Utterance) -> ContentPart:
        return ContentPart("audio", text=utterance.text, audio=self._recordings[utterance], sample_rate=SAMPLE_RATE)
