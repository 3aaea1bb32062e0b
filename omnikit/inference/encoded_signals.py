"""Features of signals that were encoded before their prompt is made: of a question, while it was spoken."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from omnikit.contracts.types import Batch, Features, Signal

MOST = 4  # signals of a conversation that features are there for


class EncodedSignals:
    """Owns projected features by branch and signal; the oldest go."""

    def __init__(self) -> None:
        self._features: dict[str, Features] = {}

    def keep(self, branch: str, signal: Signal, features: Features) -> None:
        """Take the features [1, T, D] of a signal [1, N], of which all is valid."""
        self._features[f"{branch} {signal_digest(signal, 0)}"] = features
        while len(self._features) > MOST:
            del self._features[next(iter(self._features))]

    def given(self, batch: Batch) -> dict[str, Features]:
        """Give the features of each branch whose signals are all here, by the points of omnikit.taps.Taps."""
        found = {}
        for branch, signal in batch.signals.items():
            keys = [f"{branch} {signal_digest(signal, number)}" for number in range(len(signal.lengths))]
            if all(key in self._features for key in keys):
                found[f"{branch}.projector"] = joined(self._features[key] for key in keys)
        return found


def joined(features: Iterable[Features]) -> Features:
    """Give the features [1, T, D] of several signals as one padded batch."""
    each = list(features)
    longest = max(one.data.shape[1] for one in each)
    data = torch.cat([F.pad(one.data, (0, 0, 0, longest - one.data.shape[1])) for one in each])
    return Features(data, torch.cat([one.lengths for one in each]), each[0].rate)


def signal_digest(signal: Signal, number: int) -> str:
    """Hash what is valid of a signal."""
    data: Tensor = signal.data[number]
    valid = data[:int(signal.lengths[number])] if data.ndim == 1 else data
    return hashlib.blake2b(f"{data.dtype} {tuple(valid.shape)}".encode() + valid.numpy().tobytes(), digest_size=16).hexdigest()
