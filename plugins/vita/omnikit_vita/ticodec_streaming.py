"""TiCodec's generator from segment to segment: each layer continues where it was, so that each code is decoded once.

The pieces, joined, are the waveform that `decode` gives, to float rounding; see omnikit.ops.streaming_conv.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from omnikit.ops.streaming_conv import (
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
from omnikit_vita.ticodec_layers import SLOPE, Generator, PairedBlock, PlainBlock

MOST = 24  # codes at once: more need memory that a processor's caches do not have


@dataclass
class ExactState:
    """State of one waveform that is decoded piece by piece, changed by `step`.

    Args:
        voice: [1, global_dim, 1, 1] that it speaks with.
        layers: of the generator; None where no waveform has begun.
    """

    voice: Tensor
    layers: LayerState | None = None


class StreamingGenerator:
    """A generator with the weights that it has now; it holds no state, so that any number of waveforms share it."""

    def __init__(self, generator: Generator) -> None:
        self.layers: list[StreamingLayer] = [StreamingConv.of(generator.conv_pre)]
        self.voiced: set[int] = set()  # layers to whose outputs the voice is added
        blocks = [_block(block) for block in generator.resblocks]
        for index, up in enumerate(generator.ups):
            assert isinstance(up, nn.ConvTranspose1d), "upsamplings are built so"
            parallel = StreamingMean(blocks[index * generator.blocks:(index + 1) * generator.blocks])
            self.layers += [StreamingConvTranspose(up, before=SLOPE), parallel]
            if up.out_channels == generator.global_dim:
                self.voiced.add(len(self.layers) - 1)
        self.layers.append(StreamingConv.of(generator.conv_post, before=SLOPE))

    def step(self, frames: Tensor, state: ExactState, *, last: bool) -> Tensor:
        """New frames [1, dim, n] to the waveform [M] that is certain now; after the last ones it starts again."""
        if state.layers is None and not frames.shape[2]:
            return frames.new_zeros(0)
        layers = state.layers or LayerState(inner=[layer.init_state(1) for layer in self.layers])

        def through(x: Tensor, last: bool) -> Tensor:
            for index, (layer, inner) in enumerate(zip(self.layers, layers.inner, strict=True)):
                x = layer.step(x, inner, last=last)
                x = x + state.voice if index in self.voiced else x
            return x

        waveform = in_pieces(through, channels_last(frames), MOST, last=last)[0, 0, 0].tanh()
        state.layers = None if last else layers
        return waveform


def _block(block: nn.Module) -> StreamingLayer:
    if isinstance(block, PairedBlock):
        pairs = zip(block.convs1, block.convs2, strict=True)
        return StreamingSequence([StreamingResidual(pair, SLOPE) for pair in pairs])
    assert isinstance(block, PlainBlock), "there are two kinds of blocks"
    return StreamingSequence([StreamingResidual([layer], SLOPE) for layer in block.convs])
