"""The unit vocoder from segment to segment: the pieces, joined, are the wave that `decode` gives of all units at once.

A unit's duration is fixed when the units that its predictor looks at are there; a frame is spoken when the frames that the
generator looks at are there. Zeros stand only where the waveform begins and ends. Only that context is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from omnikit_llama_omni.config import UnitHiFiGAN
    from omnikit_llama_omni.vocoder import UnitVocoder

EDGE = 3  # frames that the first and the last convolution of the generator, of kernel 7, look to each side


@dataclass
class VocoderState:
    """State of one waveform; changed in place by the vocoder's `step`.

    Args:
        units: [U] context of the duration predictor, then the units that have no duration yet.
        timed: how many of `units` have one.
        frames: [F] context of the generator, then the frames that were not spoken yet, one unit each.
        spoken: how many of `frames` were.
    """

    units: Tensor
    frames: Tensor
    timed: int = 0
    spoken: int = 0

    @classmethod
    def empty(cls, device: torch.device) -> VocoderState:
        """Give the state of a wave of which nothing was spoken."""
        return cls(torch.zeros(0, dtype=torch.int64, device=device), torch.zeros(0, dtype=torch.int64, device=device))


def advance(vocoder: UnitVocoder, codes: Tensor, state: VocoderState, *, last: bool) -> Tensor:
    """Take valid new units [N]; give the wave [M] that is certain now. After the last ones the state is empty again."""
    _time(vocoder, codes, state, last=last)
    wave = _speak(vocoder, state, last=last)
    if last:
        fresh = VocoderState.empty(codes.device)
        state.units, state.frames, state.timed, state.spoken = fresh.units, fresh.frames, 0, 0
    return wave


def reach(config: UnitHiFiGAN) -> tuple[int, int]:
    """Give how many frames before and after a frame its samples depend on: the generator's layers, from last to first."""
    first, last = -EDGE, prod(config.rates) - 1 + EDGE  # of what goes into the last convolution, for the samples of frame 0
    block = max(sum((kernel - 1) // 2 * (dilation + 1) for dilation in dilations) for kernel, dilations in config.blocks)
    for rate, kernel in zip(reversed(config.rates), reversed(config.kernels), strict=True):
        padding = (kernel - rate) // 2
        first, last = first - block, last + block
        # input i of a transposed convolution reaches outputs i x rate - padding to i x rate - padding + kernel - 1
        first, last = -((kernel - 1 - padding - first) // rate), (last + padding) // rate
    return EDGE - first, EDGE + last


def duration_reach(predictor: nn.Module | None) -> int:
    """Give how many units to each side a duration depends on: each convolution adds half its kernel."""
    layers = predictor.modules() if predictor is not None else ()
    return sum(layer.kernel_size[0] // 2 for layer in layers if isinstance(layer, nn.Conv1d))


def _time(vocoder: UnitVocoder, codes: Tensor, state: VocoderState, *, last: bool) -> None:
    """Give units their durations, as far as their neighbours are known, and their frames a place in the queue."""
    side, units = duration_reach(vocoder.dur_predictor), torch.cat([state.units, codes])
    known = len(units) if last else max(len(units) - side, state.timed)
    if known > state.timed:
        durations = vocoder.durations(units)[state.timed:known]
        state.frames = torch.cat([state.frames, units[state.timed:known].repeat_interleave(durations)])
    forgotten = max(known - side, 0)
    state.units, state.timed = units[forgotten:], known - forgotten


def _speak(vocoder: UnitVocoder, state: VocoderState, *, last: bool) -> Tensor:
    """Speak the frames whose right context is there, and forget what no later frame looks at."""
    (before, after), hop, frames = reach(vocoder.config), prod(vocoder.config.rates), state.frames
    known = len(frames) if last else max(len(frames) - after, state.spoken)
    if known == state.spoken:
        return torch.zeros(0, device=frames.device)
    wave = vocoder.waveform(frames)[state.spoken * hop:known * hop]
    forgotten = max(known - before, 0)
    state.frames, state.spoken = frames[forgotten:], known - forgotten
    return wave
