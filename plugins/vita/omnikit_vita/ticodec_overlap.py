"""TiCodec's speech piece by piece as the original has it: overlapping chunks decoded, and the waveform cut where it is quiet.

The joined pieces differ a little from the waveform of all codes at once: a chunk's context ends at its padding.
Source: the settings of VITA-1.5's speech decoder (40 codes a chunk, 20 in the first sentence, 10 on each side).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from omnikit_vita.ticodec import TiCodec


class Overlapped:
    """State of speech, sentence by sentence: codes that wait or are context, and a waveform that waits for a quiet position.

    Args:
        config: sizes of chunks, and what is quiet.
        decode: codes [N, Q] to their waveform [N x samples of a frame].
    """

    def __init__(self, config: TiCodec, decode: Callable[[Tensor], Tensor]) -> None:
        self.config, self.decode, self.first = config, decode, True
        self.codes: Tensor | None = None
        self.context = 0  # codes at the front that were spoken already
        self.waiting = torch.zeros(0)

    def step(self, codes: Tensor, *, last: bool) -> Tensor:
        """New codes [N, Q] to the waveform [M] up to a quiet place; the last ones give all that is left and end a sentence."""
        self.codes = codes if self.codes is None else torch.cat([self.codes, codes])
        pieces = []
        while (chunk := self._chunk()) is not None:
            pieces.append(self._cut(chunk))
        if last:
            rest = self.decode(self.codes)[self.context * self.config.hop:]
            pieces.append(torch.cat([self.waiting.to(rest), rest]))
            self.first, self.codes, self.context, self.waiting = False, None, 0, self.waiting[:0]
        return torch.cat(pieces) if pieces else torch.zeros(0, device=codes.device)

    def _chunk(self) -> Tensor | None:
        """Give the waveform of the next chunk if its codes and those of its padding are there."""
        config = self.config
        size = config.first_chunk if self.first else config.chunk
        assert self.codes is not None, "the chunks are asked for when there are codes"
        if len(self.codes) < self.context + size + config.padding:
            return None
        given = self.codes[:self.context + size + config.padding]
        waveform = self.decode(given)[self.context * config.hop:(self.context + size) * config.hop]
        self.codes = self.codes[max(self.context + size - config.padding, 0):]
        self.context = min(config.padding, self.context + size)
        return waveform

    def _cut(self, waveform: Tensor) -> Tensor:
        """Add a chunk's waveform [N] to what waits; give all of it up to a quiet place in the chunk, if there is one."""
        config, whole = self.config, torch.cat([self.waiting.to(waveform), waveform])
        place = quiet(waveform, config.quiet_window, config.first_threshold if self.first else config.quiet_threshold)
        end = 0 if place is None else len(whole) - len(waveform) + place
        self.waiting = whole[end:]
        return whole[:end]


def quiet(waveform: Tensor, window: int, threshold: float) -> int | None:
    """Give the place of the smallest amplitude from the quietest window of the second half on; None where that is too loud.

    The original means the search to end with that window, but counts its end from a begin that has the first half in it
    already, which is never before the end of the chunk; so does this.
    """
    size, half = waveform.abs(), len(waveform) // 2
    window = min(window, len(waveform) - half)
    if not window:
        return None
    means = F.avg_pool1d(size[None, None, half:], window, 1)[0, 0]
    index = int(means.argmin())
    if float(means[index]) >= threshold:
        return None
    start = half + index
    return start + int(size[start:].argmin())
