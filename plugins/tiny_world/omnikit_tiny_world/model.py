"""The reader: rows of the script with what is drawn, filmed and recorded, as samples."""

import random
from pathlib import Path

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.build.recordings import Recordings, Utterance, record
from omnikit_tiny_world.config import SECONDS, TEST, TRAIN, TinyWorld
from omnikit_tiny_world.drawing import SIDE, image, video
from omnikit_tiny_world.script import Row, answering, rows
from omnikit_tiny_world.sounds import SAMPLE_RATE, Wave, alone, babble, mixed, sound

KEPT = 1024  # rows: a training loop asks for each row twice within a window, for its length and for its batch
LENGTHS = (1.0, 2.5)  # seconds of a sound alone


class TinyCorpus:
    """Owns one split in one view. Images, videos and sounds are made when asked for, recordings lie in the cache folder."""

    def __init__(self, config: TinyWorld) -> None:
        self.config = config
        self._rows = rows(config, config.size or (TRAIN if config.split == "train" else TEST))
        self._recordings = _recorded(self._rows, config)
        self._made: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        """Give one conversation: what is shown, the question, and its answer (a reading has none)."""
        if index not in self._made:
            if len(self._made) == KEPT:
                del self._made[next(iter(self._made))]
            self._made[index] = self._make(self._rows[index])
        return self._made[index]

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_made": {}}

    def _make(self, row: Row) -> Sample:
        chance = random.Random(f"made {row.id.replace('_unseen', '')} {self.config.seed}")
        before = [ContentPart("prompt")] * row.prompt + [ContentPart("text", text=row.before)] * bool(row.before)
        parts = [*self._seen(row, chance), *before, self._asked(row, chance)]
        messages = [Message("user", tuple(parts))]
        if row.answer is not None:
            messages.append(Message("assistant", (ContentPart("text", text=row.answer), *self._answered(row)), row.state))
        return Sample(row.id, tuple(messages), self._facts(row))

    def save_example(self, index: int, folder: str | Path) -> Sample:
        """Write what a row shows and says as p.png, v.mp4, q.wav into a folder, for `omnikit chat`; give the row.

        Raises:
            RunError: the folder cannot be written.
        """
        from omnikit.data.media.audio import save_audio
        from omnikit.data.media.image import save_image
        from omnikit.data.media.video import save_video

        sample, folder = self[index], Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for part in sample.messages[0].content:
            if part.type == "image" and part.pixels is not None:
                save_image(folder / "p.png", part.pixels)
            if part.type == "video" and part.pixels is not None:
                save_video(folder / "v.mp4", part.pixels, part.frame_rate)
            if part.audio is not None:
                save_audio(folder / "q.wav", part.audio, part.sample_rate)
        return sample

    def _facts(self, row: Row) -> dict[str, str]:
        heard = row.said is not None or bool(row.sound)
        facts = {"kind": row.kind, "language": row.language, "split": self.config.split}
        facts["state"] = row.state or ("audio" if heard else "text")
        if row.said:
            facts |= {"voice": row.said.voice, "condition": "noisy" if row.sound else "clean"}
        return {**facts, **row.facts}

    def _answered(self, row: Row) -> list[ContentPart]:
        if not self.config.voiced:
            return []
        return [ContentPart("audio", text=row.answer, audio=self._recordings[answering(row)], sample_rate=SAMPLE_RATE)]

    def _seen(self, row: Row, chance: random.Random) -> list[ContentPart]:
        if row.scene is None:
            return []
        if row.told:
            return [ContentPart("text", text=f"{row.told}\n")]
        if row.scene.direction:
            frames, rate = video(row.scene, chance)
            return [ContentPart("video", pixels=frames, frame_rate=rate)]
        wide = chance.random() < self.config.wide
        size = chance.choice(((2 * SIDE, SIDE), (SIDE, 2 * SIDE))) if wide else (SIDE, SIDE)
        told = row.answer if self.config.view == "captions" else None
        return [ContentPart("image", told, pixels=image(row.scene, chance, size))]

    def _asked(self, row: Row, chance: random.Random) -> ContentPart:
        if not row.said and not row.sound:
            return ContentPart("text", text=row.asked)
        return ContentPart("audio", text=row.asked, audio=self._heard(row, chance), sample_rate=SAMPLE_RATE)

    def _heard(self, row: Row, chance: random.Random) -> Wave:
        seed = chance.getrandbits(64)
        if row.said:
            wave = self._recordings[row.said]
            return mixed(wave, sound(row.sound, len(wave), seed), row.decibels) if row.sound else wave
        samples = int(chance.uniform(*LENGTHS) * SAMPLE_RATE)
        if row.voices:
            return alone(babble([self._recordings[voice] for voice in row.voices], samples, seed), seed)
        return alone(sound(row.sound, samples, seed), seed)


def _recorded(script: list[Row], config: TinyWorld) -> Recordings:
    said: list[Utterance] = [utterance for row in script for utterance in ((row.said,) if row.said else row.voices)]
    if config.voiced:
        said += [answering(row) for row in script if row.answer is not None]
    title = f"recording {config.view}, {config.split}"
    return record(said, config.tts, corpus="tiny_world", title=title, limit=SECONDS)
