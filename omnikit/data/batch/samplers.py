"""Datasets mixed by share, in batches of similar length, in an order that only the seed decides."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from omnikit.contracts.protocols import Reader
from omnikit.contracts.specs import ImageSpec
from omnikit.contracts.types import Batch, ContentPart, Sample
from omnikit.data.batch.signals import questions, seen_count, spoken
from omnikit.errors import DataError

CHARACTERS_PER_SECOND = 15.0  # of speech, roughly; weighs text against sound when rows are sorted by length
SECONDS_PER_TILE = 20.0  # seconds of speech with as many vectors as a tile or a frame has, roughly (VITA-1.5)
T = TypeVar("T")
P = TypeVar("P")
Pick = tuple[str, int]  # dataset and index


class MixtureDataset(Dataset[Sample]):
    """Samples of several datasets by (dataset, index); `images` says how large their images and videos are."""

    def __init__(self, readers: Mapping[str, Reader], image_spec: ImageSpec | None = None) -> None:
        self.readers, self.image_spec = readers, image_spec
        for name, reader in readers.items():
            if len(reader) == 0:
                raise DataError(f"Dataset {name} is empty, but a stage trains on it; check its path and split.")

    def __getitem__(self, pick: Pick) -> Sample:
        return self.readers[pick[0]][pick[1]]

    def size(self, pick: Pick) -> float:
        """Give the length of a sample in seconds, roughly; reads headers of media files only."""
        sample = self[pick]
        characters = sum(len(p.text or "") for m in sample.messages for p in m.content if p.type == "text")
        parts = (*questions(sample), *spoken(sample))
        return sum(_seconds(part, self.image_spec) for part in parts) + characters / CHARACTERS_PER_SECOND


class MixtureSampler:
    """Which samples each pass draws, shuffled anew.

    A pass sees as many rows as the datasets hold together, of each dataset its share; a dataset that is too small for
    its share is seen again within the pass.

    Args:
        mixture: the datasets.
        shares: dataset → share, any positive numbers.
        seed: decides the order.
    """

    def __init__(self, mixture: MixtureDataset, shares: Mapping[str, float], seed: int) -> None:
        self.mixture, self.seed = mixture, seed
        total, whole = sum(len(reader) for reader in mixture.readers.values()), sum(shares.values())
        self.rows = {name: max(1, round(total * share / whole)) for name, share in shares.items()}

    def __len__(self) -> int:
        """Give the samples of a pass."""
        return sum(self.rows.values())

    def picks(self, number: int) -> tuple[list[Pick], torch.Generator]:
        """Give a pass's samples, and the generator that goes on deciding."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        return shuffled([pick for name in self.rows for pick in self._drawn(name, generator)], generator), generator

    def _drawn(self, name: str, generator: torch.Generator) -> list[Pick]:
        """Draw a dataset's rows of one pass: whole permutations, and a part of the last."""
        length, wanted = len(self.mixture.readers[name]), self.rows[name]
        orders = [torch.randperm(length, generator=generator).tolist() for _ in range(-(-wanted // length))]
        return [(name, index) for order in orders for index in order][:wanted]


class LengthBucketSampler(Sampler[list[Pick]]):
    """Batches of picks, without end: each pass is drawn anew, sorted by length within a window, and shuffled again.

    Args:
        mixture: the datasets.
        shares: dataset → share, any positive numbers.
        batch_size: rows in a batch.
        seed: decides the order; the same seed gives the same batches.
        window: batches that are sorted together; 1 sorts none and looks at no length.
        rank, world: this process takes every world-th batch.
    """

    def __init__(self, mixture: MixtureDataset, shares: Mapping[str, float], batch_size: int, seed: int, *,
                 window: int = 50, rank: int = 0, world: int = 1) -> None:
        self.mixture, self.batch_size, self.window, self.rank, self.world = mixture, batch_size, window, rank, world
        self.shares = MixtureSampler(mixture, shares, seed)
        self._passes = 0
        self._sizes: dict[Pick, float] = {}

    def __len__(self) -> int:
        """Give the batches of a pass; the same on every rank."""
        return max(1, -(-len(self.shares) // self.batch_size) // self.world)

    def __iter__(self) -> Iterator[list[Pick]]:
        picks, generator = self.shares.picks(self._passes)
        self._passes += 1
        window = self.window * self.batch_size
        batches = (batch for at in range(0, len(picks), window) for batch in self._window(picks[at:at + window], generator))
        for index, batch in enumerate(batches):
            if index >= len(self) * self.world:
                return
            if index % self.world == self.rank:
                yield batch

    def _window(self, picks: list[Pick], generator: torch.Generator) -> list[list[Pick]]:
        ordered = sorted(picks, key=self._size) if self.window > 1 else picks
        size = self.batch_size
        return shuffled([ordered[at:at + size] for at in range(0, len(ordered), size)], generator)

    def _size(self, pick: Pick) -> float:
        if pick not in self._sizes:
            self._sizes[pick] = self.mixture.size(pick)
        return self._sizes[pick]


def loader(samples: Dataset[T], order: Sampler[list[P]], collate: Callable[[Sequence[T]], Batch],
           workers: int) -> DataLoader[T]:
    """Give a loader of collated batches; with workers it prepares them in that many processes."""
    return DataLoader(samples, batch_sampler=order, collate_fn=collate, num_workers=workers,
                      persistent_workers=workers > 0, pin_memory=torch.cuda.is_available())


def shuffled(items: list[T], generator: torch.Generator) -> list[T]:
    """Give the items in an order that the generator draws."""
    return [items[index] for index in torch.randperm(len(items), generator=generator).tolist()]


def _seconds(part: ContentPart, image_spec: ImageSpec | None) -> float:
    if part.type in ("image", "video") and image_spec:
        try:
            return SECONDS_PER_TILE * seen_count(part, image_spec)
        except DataError:  # as below
            return 0.0
    if part.type != "audio":
        return 0.0
    if part.audio is not None:
        return len(part.audio) / part.sample_rate
    if part.path is None:
        return 0.0
    import soundfile

    try:
        return float(soundfile.info(part.path).duration)
    except soundfile.LibsndfileError:  # the collator says what is wrong with it, with the row's name
        return 0.0
