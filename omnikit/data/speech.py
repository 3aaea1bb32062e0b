"""The different recordings of datasets: found by the headers of their files, decoded when they are asked for. Runs no model.

What was decoded last stays in memory up to CACHE bytes, so that a small corpus is read once and a large one does not fill it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

import torch
from torch import Tensor

from omnikit.contracts.protocols import Reader
from omnikit.contracts.types import ContentPart, Sample
from omnikit.data.batch.signals import answer_audio, load_waveform, question_media, recorded_samples
from omnikit.data.media.containers import DEFAULTS
from omnikit.recipe.media import MediaLimits

CACHE = 2 ** 29  # bytes of decoded waveforms of one set of datasets: 2.3 hours at 16 kHz


@dataclass
class WaveformCache:
    """Waveforms by key; the ones that were used longest ago are dropped beyond `limit` bytes."""

    limit: int = CACHE
    held: OrderedDict[bytes, Tensor] = field(default_factory=OrderedDict)
    size: int = 0

    def get(self, key: bytes, load: Callable[[], Tensor]) -> Tensor:
        """Give what is held for a key, else what `load` gives."""
        if key in self.held:
            self.held.move_to_end(key)
            return self.held[key]
        wave = self.held[key] = load()
        self.size += wave.nbytes
        while self.size > self.limit and len(self.held) > 1:
            self.size -= self.held.popitem(last=False)[1].nbytes
        return wave


class Recordings(Sequence[Tensor]):
    """Waveforms [N] at one rate, decoded when indexed.

    Args:
        lengths: samples of each, by its header.
        load: decodes one.
    """

    def __init__(self, lengths: Sequence[int], load: Callable[[int], Tensor]) -> None:
        self.lengths, self.load = lengths, load
        self.used: set[int] = set()  # which were asked for

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> Recordings: ...

    def __getitem__(self, index: int | slice) -> Tensor | Recordings:
        if isinstance(index, slice):
            chosen = range(len(self))[index]
            return Recordings([self.lengths[i] for i in chosen], lambda i: self[chosen[i]])
        position = range(len(self))[index]
        self.used.add(position)
        return self.load(position)

    def used_samples(self) -> int:
        """Give the samples of the recordings that were asked for."""
        return sum(self.lengths[index] for index in self.used)


def in_memory(waves: Sequence[Tensor]) -> Recordings:
    """Give waveforms that are at hand as recordings."""
    return Recordings([len(wave) for wave in waves], waves.__getitem__)


def joined(recordings: Sequence[Recordings]) -> Recordings:
    """Give several sets of recordings as one, in order."""
    positions = [(each, index) for each in recordings for index in range(len(each))]

    def load(position: int) -> Tensor:
        each, index = positions[position]
        return each[index]

    return Recordings([each.lengths[index] for each, index in positions], load)


def find_speech(readers: Mapping[str, Reader], rate: int, progress: Callable[[float], None], *,
                questions: bool, limits: MediaLimits = DEFAULTS) -> dict[str, Recordings]:
    """Give the different spoken answers of each dataset as waveforms at `rate`; nothing is decoded yet.

    Args:
        progress: takes the finished fraction.
        questions: True takes the audio of the questions of a dataset that has no spoken answer.

    Raises:
        DataError: a row cannot be read, or one of its recordings.
    """
    cache, found, done, rows = WaveformCache(), dict[str, Recordings](), 0, sum(map(len, readers.values()))
    for name, reader in readers.items():
        answers, asked = dict[bytes, tuple[int, int, int]](), dict[bytes, tuple[int, int, int]]()  # key → samples, row, part
        for index in range(len(reader)):
            sample = reader[index]
            _add(answers, sample, index, answer_audio(sample), (rate, limits))
            if questions and not answers:
                _add(asked, sample, index, _question_audio(sample), (rate, limits))
            done += 1
            progress(done / rows)
        found[name] = _recordings(reader, answers or asked, bool(answers), (rate, limits), cache)
    return found


def _recordings(reader: Reader, positions: dict[bytes, tuple[int, int, int]], answers: bool,
                wanted: tuple[int, MediaLimits], cache: WaveformCache) -> Recordings:
    keys = list(positions)

    def decode(index: int) -> Tensor:
        _, row, part = positions[keys[index]]
        sample = reader[row]
        parts = answer_audio(sample) if answers else _question_audio(sample)
        return torch.from_numpy(load_waveform(parts[part], wanted[0], sample.id, wanted[1]))

    return Recordings([samples for samples, _, _ in positions.values()],
                      lambda index: cache.get(keys[index], lambda: decode(index)))


def _add(positions: dict[bytes, tuple[int, int, int]], sample: Sample, index: int, parts: Sequence[ContentPart],
         wanted: tuple[int, MediaLimits]) -> None:
    rate, limits = wanted
    for number, part in enumerate(parts):
        key = _key(part)
        if key not in positions:
            samples = recorded_samples(part, rate, limits=limits)
            samples = samples or len(load_waveform(part, rate, sample.id, limits))  # which names what is wrong
            positions[key] = samples, index, number


def _key(part: ContentPart) -> bytes:
    """Name a recording by its file, or by its content where it is at hand."""
    if part.data is not None:
        return hashlib.sha1(part.data, usedforsecurity=False).digest()
    if part.audio is None:
        return str(part.path).encode()
    return hashlib.sha1(f"{part.sample_rate}".encode() + part.audio.tobytes(), usedforsecurity=False).digest()


def _question_audio(sample: Sample) -> list[ContentPart]:
    return [part for part in question_media(sample) if part.type == "audio"]
