"""Which text the audio of an answer holds: text to codes by what its head read, codes to samples by its codec."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omnikit.contracts.codes import Code
from omnikit.contracts.protocols import Codec
from omnikit.contracts.specs import CodecSpec
from omnikit.contracts.streaming import TimedCodec

CONTEXT = 8  # codes to each side that a duration may depend on; of unit_hifigan 2

Mark = tuple[int, int]  # (sample, characters)


class CodeTiming:
    """Owns the sample at which each code of an answer ends, as far as it is certain.

    Codes of equal length end where their number puts them. Of merged codes the codec gives the durations; one that cannot is
    taken to end its codes with the segment that they came with.

    Args:
        independent: each segment is a waveform of its own.
    """

    def __init__(self, spec: CodecSpec, codec: Codec, *, independent: bool) -> None:
        self._hop, self._merged = spec.sample_rate / spec.rate, spec.merged
        self._timed, self._independent = codec if isinstance(codec, TimedCodec) else None, independent
        self.ends: list[int] = []
        self._frames = 0  # of the codes that end certainly
        self._codes: list[int] = []  # context, then the codes without an end
        self._done = 0  # of these, how many have one
        self._samples = 0

    def push(self, codes: Sequence[Code], samples: int, device: torch.device, *, last: bool) -> None:
        """Take the codes of a segment and the number of samples that came with it."""
        self._samples += samples
        if not self._merged:
            count = len(self.ends)
            self.ends += [int((count + number + 1) * self._hop) for number in range(len(codes))]
        elif self._timed is None:
            self.ends += [self._samples] * len(codes)
        else:
            self._codes += [code[0] for code in codes]
            if self._codes:
                self._time(self._timed, torch.tensor(self._codes, device=device), last=last or self._independent)

    def _time(self, codec: TimedCodec, codes: Tensor, *, last: bool) -> None:
        known = len(codes) if last else max(len(codes) - CONTEXT, self._done)
        with torch.no_grad():
            durations: list[int] = codec.durations(codes)[self._done:known].tolist()
        for frames in durations:
            self._frames += frames
            self.ends.append(int(self._frames * self._hop))
        forgotten = len(codes) if last else max(known - CONTEXT, 0)
        self._codes, self._done = self._codes[forgotten:], known - forgotten


class TextMarks:
    """Owns which codes hold which text, until it is certain where the codes end."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int]] = []  # (codes, characters)

    def note(self, codes: int, characters: int) -> None:
        """Take that the first `codes` codes hold the first `characters` characters of the answer."""
        self._waiting.append((codes, characters))

    def take(self, ends: Sequence[int]) -> tuple[Mark, ...]:
        """Give the marks that are certain now, in order, one for each sample."""
        found: dict[int, int] = {}
        while self._waiting and self._waiting[0][0] <= len(ends):
            codes, characters = self._waiting.pop(0)
            found[ends[codes - 1] if codes else 0] = characters
        return tuple(found.items())
