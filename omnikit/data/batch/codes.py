"""The codes of an answer: from the row, or encoded from its waveform, once in a process."""

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from omnikit.contracts.codes import Code
from omnikit.contracts.protocols import Codec
from omnikit.contracts.specs import CodecSpec
from omnikit.contracts.types import Targets
from omnikit.errors import DataError

CACHE = 2 ** 28  # bytes of codes that a process holds: 370 hours of one codebook at 50 Hz


class Codes:
    """Encodes waveforms on the CPU and caches the latest results by content, up to CACHE bytes.

    Args:
        codec: copied, so that the model's own may move to an accelerator.
        sample_rate: of the waveforms that the codec takes.
    """

    def __init__(self, codec: Codec, sample_rate: int) -> None:
        self.codec = copy.deepcopy(codec)
        if isinstance(self.codec, torch.nn.Module):
            self.codec.cpu().eval()
        self.sample_rate = sample_rate
        self._known: OrderedDict[bytes, NDArray[np.int32]] = OrderedDict()
        self._bytes = 0

    @torch.no_grad()
    def __call__(self, wave: NDArray[np.float32]) -> list[Code]:
        """Give the codes of a waveform [N] at `sample_rate`, frame by frame."""
        key = hashlib.sha1(wave.tobytes(), usedforsecurity=False).digest()
        if key not in self._known:
            self._known[key] = self.codec.encode(torch.from_numpy(wave)).numpy().astype(np.int32)
            self._bytes += self._known[key].nbytes
        self._known.move_to_end(key)
        while self._bytes > CACHE and len(self._known) > 1:
            self._bytes -= self._known.popitem(last=False)[1].nbytes
        return list(map(tuple, self._known[key].tolist()))


def check_codebooks(codes: Sequence[Code], spec: CodecSpec | None, codec: str, row: str) -> None:
    """Raise DataError where a row's codes are of another number of codebooks than the codec's, or are none of its codes."""
    wrong = next((code for code in codes if spec and len(code) != spec.codebooks), None)
    if spec and wrong is not None:
        raise DataError(f"Row {row} has codes of {len(wrong)} codebooks, but {codec} has {spec.codebooks}; give the row codes"
                        " of this codec, or audio.", kind="other codes")
    worst = max((max(code) for code in codes), default=0)
    if spec and worst >= spec.cardinality:
        raise DataError(f"Row {row} has code {worst}, but {codec} has 0 to {spec.cardinality - 1}; give the row codes of this"
                        " codec, or audio.", kind="other codes")


def code_targets(rows: Sequence[Sequence[Code]], padding: int) -> Targets:
    """Give codes as targets [B, U, Q], filled on the right."""
    ids = pad_sequence([torch.tensor(codes, dtype=torch.int64) for codes in rows], batch_first=True, padding_value=padding)
    return Targets(ids, torch.tensor([len(codes) for codes in rows], dtype=torch.int64))
