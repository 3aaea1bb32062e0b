"""The reader: rows of the script with their images, videos and recordings, as samples."""

import random
from pathlib import Path

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.build.recordings import Recordings, Utterance, record
from omnikit_tiny_world.config import SECONDS, TEST, TRAIN, TinyWorld
from omnikit_tiny_world.cuts import cut
from omnikit_tiny_world.drawing import SIDE, image, video
from omnikit_tiny_world.row import Row, answer_utterance
from omnikit_tiny_world.script import rows
from omnikit_tiny_world.sounds import LEVELS, QUIET_LEVELS, SAMPLE_RATE, Waveform, at_random_level, babble, mix, noise

CACHED = 1024  # rows: a training loop asks for each row twice within a window, for its length and for its batch
LENGTHS = (1.0, 2.5)  # seconds of a sound


class TinyCorpus:
    """Owns one split in one view. Images, videos and sounds are made when asked for, recordings are cached on disk."""

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
            if len(self._made) == CACHED:
                del self._made[next(iter(self._made))]
            self._made[index] = self._make(self._rows[index])
        return self._made[index]

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_made": {}}

    def _make(self, row: Row) -> Sample:
        rng = random.Random(f"made {row.seed}")
        before = [ContentPart("prompt")] * row.prompt + [ContentPart("text", text=row.prefix)] * bool(row.prefix)
        parts = [*self._visual(row, rng), *before, self._question(row, rng)]
        messages = [Message("user", tuple(parts))]
        if row.answer is not None:
            messages.append(Message("assistant", (ContentPart("text", text=row.answer), *self._spoken_answer(row)), row.state))
        return Sample(row.id, tuple(messages), self._facts(row))

    def save_example(self, index: int, folder: str | Path) -> Sample:
        """Write a row's image, video and audio as p.png, v.mp4, q.wav into a folder, for `omnikit chat`; give the row.

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
        audio = row.utterance is not None or bool(row.noise)
        facts = {"kind": row.kind, "language": row.language, "split": self.config.split}
        facts["state"] = row.state or ("audio" if audio else "text")
        if row.utterance:
            facts |= {"voice": row.utterance.voice, "condition": "noisy" if row.noise else "clean"}
        return {**facts, **row.facts}

    def _spoken_answer(self, row: Row) -> list[ContentPart]:
        if not self.config.spoken_answers:
            return []
        return [ContentPart("audio", text=row.answer, audio=self._recordings[answer_utterance(row)], sample_rate=SAMPLE_RATE)]

    def _visual(self, row: Row, rng: random.Random) -> list[ContentPart]:
        if row.scene is None:
            return []
        if row.description:
            return [ContentPart("text", text=f"{row.description}\n")]
        if row.scene.direction:
            frames, rate = video(row.scene, rng)
            return [ContentPart("video", pixels=frames, frame_rate=rate)]
        wide = rng.random() < self.config.wide
        size = rng.choice(((2 * SIDE, SIDE), (SIDE, 2 * SIDE))) if wide else (SIDE, SIDE)
        caption = row.answer if self.config.view == "captions" else None
        return [ContentPart("image", caption, pixels=image(row.scene, rng, size))]

    def _question(self, row: Row, rng: random.Random) -> ContentPart:
        if not row.utterance and not row.noise:
            return ContentPart("text", text=row.question)
        return ContentPart("audio", text=row.question, audio=self._waveform(row, rng), sample_rate=SAMPLE_RATE)

    def _waveform(self, row: Row, rng: random.Random) -> Waveform:
        seed = rng.getrandbits(64)
        if row.utterance:
            waveform = self._recordings[row.utterance]
            waveform = cut(waveform, seed) if row.cut else waveform
            return mix(waveform, noise(row.noise, len(waveform), seed), row.snr_db) if row.noise else waveform
        samples = int(rng.uniform(*LENGTHS) * SAMPLE_RATE)
        if row.voices:
            return at_random_level(babble([self._recordings[voice] for voice in row.voices], samples, seed), seed)
        levels = QUIET_LEVELS if row.noise == "quiet" else LEVELS
        return at_random_level(noise(row.noise, samples, seed), seed, levels)


def _recorded(script: list[Row], config: TinyWorld) -> Recordings:
    utterances: list[Utterance] = []
    for row in script:
        utterances += [row.utterance] if row.utterance else row.voices
    if config.spoken_answers:
        utterances += [answer_utterance(row) for row in script if row.answer is not None]
    title = f"recording {config.view}, {config.split}"
    return record(utterances, config.tts, corpus="tiny_world", title=title, limit=SECONDS)
