"""The codes of an answer: from the row, or encoded from its waveform, once in a process."""

import copy
import hashlib

import numpy as np
import torch
from numpy.typing import NDArray

from omnikit.contracts.codes import Code
from omnikit.contracts.protocols import Codec


class Codes:
    """Encodes waveforms on the CPU and caches the result by content.

    Args:
        codec: copied, so that the model's own may move to an accelerator.
        sample_rate: of the waveforms that the codec takes.
    """

    def __init__(self, codec: Codec, sample_rate: int) -> None:
        self.codec = copy.deepcopy(codec)
        if isinstance(self.codec, torch.nn.Module):
            self.codec.cpu().eval()
        self.sample_rate = sample_rate
        self._known: dict[bytes, list[Code]] = {}

    @torch.no_grad()
    def __call__(self, wave: NDArray[np.float32]) -> list[Code]:
        """Give the codes of a waveform [N] at `sample_rate`, frame by frame."""
        key = hashlib.sha1(wave.tobytes(), usedforsecurity=False).digest()
        if key not in self._known:
            self._known[key] = list(map(tuple, self.codec.encode(torch.from_numpy(wave)).tolist()))
        return self._known[key]
