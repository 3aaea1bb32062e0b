"""EnCodec's decoders from code to code: the pieces, joined, are the waveform of all codes at once.

The causal one stores of each convolution the inputs that the next sample depends on, and the states of the LSTM. The package
mirrors the first samples where there is nothing before them, so each layer waits until it has those. The other one decodes
each segment alone, and adds what two of them share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from encodec.modules.conv import SConv1d, SConvTranspose1d
from encodec.modules.lstm import SLSTM
from encodec.modules.seanet import SEANetDecoder, SEANetResnetBlock
from torch import Tensor, nn

from omnikit_encodec.config import HOP, SEGMENT, STRIDE

FRAMES = SEGMENT // HOP  # of a whole segment


@dataclass
class LayerState:
    """State of one layer: its last inputs [1, C, n], the LSTM's states, and whether it has given anything yet."""

    inputs: Tensor | None = None
    memory: tuple[Tensor, Tensor] | None = None
    begun: bool = False


@dataclass
class CausalState:
    """State of one waveform of 24 kHz; changed in place by `speak`."""

    layers: dict[str, LayerState] = field(default_factory=dict)


@dataclass
class OverlapState:
    """State of one waveform of 48 kHz; changed in place by `join`.

    Args:
        loudness: [S] of the segments; None where it is not known.
        codes: [T, Q] that are not spoken yet.
        tail: [2, M] weighted audio that the next segment is added to.
        weights: [M] sum of its weights.
        spoken: segments.
        length: samples of the first segment, which decides the weights of all.
    """

    loudness: Tensor | None = None
    codes: Tensor | None = None
    tail: Tensor | None = None
    weights: Tensor | None = None
    spoken: int = 0
    length: int = 0


def speak(decoder: SEANetDecoder, vectors: Tensor, state: CausalState, *, last: bool) -> Tensor:
    """New vectors [1, D, N] through the causal decoder to the waveform [1, 1, M] that is certain now. Changes `state`."""
    waveform = _through(decoder.model, "", vectors, state.layers, last=last)
    if last:
        state.layers.clear()
    return waveform


def join(decode: Callable[[Tensor, Tensor | None], Tensor], codes: Tensor, state: OverlapState, *, last: bool) -> Tensor:
    """New codes [N, Q] to the waveform [2, M] that no later segment changes. Changes `state`.

    Args:
        decode: gives a segment's two sides [2, T x 320] from its codes [T, Q] and its loudness.
    """
    pending = codes if state.codes is None else torch.cat([state.codes, codes])
    found = []
    while len(pending) > FRAMES or (last and len(pending)):
        # 150 codes at the end are 149 of one segment and the one that is left of the next: see test_split
        count = FRAMES if len(pending) > FRAMES else min(len(pending), FRAMES - 1)
        found.append(_overlap(decode(pending[:count], _loudness(state)), state, last=last and count == len(pending)))
        pending = pending[count:]
    state.codes = pending
    if last:
        state.codes = state.tail = state.weights = None
        state.spoken = state.length = 0
    return torch.cat(found, -1) if found else torch.zeros(2, 0, device=codes.device)


def _loudness(state: OverlapState) -> Tensor | None:
    return None if state.loudness is None else state.loudness[state.spoken]


def _overlap(sides: Tensor, state: OverlapState, *, last: bool) -> Tensor:
    """Add a segment [2, N] to what the one before left; a triangle weighs it, as in the package."""
    state.length = state.length or sides.shape[-1]
    ramp = torch.linspace(0, 1, state.length + 2, device=sides.device, dtype=sides.dtype)[1:-1]
    weights = (0.5 - (ramp - 0.5).abs())[:sides.shape[-1]]
    sides = sides * weights
    if state.tail is not None and state.weights is not None:
        sides, weights = _added(state.tail, sides), _added(state.weights, weights)
    end = sides.shape[-1] if last else STRIDE
    state.tail, state.weights, state.spoken = sides[..., end:], weights[end:], state.spoken + 1
    return sides[..., :end] / weights[:end]


def _added(first: Tensor, second: Tensor) -> Tensor:
    size = max(first.shape[-1], second.shape[-1])
    return F.pad(first, (0, size - first.shape[-1])) + F.pad(second, (0, size - second.shape[-1]))


def _through(layer: nn.Module, name: str, x: Tensor, states: dict[str, LayerState], *, last: bool) -> Tensor:
    """New inputs [1, C, N] of a layer to the outputs [1, C', M] that are certain now."""
    if isinstance(layer, nn.Sequential):
        for index, inner in enumerate(layer):
            x = _through(inner, f"{name}.{index}", x, states, last=last)
        return x
    own = states.setdefault(name, LayerState())
    if isinstance(layer, SEANetResnetBlock):
        branch = _through(layer.block, f"{name}.block", x, states, last=last)
        straight = x if own.inputs is None else torch.cat([own.inputs, x], -1)
        own.inputs = straight[..., branch.shape[-1]:]
        found: Tensor = layer.shortcut(straight[..., :branch.shape[-1]]) if branch.shape[-1] else branch
        return found + branch
    if isinstance(layer, SConv1d):
        return _convolve(layer, x, own, last=last)
    if isinstance(layer, SConvTranspose1d):
        return _widen(layer, x, own)
    if isinstance(layer, SLSTM):
        return _remember(layer, x, own)
    alone: Tensor = layer(x)  # what is left looks at each sample alone
    return alone


def _convolve(layer: SConv1d, x: Tensor, own: LayerState, *, last: bool) -> Tensor:
    convolution = layer.conv.conv
    assert isinstance(convolution, nn.Conv1d), "the package's"
    back = (convolution.kernel_size[0] - 1) * convolution.dilation[0]
    x = x if own.inputs is None else torch.cat([own.inputs, x], -1)
    own.inputs = x[..., max(x.shape[-1] - back, 0):] if own.begun or x.shape[-1] > back else x
    enough = x.shape[-1] > back or (last and not own.begun and x.shape[-1] > 0)
    if not enough:
        return x.new_zeros(1, convolution.out_channels, 0)
    found: Tensor = layer.conv(x) if own.begun else layer(x)
    own.begun = True
    return found


def _widen(layer: SConvTranspose1d, x: Tensor, own: LayerState) -> Tensor:
    convolution, before = layer.convtr.convtr, 0 if own.inputs is None else own.inputs.shape[-1]
    assert isinstance(convolution, nn.ConvTranspose1d), "the package's"
    if not x.shape[-1]:
        return x.new_zeros(1, convolution.out_channels, 0)
    x = x if own.inputs is None else torch.cat([own.inputs, x], -1)
    own.inputs = x[..., -1:]  # a kernel is twice the stride, so a sample depends on two inputs
    found: Tensor = layer(x)
    return found[..., before * convolution.stride[0]:]


def _remember(layer: SLSTM, x: Tensor, own: LayerState) -> Tensor:
    if not x.shape[-1]:
        return x
    steps = x.permute(2, 0, 1)
    found, own.memory = layer.lstm(steps, own.memory)
    if layer.skip:
        found = found + steps
    result: Tensor = found.permute(1, 2, 0)
    return result
