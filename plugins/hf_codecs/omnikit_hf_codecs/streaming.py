"""Mimi's decoder from segment to segment: transformers' own layers, whose convolutions all look back only.

The wave is that of all codes at once, to float rounding: convolutions continue on their last inputs, transposed ones add what
the segment before reaches into this one, and the transformer attends to keys and values of earlier frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache
from transformers.models.mimi.modeling_mimi import MimiConv1d, MimiConvTranspose1d, MimiDecoderModel, MimiResnetBlock


@dataclass
class MimiState:
    """What later segments depend on.

    Args:
        cache: keys and values of the decoder's transformer; None before the first segment.
        overlaps: convolution → its last inputs, or what a transposed one gives beyond its inputs, [1, C, n].
    """

    cache: DynamicCache | None = None
    overlaps: dict[nn.Module, Tensor] = field(default_factory=dict)


def decode(decoder: MimiDecoderModel, latents: Tensor, state: MimiState) -> Tensor:
    """Latents [1, D, T] behind what `state` holds to their samples [1, 1, N]. Changes `state`."""
    state.cache = state.cache or DynamicCache(config=decoder.config)
    x = latents if decoder.upsample is None else _transposed(decoder.upsample, latents, state)
    found = decoder.decoder_transformer(x.transpose(1, 2), past_key_values=state.cache, use_cache=True)
    return _sequence(decoder.decoder_seanet.layers, found.last_hidden_state.transpose(1, 2), state)


def _sequence(layers: nn.ModuleList, x: Tensor, state: MimiState) -> Tensor:
    for layer in layers:
        if isinstance(layer, MimiConv1d):
            x = _conv(layer, x, state)
        elif isinstance(layer, MimiConvTranspose1d):
            x = _transposed(layer, x, state)
        elif isinstance(layer, MimiResnetBlock):
            beside = _conv(layer.shortcut, x, state) if isinstance(layer.shortcut, MimiConv1d) else x
            x = beside + _sequence(layer.block, x, state)
        else:
            x = layer(x)
    return x


def _conv(layer: MimiConv1d, x: Tensor, state: MimiState) -> Tensor:
    """Convolve [1, C, T] behind the inputs before, zeros at the wave's begin."""
    assert layer.causal and layer.conv.stride == (1,) and layer.pad_mode == "constant", "as Mimi's decoder has them"
    reach = (layer.conv.kernel_size[0] - 1) * layer.conv.dilation[0]
    if reach:
        x = torch.cat([state.overlaps.get(layer, x.new_zeros(*x.shape[:2], reach)), x], 2)
        state.overlaps[layer] = x[:, :, -reach:]
    result: Tensor = layer.conv(x)
    return result


def _transposed(layer: MimiConvTranspose1d, x: Tensor, state: MimiState) -> Tensor:
    """Convolve [1, C, T] to [1, E, T x stride]; what lies beyond is added to the next segment, at the wave's end dropped."""
    assert layer.causal and layer.padding_left == 0, "as Mimi's decoder has them"
    y, end = layer.conv(x), x.shape[2] * layer.conv.stride[0]
    before = state.overlaps.get(layer)
    if before is not None:
        y = torch.cat([y[:, :, :before.shape[2]] + before, y[:, :, before.shape[2]:]], 2)
    beyond = y[:, :, end:]
    state.overlaps[layer] = beyond if layer.conv.bias is None else beyond - layer.conv.bias[:, None]
    result: Tensor = y[:, :, :end]
    return result
