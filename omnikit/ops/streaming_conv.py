"""Convolutions from piece to piece: each layer continues where it was, and computes each of its outputs once.

A layer gives the outputs that no later input can change, and stores the inputs that later outputs depend on; it does not wait
for more than its own kernel reads. Zeros stand only where the signal begins and ends, so the pieces, joined, are the outputs
for the whole signal, to float rounding, whatever the pieces are.

Layers hold weights and no state: any number of signals share them. A LayerState holds tensors and numbers alone, so it can be
copied and saved. A state has `batch` rows which advance together, with equally many new frames each; rows of different
lengths need states of their own. Frames are [B, C, 1, T] in the memory format `channels_last`. Gradients do not pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnikit.ops.packed_conv import PackedConv

SLOW = 48  # widths that are multiples: oneDNN has two orders of weights for them, and reorders some at each call
SPARE = 3  # a stored part of a longer tensor is copied if that is more than so many times as long


@dataclass
class LayerState:
    """State of one layer and of those inside it; changed by the layer's `step`.

    Args:
        inputs: [B, C, 1, n] that later outputs depend on.
        received: inputs so far.
        emitted: outputs so far.
        inner: states of the layers inside.
    """

    inputs: Tensor | None = None
    received: int = 0
    emitted: int = 0
    inner: list[LayerState] = field(default_factory=list)


class StreamingLayer(Protocol):
    """New inputs [B, C, 1, n] to the outputs [B, E, 1, m] that are certain now, with `last` to all that are left."""

    def init_state(self, batch: int) -> LayerState: ...
    def step(self, x: Tensor, state: LayerState, *, last: bool) -> Tensor: ...


class StreamingConv:
    """A convolution with stride 1.

    Args:
        weight: [E, C, K].
        bias: [E].
        padding: zeros before the signal and behind it.
        dilation: as of torch.
        before: slope of a leaky ReLU before it (0: a ReLU); None: none.
        after: the same behind it.
    """

    def __init__(self, weight: Tensor, bias: Tensor, padding: tuple[int, int], *, dilation: int = 1,
                 before: float | None = None, after: float | None = None) -> None:
        self.conv, self.padding, self.before = PackedConv(weight, bias, dilation=dilation, slope=after), padding, before

    @classmethod
    def of(cls, layer: nn.Module, *, before: float | None = None, after: float | None = None) -> StreamingConv:
        """Give a module's convolution with the weights that it has now."""
        assert isinstance(layer, nn.Conv1d) and layer.bias is not None, "a convolution with a bias"
        side, dilation = int(layer.padding[0]), layer.dilation[0]
        assert layer.stride == (1,) and layer.groups == 1 and 2 * side == (layer.kernel_size[0] - 1) * dilation, "keeps length"
        return cls(layer.weight, layer.bias, (side, side), dilation=dilation, before=before, after=after)

    def init_state(self, batch: int) -> LayerState:
        """As StreamingLayer."""
        return LayerState(_zeros(self.conv.bias, batch, self.conv.inputs, self.padding[0]))

    def step(self, x: Tensor, state: LayerState, *, last: bool) -> Tensor:
        """As StreamingLayer."""
        window, count = self.window(x, state, last=last)
        if not count:
            return _zeros(x, len(x), self.conv.width, 0)
        return self.conv(window if self.before is None else F.leaky_relu(window, self.before)).narrow(3, 0, count)

    def window(self, x: Tensor, state: LayerState, *, last: bool) -> tuple[Tensor, int]:
        """Give the inputs of the outputs that are certain now, and their number; they begin at `emitted` - padding.

        Zeros behind them bring the number of outputs to one that `PackedConv.size` gives; those outputs are not used.
        """
        assert state.inputs is not None, "begun with zeros"
        ahead = self.padding[1] if last else 0
        length = state.inputs.shape[3] + x.shape[3] + ahead
        count, state.received = max(length - self.conv.reach, 0), state.received + x.shape[3]
        zeros = ahead + self.conv.size(count) - count
        parts = [state.inputs, x, _zeros(x, len(x), x.shape[1], zeros)] if zeros else [state.inputs, x]
        window = torch.cat(parts, 3)
        if count:
            state.emitted += count
            state.inputs = _part(window, count, self.conv.reach)
        else:
            state.inputs = window
        return window, count


class StreamingConvTranspose:
    """A transposed convolution: each input is `rate` outputs, made by one convolution over the inputs that reach them.

    Args:
        layer: with a kernel that exceeds its stride by twice its padding.
        before: slope of a leaky ReLU before it; None: none.
    """

    def __init__(self, layer: nn.Module, *, before: float | None = None) -> None:
        assert isinstance(layer, nn.ConvTranspose1d) and layer.bias is not None, "a transposed convolution with a bias"
        inputs, self.width, kernel = layer.weight.shape
        self.rate, self.skipped = layer.stride[0], int(layer.padding[0])
        assert kernel == self.rate + 2 * self.skipped, "outputs are inputs x rate"
        taps, self.phases = -(-kernel // self.rate), self.rate
        if self.rate * self.width % SLOW == 0 and self.width % SLOW:
            self.phases += 1  # its outputs are zeros that nothing reads
        weight = F.pad(layer.weight.detach(), (0, taps * self.rate - kernel)).view(inputs, self.width, taps, self.rate)
        weight = F.pad(weight, (0, self.phases - self.rate))  # [C, E, taps, phases]
        weight = weight.flip(2).permute(3, 1, 0, 2).reshape(-1, inputs, taps)  # [phases x E, C, taps]: the last input first
        self.conv = StreamingConv(weight, layer.bias.repeat(self.phases), (taps - 1, taps - 1), before=before)

    def init_state(self, batch: int) -> LayerState:
        """As StreamingLayer."""
        return LayerState(inner=[self.conv.init_state(batch)])

    def step(self, x: Tensor, state: LayerState, *, last: bool) -> Tensor:
        """As StreamingLayer."""
        inside = state.inner[0]
        first = inside.emitted * self.rate - self.skipped  # of the outputs that come, counted from the signal's begin
        y = self.conv.step(x, inside, last=last)
        frames = y.permute(0, 2, 3, 1)  # [B, 1, n, phases x E]
        phases = frames.reshape(*frames.shape[:3], self.phases, self.width)[:, :, :, :self.rate]
        y = phases.flatten(2, 3).permute(0, 3, 1, 2)  # [B, E, 1, n x rate]
        skipped = min(max(-first, 0), y.shape[3])
        end = min(first + y.shape[3], inside.received * self.rate) if last else first + y.shape[3]
        return y.narrow(3, skipped, max(end - first - skipped, 0))


class StreamingResidual:
    """Convolutions one behind another, added to their input; a leaky ReLU is before each.

    Args:
        layers: which keep the length; the first one looks back as far as the others together look ahead, or further.
        slope: of the leaky ReLUs.
    """

    def __init__(self, layers: Sequence[nn.Module], slope: float) -> None:
        count = len(layers)
        self.convs = [StreamingConv.of(layer, after=slope if index < count - 1 else None)
                      for index, layer in enumerate(layers)]
        self.slope = slope
        assert self.convs[0].padding[0] >= sum(conv.padding[1] for conv in self.convs[1:]), "its inputs are stored for the sum"

    def init_state(self, batch: int) -> LayerState:
        """As StreamingLayer."""
        return LayerState(inner=[conv.init_state(batch) for conv in self.convs])

    def step(self, x: Tensor, state: LayerState, *, last: bool) -> Tensor:
        """As StreamingLayer."""
        first, end = state.inner[0], state.inner[-1]
        offset = end.emitted - first.emitted + self.convs[0].padding[0]  # of the next output in the window
        inputs, count = self.convs[0].window(x, first, last=last)
        window = F.leaky_relu(inputs, self.slope)
        for index, conv in enumerate(self.convs[1:]):
            if not count:
                return x.narrow(3, 0, 0)
            hidden = self.convs[index].conv(window).narrow(3, 0, count)
            window, count = conv.window(hidden, state.inner[index + 1], last=last)
        if not count:
            return x.narrow(3, 0, 0)
        return self.convs[-1].conv(window).narrow(3, 0, count).add_(inputs.narrow(3, offset, count))


class StreamingSequence:
    """Layers one behind another."""

    def __init__(self, layers: Sequence[StreamingLayer]) -> None:
        self.layers = layers

    def init_state(self, batch: int) -> LayerState:
        """As StreamingLayer."""
        return LayerState(inner=[layer.init_state(batch) for layer in self.layers])

    def step(self, x: Tensor, state: LayerState, *, last: bool) -> Tensor:
        """As StreamingLayer."""
        for layer, inner in zip(self.layers, state.inner, strict=True):
            x = layer.step(x, inner, last=last)
        return x


class StreamingMean:
    """The mean of layers beside each other; outputs of one that is ahead of the others wait for theirs."""

    def __init__(self, layers: Sequence[StreamingLayer]) -> None:
        self.layers = layers

    def init_state(self, batch: int) -> LayerState:
        """As StreamingLayer."""
        return LayerState(inner=[LayerState(inner=[layer.init_state(batch)]) for layer in self.layers])

    def step(self, x: Tensor, state: LayerState, *, last: bool) -> Tensor:
        """As StreamingLayer."""
        outputs = []
        for layer, waiting in zip(self.layers, state.inner, strict=True):
            y = layer.step(x, waiting.inner[0], last=last)
            outputs.append(y if waiting.inputs is None else torch.cat([waiting.inputs, y], 3))
        count = min(y.shape[3] for y in outputs)
        for y, waiting in zip(outputs, state.inner, strict=True):
            waiting.inputs = _part(y, count, y.shape[3] - count) if y.shape[3] > count else None
        first, *others = (y.narrow(3, 0, count) for y in outputs)
        if not others:
            return first
        total = first + others[0]
        for y in others[1:]:
            total += y
        return total.mul_(1 / len(outputs))


class FrameWise:
    """A function of each frame alone, which keeps their number."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def init_state(self, batch: int) -> LayerState:
        """As StreamingLayer."""
        return LayerState()

    def step(self, x: Tensor, state: LayerState, *, last: bool) -> Tensor:
        """As StreamingLayer."""
        return self.function(x)


def channels_last(x: Tensor) -> Tensor:
    """Give frames [B, C, T] as the layers take them, [B, C, 1, T]."""
    return x[:, :, None].contiguous(memory_format=torch.channels_last)


def in_pieces(step: Callable[[Tensor, bool], Tensor], x: Tensor, most: int, *, last: bool) -> Tensor:
    """Give the outputs of `step` for x in equal pieces of at most `most` frames: what lies between layers fits into caches."""
    count = max(-(-x.shape[3] // most), 1)
    pieces = x.tensor_split(count, 3)
    outputs = [step(piece, last and index == count - 1) for index, piece in enumerate(pieces)]
    return torch.cat(outputs, 3) if count > 1 else outputs[0]


def _zeros(like: Tensor, batch: int, width: int, count: int) -> Tensor:
    return like.new_zeros(batch, 1, count, width).permute(0, 3, 1, 2)


def _part(x: Tensor, start: int, count: int) -> Tensor:
    """Give `count` frames of x, copied if they would keep much more memory than they need."""
    part = x.narrow(3, start, count)
    return part if x.shape[3] <= SPARE * count else part.clone(memory_format=torch.channels_last)
