"""Encoders: clips of audio, images, or places of learned vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from omnikit.contracts.types import Features, Signal
from omnikit.errors import OmnikitError
from omnikit.testing.probe import Probe, Row, lengths_of, padded
from omnikit.testing.results import CheckFailure

SECONDS = (0.83, 0.61, 0.4)  # of the rows of a batch, where a component takes clips so short
LONGER = 4  # times as long, for a component that takes no shorter ones
LOUDNESS = 0.1  # mean amplitude of a clip


class EncoderProbe(Probe):
    """Signals to features."""

    def make(self) -> Any:
        return self.config.build()

    @property
    def timed(self) -> bool:
        """Whether its signal has samples in time."""
        return self.config.input.rate is not None

    def rows(self, seed: int = 0) -> list[Row]:
        generator = torch.Generator().manual_seed(seed)
        if not self.timed:
            shape = self.config.input.shape or (1,)
            return [(torch.randn(shape, generator=generator),) for _ in SECONDS]
        rate = float(self.config.input.rate)
        factor = 1 if self.takes(int(rate * min(SECONDS))) else LONGER
        return [(self.clip(int(factor * seconds * rate), generator),) for seconds in SECONDS]

    def clip(self, samples: int, generator: torch.Generator) -> Tensor:
        """Give noise [samples] that is louder and softer in turns."""
        swell = 1 + 0.5 * torch.sin(torch.arange(samples) * (20 / float(self.config.input.rate)))
        return LOUDNESS * swell * torch.randn(samples, generator=generator)

    def takes(self, samples: int) -> bool:
        """Say whether its `length` gives at least one vector for so many samples."""
        return (self.count(samples) or 0) > 0

    def count(self, samples: int) -> int | None:
        """Give what its `length` gives; None where it refuses so many samples."""
        try:
            return int(self.config.length(samples))
        except OmnikitError:
            return None

    def features(self, module: Any, rows: Sequence[Row]) -> Features:
        """Run rows as one batch."""
        signals = [row[0] for row in rows]
        if not self.timed:
            return checked(module(Signal(torch.stack(signals), torch.ones(len(rows), dtype=torch.int64))))
        return checked(module(Signal(padded(signals), lengths_of(signals))))

    def outputs(self, module: Any, rows: Sequence[Row]) -> list[Row]:
        return valid(self.features(module, rows))


def checked(found: object) -> Features:
    """Give what a module gave, which must be Features [B, T, D] with lengths [B]."""
    if not isinstance(found, Features):
        raise CheckFailure(f"its module gives {type(found).__name__}, but must give omnikit.contracts.types.Features")
    if found.data.ndim != 3 or found.lengths.shape != found.data.shape[:1]:
        raise CheckFailure(f"its module gives data of shape {list(found.data.shape)} and lengths of shape"
                           f" {list(found.lengths.shape)}, but must give [B, T, D] and [B]")
    return found


def valid(features: Features) -> list[Row]:
    """Give each row's vectors without the padding."""
    return [(row[:length],) for row, length in zip(features.data, features.lengths.tolist(), strict=True)]
