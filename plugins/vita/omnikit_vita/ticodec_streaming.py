"""TiCodec's generator from segment to segment: each layer continues where it was, so that each code is decoded once.

A layer gives what no later input can change and stores the inputs that later outputs depend on; zeros stand only where
the waveform really begins and ends. The pieces, joined, are the waveform that `decode` gives, to float rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnikit_vita.ticodec_layers import SLOPE, Generator, PairedBlock, PlainBlock


class Flow(Protocol):
    """A layer with its state: new inputs [1, C, n] to the outputs [1, C', m] that are certain now, with `last` all."""

    def __call__(self, x: Tensor, *, last: bool) -> Tensor: ...


class Convolution:
    """A convolution that keeps the length; its weights are read once, so that weight norm is not computed at each call."""

    def __init__(self, layer: nn.Module) -> None:
        assert isinstance(layer, nn.Conv1d) and isinstance(layer.padding[0], int), "layers are built with numbers"
        self.weight, self.bias, self.dilation = layer.weight.detach(), layer.bias, layer.dilation[0]
        self.reach, self.padding = (layer.kernel_size[0] - 1) * self.dilation, layer.padding[0]
        self.held = self.weight.new_zeros(1, layer.in_channels, self.padding)

    def __call__(self, x: Tensor, *, last: bool) -> Tensor:
        """As Flow."""
        x = torch.cat([self.held, x, x.new_zeros(1, x.shape[1], self.padding if last else 0)], -1)
        count = max(x.shape[-1] - self.reach, 0)
        self.held = x[..., count:]
        if not count:
            return x.new_zeros(1, len(self.weight), 0)
        return F.conv1d(x, self.weight, self.bias, dilation=self.dilation)


class Upsampling:
    """A transposed convolution; what an input adds to outputs of later ones is stored."""

    def __init__(self, layer: nn.Module) -> None:
        assert isinstance(layer, nn.ConvTranspose1d) and layer.bias is not None, "upsamplings are built so"
        self.weight, self.bias = layer.weight.detach(), layer.bias[:, None]
        self.rate, self.padding = layer.stride[0], int(layer.padding[0])
        self.tail = self.weight.new_zeros(1, layer.out_channels, layer.kernel_size[0] - self.rate)
        self.skip = self.padding  # outputs before the waveform begins

    def __call__(self, x: Tensor, *, last: bool) -> Tensor:
        """As Flow."""
        overlap, y = self.tail.shape[-1], self.tail
        if x.shape[-1]:
            y = F.conv_transpose1d(x, self.weight, None, self.rate)
            y[..., :overlap] += self.tail
        certain = y.shape[-1] - overlap
        self.tail = y[..., certain:]
        y = y[..., self.skip:certain + (overlap - self.padding if last else 0)]
        self.skip = max(self.skip - certain, 0)
        return y + self.bias


class Sum:
    """Adds flows of which some are ahead; what has no partner yet waits."""

    def __init__(self, count: int) -> None:
        self.waiting: list[Tensor | None] = [None] * count

    def __call__(self, new: Sequence[Tensor]) -> Tensor:
        """Add up new pieces [1, C, n], as far as all flows have come."""
        whole = [torch.cat([old, piece], -1) if old is not None and old.shape[-1] else piece  # a flow behind never waits
                 for old, piece in zip(self.waiting, new, strict=True)]
        count = min(piece.shape[-1] for piece in whole)
        self.waiting = [piece[..., count:] for piece in whole]
        total = whole[0][..., :count]
        for piece in whole[1:]:
            total = total + piece[..., :count]
        return total


class Residual:
    """One residual step: its input, added to what its convolutions make of it."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self.layers, self.sum = [Convolution(layer) for layer in layers], Sum(2)

    def __call__(self, x: Tensor, *, last: bool) -> Tensor:
        """As Flow."""
        y = x
        for layer in self.layers:
            y = layer(F.leaky_relu(y, SLOPE), last=last)
        return self.sum([x, y])


class Chain:
    """Flows one behind the other."""

    def __init__(self, flows: Sequence[Flow]) -> None:
        self.flows = flows

    def __call__(self, x: Tensor, *, last: bool) -> Tensor:
        """As Flow."""
        for flow in self.flows:
            x = flow(x, last=last)
        return x


class Stage:
    """An upsampling with the parallel blocks behind it, and the voice where it is added."""

    def __init__(self, up: nn.Module, blocks: Sequence[nn.Module], voice: Tensor | None) -> None:
        self.up, self.blocks, self.sum = Upsampling(up), [_block(block) for block in blocks], Sum(len(blocks))
        self.voice = voice

    def __call__(self, x: Tensor, *, last: bool) -> Tensor:
        """As Flow."""
        x = self.up(F.leaky_relu(x, SLOPE), last=last)
        x = self.sum([block(x, last=last) for block in self.blocks]) / len(self.blocks)
        return x if self.voice is None else x + self.voice


class Ending:
    """The generator's last convolution."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = Convolution(layer)

    def __call__(self, x: Tensor, *, last: bool) -> Tensor:
        """As Flow."""
        return self.layer(F.leaky_relu(x, SLOPE), last=last)


class Exact:
    """State of one waveform that is decoded piece by piece; `step` changes it.

    Args:
        generator: whose weights are read when a waveform begins.
        embed: codes [1, N, Q] to frames [1, dim, N].
        voice: [global_dim].
    """

    def __init__(self, generator: Generator, embed: Callable[[Tensor], Tensor], voice: Tensor) -> None:
        self.generator, self.embed, self.voice = generator, embed, voice
        self.flow: Flow | None = None  # of the waveform that has begun

    def step(self, codes: Tensor, *, last: bool) -> Tensor:
        """New codes [N, Q] to the waveform [M] that is certain now; after the last ones it starts again."""
        if self.flow is None and not len(codes):
            return self.voice.new_zeros(0)
        self.flow = self.flow or begun(self.generator, self.voice)
        waveform = self.flow(self.embed(codes[None]), last=last).tanh()[0, 0]
        if last:
            self.flow = None
        return waveform


def begun(generator: Generator, voice: Tensor) -> Flow:
    """Give a generator as a flow of frames [1, dim, n], with the weights it has now, in a voice [global_dim]."""
    flows: list[Flow] = [Convolution(generator.conv_pre)]
    blocks = list(generator.resblocks)
    for index, up in enumerate(generator.ups):
        assert isinstance(up, nn.ConvTranspose1d), "upsamplings are built so"
        shift = voice[:, None] if up.out_channels == generator.global_dim else None
        flows.append(Stage(up, blocks[index * generator.blocks:(index + 1) * generator.blocks], shift))
    return Chain([*flows, Ending(generator.conv_post)])


def _block(block: nn.Module) -> Flow:
    if isinstance(block, PairedBlock):
        return Chain([Residual(pair) for pair in zip(block.convs1, block.convs2, strict=True)])
    assert isinstance(block, PlainBlock), "there are two kinds of blocks"
    return Chain([Residual([layer]) for layer in block.convs])
