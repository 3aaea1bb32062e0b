"""Datasets mixed by weight, in batches of similar length, in an order that only the seed decides."""

import math
from collections.abc import Iterator, Mapping
from typing import TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from omnikit.contracts.protocols import Reader
from omnikit.contracts.specs import ImageSpec
from omnikit.contracts.types import ContentPart, Sample
from omnikit.data.batch.signals import answer_audio, count_tiles, question_media
from omnikit.data.media.audio import audio_length
from omnikit.data.media.containers import DEFAULTS
from omnikit.errors import DataError
from omnikit.recipe.media import MediaLimits

CHARACTERS_PER_SECOND = 15.0  # of speech, roughly; weighs text against audio when rows are sorted by length
SECONDS_PER_TILE = 20.0  # seconds of speech with as many positions as a tile or a frame, roughly (VITA-1.5)
T = TypeVar("T")
SampleKey = tuple[str, int]  # dataset and index


class MixtureDataset(Dataset[Sample]):
    """Samples of several datasets by (dataset, index); `image_spec` counts the tiles of their images and videos."""

    def __init__(self, readers: Mapping[str, Reader], image_spec: ImageSpec | None = None,
                 limits: MediaLimits = DEFAULTS) -> None:
        self.readers, self.image_spec, self.limits = readers, image_spec, limits
        for name, reader in readers.items():
            if len(reader) == 0:
                raise DataError(f"Dataset {name} is empty, but a stage trains on it; check its path and split.")

    def __getitem__(self, key: SampleKey) -> Sample:
        return self.readers[key[0]][key[1]]

    def size(self, key: SampleKey) -> float:
        """Give the length of a sample in seconds, roughly; reads headers of media files only."""
        sample = self[key]
        characters = sum(len(p.text or "") for m in sample.messages for p in m.content if p.type == "text")
        parts = (*question_media(sample), *answer_audio(sample))
        return sum(_seconds(part, self.image_spec, self.limits) for part in parts) + characters / CHARACTERS_PER_SECOND


class RowTable:
    """A number for each row of each dataset, or none; 8 bytes a row, however many there are."""

    def __init__(self, readers: Mapping[str, Reader]) -> None:
        self._numbers = {name: np.full(len(reader), np.nan) for name, reader in readers.items()}

    def get(self, key: SampleKey) -> float | None:
        """Give the number of a row."""
        found = float(self._numbers[key[0]][key[1]])
        return None if math.isnan(found) else found

    def set(self, key: SampleKey, number: float) -> None:
        """Set the number of a row."""
        self._numbers[key[0]][key[1]] = number


class MixtureSampler:
    """Which samples each pass draws, in a new order each time.

    A pass has as many rows as the datasets hold together, of each dataset its weight's fraction; a dataset that is too small
    for that is repeated within the pass.

    Args:
        mixture: the datasets.
        weights: dataset → mixture weight, any positive numbers.
        seed: decides the order.
    """

    def __init__(self, mixture: MixtureDataset, weights: Mapping[str, float], seed: int) -> None:
        self.mixture, self.seed = mixture, seed
        rows, total = sum(len(reader) for reader in mixture.readers.values()), sum(weights.values())
        self.rows = {name: max(1, round(rows * weight / total)) for name, weight in weights.items()}

    def __len__(self) -> int:
        """Give the samples of a pass."""
        return sum(self.rows.values())

    def sample_keys(self, number: int) -> tuple[list[SampleKey], torch.Generator]:
        """Give the keys of a pass's samples, and the generator for what is drawn after them."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        return shuffle([key for name in self.rows for key in self._draw(name, generator)], generator), generator

    def _draw(self, name: str, generator: torch.Generator) -> list[SampleKey]:
        """Draw a dataset's rows of one pass: complete permutations, and a part of the last."""
        length, count = len(self.mixture.readers[name]), self.rows[name]
        orders = [torch.randperm(length, generator=generator).tolist() for _ in range(-(-count // length))]
        return [(name, index) for order in orders for index in order][:count]


class LengthBucketSampler(Sampler[list[SampleKey]]):
    """Batches of sample keys, without end: each pass is drawn, sorted by length within a window, and its batches shuffled.

    Args:
        mixture: the datasets.
        weights: dataset → mixture weight, any positive numbers.
        batch_size: rows in a batch.
        seed: decides the order; the same seed gives the same batches.
        window: batches that are sorted together; 1 sorts none and looks at no length.
    """

    def __init__(self, mixture: MixtureDataset, weights: Mapping[str, float], batch_size: int, seed: int, *,
                 window: int = 50) -> None:
        self.mixture, self.batch_size, self.window = mixture, batch_size, window
        self.mixture_sampler = MixtureSampler(mixture, weights, seed)
        self._passes = 0
        self._sizes = RowTable(mixture.readers)

    def __len__(self) -> int:
        """Give the batches of a pass."""
        return max(1, -(-len(self.mixture_sampler) // self.batch_size))

    def __iter__(self) -> Iterator[list[SampleKey]]:
        self._passes += 1
        return self.batches(self._passes - 1)

    def count(self, number: int) -> int:
        """Give the batches of a pass."""
        return len(self)

    def batches(self, number: int) -> Iterator[list[SampleKey]]:
        """Give the batches of a pass."""
        return self.batches_from(number, 0)

    def batches_from(self, number: int, first: int) -> Iterator[list[SampleKey]]:
        """Give the batches of a pass from one on; of a window before it no length is read."""
        keys, generator = self.mixture_sampler.sample_keys(number)
        window = self.window * self.batch_size
        for at in range(0, len(keys), window):
            part = keys[at:at + window]
            count = -(-len(part) // self.batch_size)
            if first >= count:
                torch.randperm(count, generator=generator)  # as its shuffle draws
            else:
                yield from self._window(part, generator)[first:]
            first = max(0, first - count)

    def _window(self, keys: list[SampleKey], generator: torch.Generator) -> list[list[SampleKey]]:
        ordered = sorted(keys, key=self._size) if self.window > 1 else keys
        size = self.batch_size
        return shuffle([ordered[at:at + size] for at in range(0, len(ordered), size)], generator)

    def _size(self, key: SampleKey) -> float:
        size = self._sizes.get(key)
        if size is None:
            size = self.mixture.size(key)
            self._sizes.set(key, size)
        return size


def shuffle(items: list[T], generator: torch.Generator) -> list[T]:
    """Give the items in an order that the generator draws."""
    return [items[index] for index in torch.randperm(len(items), generator=generator).tolist()]


def _seconds(part: ContentPart, image_spec: ImageSpec | None, limits: MediaLimits) -> float:
    if part.type == "image" and image_spec and not image_spec.cuts:
        return SECONDS_PER_TILE
    if part.type in ("image", "video") and image_spec:
        try:
            return SECONDS_PER_TILE * count_tiles(part, image_spec, limits)
        except DataError:  # as below
            return 0.0
    if part.type != "audio":
        return 0.0
    if part.audio is not None:
        return len(part.audio) / part.sample_rate
    source = part.path if part.data is None else part.data
    return audio_length(source, 1000, limits=limits) / 1000 if source else 0.0  # a file that is none is reported with its row
