"""Layers whose matrices are read as 8-bit numbers, for speaking on a CPU: a code takes as long as its weights take to read.

Knows no training: gradients do not pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from omnikit_vita.nar_ar import NarAr
from omnikit_vita.nar_ar_layers import Layer


class Packed(nn.Module):
    """A matrix in 8 bits, each row with a scale of its own; what it multiplies is rounded to 8 bits as it comes."""

    def __init__(self, matrix: nn.Linear) -> None:
        super().__init__()
        weights = matrix.weight.detach().float().cpu()
        scales = (weights.abs().amax(1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
        stored = torch.quantize_per_channel(weights, scales, torch.zeros(len(weights), dtype=torch.int64), 0, torch.qint8)
        self.stored = torch.ops.quantized.linear_prepack(stored, None)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D] float32 to [..., E]."""
        return cast(Tensor, torch.ops.quantized.linear_dynamic(x, self.stored, True))


def packed(layers: Iterable[nn.Module], config: NarAr) -> list[Layer]:
    """Give layers with packed matrices; their norms are the originals."""
    twins = []
    for layer in layers:
        assert isinstance(layer, Layer), "the head's layers"
        with torch.device("meta"):
            twin = Layer(config)
        twin.input_layernorm, twin.post_attention_layernorm = layer.input_layernorm, layer.post_attention_layernorm
        for inside, original in ((twin.self_attn, layer.self_attn), (twin.mlp, layer.mlp)):
            for name, matrix in original.named_children():
                setattr(inside, name, Packed(cast(nn.Linear, matrix)))
        twins.append(twin.eval())
    return twins
