"""Projectors: random features of encoders that the component accepts, and the text beside them where it reads some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from typing import Any

import torch

from omnikit.contracts.media import Medium, image_medium
from omnikit.contracts.optional import projector_options
from omnikit.contracts.specs import FeatureSpec, ImageSpec
from omnikit.contracts.types import Features, Targets
from omnikit.errors import ConfigError, OmnikitError
from omnikit.testing.encoder_probe import checked, valid
from omnikit.testing.probe import Probe, Row, lengths_of, padded

DIM = 48  # of the backbone
RATE = Fraction(10)  # Hz
LENGTHS = (40, 29, 18)  # vectors of each row of the first source
TEXT_LENGTHS, IDS = (7, 4, 5), 50  # ids of the text beside each row, and how many different ones
COUNTS = (16, 12, 64, 576, 1)  # vectors of an item, of which the first that is accepted is taken
OTHER = 24  # hidden size of a second source
CUT = ImageSpec(32, grids=((2, 1), (1, 2)))
MEDIA = (Medium("video", 3), image_medium((60, 40), (2, 1), CUT), image_medium((20, 60), (1, 2), CUT), Medium("image"))


class ProjectorProbe(Probe):
    """Features to features.

    Args:
        source: what it takes; None: the first of several that it accepts.
    """

    @cached_property
    def sources(self) -> tuple[FeatureSpec, ...]:
        """What it is built for: of what a rate or a count of several sizes gives, the first that it accepts."""
        kinds = ("count", "rate") if self.joins_media else ("rate", "count")
        found = [sources for kind in kinds for sources in self.candidates(kind) if self.accepts(sources)]
        if not found:
            raise ConfigError(f"projector {self.component.name} accepts no features of 32 channels at {RATE} Hz, nor of a count"
                              f" among {', '.join(map(str, COUNTS))}; give a configuration that does.")
        return found[0]

    def candidates(self, what: str) -> list[tuple[FeatureSpec, ...]]:
        """Give sources with a rate, or with counts; two for a projector of several encoders."""
        dims = (32, OTHER) if self.component.fused else (32,)
        if what == "rate":
            return [tuple(FeatureSpec(dim, rate=RATE) for dim in dims)]
        return [tuple(FeatureSpec(1 if count == 1 else dim, count=count) for dim in dims) for count in COUNTS]

    @property
    def joins_media(self) -> bool:
        """Whether it joins the tiles of an image or the frames of a video."""
        return projector_options(self.config).medium_length is not None

    def medium_length(self, medium: Medium) -> int:
        """Give how many vectors it states for a medium."""
        length = projector_options(self.config).medium_length
        assert length is not None, "asked where joins_media"
        return int(length(medium, self.vectors))

    @property
    def vectors(self) -> int:
        """Vectors of a tile or frame."""
        return self.sources[0].count or LENGTHS[-1]

    def accepts(self, sources: tuple[FeatureSpec, ...]) -> bool:
        """Say whether its `output` takes these sources."""
        try:
            self.output(sources)
        except (ValueError, OmnikitError):
            return False
        return True

    def output(self, sources: tuple[FeatureSpec, ...]) -> FeatureSpec:
        """Give what it states that comes out."""
        found: FeatureSpec = (self.config.fused_output(sources, DIM) if self.component.fused
                              else self.config.output(*sources, DIM))
        return found

    def length(self, counts: Sequence[int]) -> int:
        """Give how many vectors it states for so many of each source."""
        return int(self.config.fused_length(counts) if self.component.fused else self.config.length(*counts))

    def make(self) -> Any:
        if self.component.fused:
            return self.config.build_fused(self.sources, DIM)
        return self.config.build(*self.sources, DIM)

    def rows(self, seed: int = 0) -> list[Row]:
        generator = torch.Generator().manual_seed(seed)
        if self.joins_media:
            return [self.medium_row(number, generator) for number in range(len(MEDIA))]
        return [self.row([source.count or length for source in self.sources], generator, text)
                for length, text in zip(LENGTHS, TEXT_LENGTHS, strict=True)]

    def row(self, counts: Sequence[int], generator: torch.Generator, text: int = TEXT_LENGTHS[0]) -> Row:
        """Give random features of each source, so many vectors, and behind them the ids of a text where it reads one."""
        features = tuple(torch.randn(count, source.dim, generator=generator)
                         for count, source in zip(counts, self.sources, strict=True))
        if projector_options(self.config).tokenizer is None:
            return features
        return (*features, torch.randint(0, IDS, (text,), generator=generator))

    def medium_row(self, number: int, generator: torch.Generator) -> Row:
        """Give random features [signals, vectors, dim] of one of MEDIA, and its number."""
        shape = (MEDIA[number].signals, self.vectors, self.sources[0].dim)
        return torch.randn(shape, generator=generator), torch.tensor([number])

    def media_cases(self, generator: torch.Generator) -> Iterator[tuple[Row, int, str]]:
        """Give for each of MEDIA its features, how many vectors it states, and what it is in words."""
        for number, medium in enumerate(MEDIA if self.joins_media else ()):
            yield (self.medium_row(number, generator), self.medium_length(medium),
                   f"{'a video' if medium.type == 'video' else 'an image'} of {medium.signals} signals")

    def joined(self, module: Any, rows: Sequence[Row]) -> Features:
        """Run media as one batch."""
        data = torch.cat([features for features, _ in rows])
        lengths = torch.full((len(data),), data.shape[1], dtype=torch.int64)
        return checked(module(Features(data, lengths, self.sources[0].rate), media=[MEDIA[int(number)] for _, number in rows]))

    def features(self, module: Any, rows: Sequence[Row]) -> Features:
        """Run rows as one batch."""
        if self.joins_media:
            return self.joined(module, rows)
        count = len(self.sources)
        columns = [[row[index] for row in rows] for index in range(len(rows[0]))]
        given = [Features(padded(column), lengths_of(column), source.rate)
                 for column, source in zip(columns[:count], self.sources, strict=True)]
        if len(columns) > count:
            ids = columns[count]
            return checked(module(*given, instructions=Targets(padded(ids), lengths_of(ids))))
        return checked(module(*given))

    def outputs(self, module: Any, rows: Sequence[Row]) -> list[Row]:
        return valid(self.features(module, rows))
