"""The unit vocoder from segment to segment: the pieces, joined, are the wave that `decode` gives of all units at once.

A unit's duration is fixed when the units that its predictor reads are there, and its frames then go to the generator; each
layer of both continues where it was, so that nothing is computed twice. See omnikit.ops.streaming_conv.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from omnikit.ops.durations import rounded_durations
from omnikit.ops.streaming_conv import (
    FrameWise,
    LayerState,
    StreamingConv,
    StreamingConvTranspose,
    StreamingLayer,
    StreamingMean,
    StreamingResidual,
    StreamingSequence,
    channels_last,
    in_pieces,
)
from omnikit_llama_omni.vocoder_layers import SLOPE, DurationPredictor, ResidualBlock

if TYPE_CHECKING:
    from omnikit_llama_omni.vocoder import UnitVocoder

LAST_SLOPE = 0.01  # torch's, of the last leaky ReLU
MOST = 40  # frames at once: more need memory that a processor's caches do not have


@dataclass
class VocoderState:
    """State of one waveform; changed in place by the vocoder's `step`.

    Args:
        units: [U] that have no duration yet.
        predictor: of the duration predictor's layers; None where there is none, or no waveform has begun.
        generator: of the generator's layers; None where no waveform has begun.
    """

    units: Tensor
    predictor: LayerState | None = None
    generator: LayerState | None = None

    @classmethod
    def empty(cls, device: torch.device) -> VocoderState:
        """Give the state of a wave of which nothing was spoken."""
        return cls(torch.zeros(0, dtype=torch.int64, device=device))


class StreamingVocoder:
    """A vocoder's layers with the weights that it has now; it holds no state, so that any number of waveforms share it."""

    def __init__(self, vocoder: UnitVocoder) -> None:
        self.table = vocoder.dict.weight.detach()
        self.frames = vocoder.with_speaker(self.table).detach()  # what the generator reads of a unit
        self.predictor = None if vocoder.dur_predictor is None else _predictor(vocoder.dur_predictor)
        self.generator = _generator(vocoder)

    def step(self, units: Tensor, state: VocoderState, *, last: bool) -> Tensor:
        """Take valid new units [N]; give the wave [M] that is certain now. After the last ones the state is as new."""
        if state.generator is None:
            if not len(units):
                return self.table.new_zeros(0)
            state.predictor = self.predictor.init_state(1) if self.predictor else None
        generator = state.generator = state.generator or self.generator.init_state(1)
        frames = _embedded(self.frames, self._timed(units, state, last=last))
        wave = in_pieces(lambda x, end: self.generator.step(x, generator, last=end), frames, MOST, last=last)[0, 0, 0].tanh()
        if last:
            state.units, state.predictor, state.generator = state.units[:0], None, None
        return wave

    def _timed(self, units: Tensor, state: VocoderState, *, last: bool) -> Tensor:
        """Give the units [F], one for each frame, whose durations are certain now."""
        if self.predictor is None or state.predictor is None:
            return units
        log_durations = self.predictor.step(_embedded(self.table, units), state.predictor, last=last)[0, 0, 0]
        waiting, count = torch.cat([state.units, units]), len(log_durations)
        state.units = waiting[count:]
        return waiting[:count].repeat_interleave(rounded_durations(log_durations.exp() - 1, "unit_hifigan"))


def _embedded(table: Tensor, units: Tensor) -> Tensor:
    return channels_last(table[units][None].transpose(1, 2))


def _generator(vocoder: UnitVocoder) -> StreamingSequence:
    layers: list[StreamingLayer] = [StreamingConv.of(vocoder.conv_pre)]
    count, blocks = len(vocoder.config.block_kernels), [_block(block) for block in vocoder.resblocks]
    for index, up in enumerate(vocoder.ups):
        layers += [StreamingConvTranspose(up, before=SLOPE), StreamingMean(blocks[index * count:(index + 1) * count])]
    return StreamingSequence([*layers, StreamingConv.of(vocoder.conv_post, before=LAST_SLOPE)])


def _block(block: nn.Module) -> StreamingSequence:
    assert isinstance(block, ResidualBlock), "the generator's blocks"
    return StreamingSequence([StreamingResidual(pair, SLOPE) for pair in zip(block.convs1, block.convs2, strict=True)])


def _predictor(predictor: DurationPredictor) -> StreamingSequence:
    """Give its layers without the dropout: embedded units to log(frames + 1) [B, 1, 1, T]."""
    return StreamingSequence([
        StreamingConv.of(predictor.conv1[0], after=0.0), _on_channels(predictor.ln1),
        StreamingConv.of(predictor.conv2[0], after=0.0), _on_channels(predictor.ln2), _on_channels(predictor.proj)])


def _on_channels(layer: nn.Module) -> FrameWise:
    """Give a layer that takes [..., C] as one of frames."""
    return FrameWise(lambda x: layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
