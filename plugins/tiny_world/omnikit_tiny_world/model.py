"""The reader: rows of the script with what is drawn, filmed and recorded, as samples."""

import random

from omnikit.errors import DataError
from omnikit.types import Message, Part, Sample
from omnikit_tiny_world.config import SECONDS, TEST, TRAIN, TinyWorld
from omnikit_tiny_world.drawing import SIDE, film, picture
from omnikit_tiny_world.recordings import Recordings, record
from omnikit_tiny_world.script import Row, Utterance, rows

SAMPLE_RATE = 16000


class TinyCorpus:
    """Owns one split in one view. Pictures and films are drawn when asked for, recordings lie in the cache folder."""

    def __init__(self, config: TinyWorld) -> None:
        self.config = config
        self._rows = rows(config, config.size or (TRAIN if config.split == "train" else TEST))
        said = [row.said for row in self._rows if row.said]
        self._recordings = _checked(said, config) if said else None

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        """Give one conversation: what is shown, the question, and its answer (a reading has none)."""
        row = self._rows[index]
        chance = random.Random(f"drawn {row.id.replace('_unseen', '')} {self.config.seed}")
        parts = [*self._seen(row, chance), self._question(row)]
        messages = (Message("user", tuple(parts)), Message("assistant", (Part("text", text=row.answer),), state=row.state))
        voice = {"voice": row.said.voice} if row.said else {}
        facts = {"kind": row.kind, "language": row.language, "split": self.config.split, **voice, **row.facts}
        return Sample(row.id, messages, facts)

    def _seen(self, row: Row, chance: random.Random) -> tuple[Part, ...]:
        if row.scene is None:
            return ()
        if row.scene.direction:
            frames, rate = film(row.scene, chance)
            return (Part("video", pixels=frames, frame_rate=rate),)
        wide = chance.random() < self.config.wide
        size = chance.choice(((2 * SIDE, SIDE), (SIDE, 2 * SIDE))) if wide else (SIDE, SIDE)
        return (Part("image", pixels=picture(row.scene, chance, size)),)

    def _question(self, row: Row) -> Part:
        if row.said is None or self._recordings is None:
            return Part("text", text=row.asked)
        return Part("audio", text=row.asked, audio=self._recordings[row.said], sample_rate=SAMPLE_RATE)


def _checked(said: list[Utterance], config: TinyWorld) -> Recordings:
    """Record, and make sure that nothing is longer than the contract says."""
    recordings = record(said, config.tts, f"recording {config.view}, {config.split}")
    longest = recordings.seconds(SAMPLE_RATE)
    if longest > SECONDS:
        raise DataError(f"tiny_world: a recording of {config.tts} takes {longest:.1f} s, but the world allows {SECONDS:.0f} s.")
    return recordings
