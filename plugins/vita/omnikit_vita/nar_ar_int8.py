"""Layers whose matrices are stored as 8-bit numbers, for speaking on a CPU: a code takes as long as its weights take to read.

Uses no training: gradients do not pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from omnikit.ops.llama_layer import LlamaLayer
from omnikit_vita.nar_ar import NarAr


class Int8Linear(nn.Module):
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


def quantized(layers: Iterable[nn.Module], config: NarAr) -> list[LlamaLayer]:
    """Give copies of the layers with 8-bit matrices; their norms are the originals."""
    copies = []
    for layer in layers:
        assert isinstance(layer, LlamaLayer), "the head's layers"
        with torch.device("meta"):
            copy = LlamaLayer(config.dim, config.heads, config.ffn, config.rms_eps)
        copy.input_layernorm, copy.post_attention_layernorm = layer.input_layernorm, layer.post_attention_layernorm
        for inside, original in ((copy.self_attn, layer.self_attn), (copy.mlp, layer.mlp)):
            for name, matrix in original.named_children():
                setattr(inside, name, Int8Linear(cast(nn.Linear, matrix)))
        copies.append(copy.eval())
    return copies
