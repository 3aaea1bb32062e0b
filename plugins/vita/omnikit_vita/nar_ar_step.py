"""The head's layers for one code at a time on a CPU, where a code takes as long as its weights take to read.

Matrices that read the same frame are joined, and stored in the order in which a product with one frame reads them. Uses no
training: gradients do not pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnikit.ops.kv_cache import KVCache
from omnikit.ops.llama_layer import LlamaLayer
from omnikit.ops.rotary import RotaryAngles, rotate

InferenceDtype = Literal["float32", "bfloat16", "int8"]
Matrix = Callable[[Tensor], Tensor]  # frames [..., D] float32 to [..., E] float32


class Float32Matrix:
    """A matrix [E, D] stored transposed, unless it is wider than high: so torch reads each up to half as fast again."""

    def __init__(self, weight: Tensor) -> None:
        self.is_wide = weight.shape[1] > weight.shape[0]
        self.stored = weight.detach().contiguous() if self.is_wide else weight.detach().t().contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        """As Matrix."""
        return F.linear(x, self.stored) if self.is_wide else x @ self.stored


class BFloat16Matrix:
    """A matrix in bfloat16, in oneDNN's order where a CPU has its instructions; what it multiplies is rounded as well."""

    def __init__(self, weight: Tensor) -> None:
        self.stored = weight.detach().bfloat16()
        self.packed = hasattr(torch.ops.mkldnn, "_linear_pointwise") and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        if self.packed:
            self.stored = torch.ops.mkldnn._reorder_linear_weight(self.stored, 1)

    def __call__(self, x: Tensor) -> Tensor:
        """As Matrix."""
        if not self.packed:
            return F.linear(x.bfloat16(), self.stored).float()
        result: Tensor = torch.ops.mkldnn._linear_pointwise(x.bfloat16(), self.stored, None, "none", [], "")
        return result.float()


class Int8Matrix:
    """A matrix in 8 bits, each row with a scale of its own; what it multiplies is rounded to 8 bits as it comes."""

    def __init__(self, weight: Tensor) -> None:
        weights = weight.detach().float()
        scales = (weights.abs().amax(1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
        stored = torch.quantize_per_channel(weights, scales, torch.zeros(len(weights), dtype=torch.int64), 0, torch.qint8)
        self.stored = torch.ops.quantized.linear_prepack(stored, None)

    def __call__(self, x: Tensor) -> Tensor:
        """As Matrix."""
        return cast(Tensor, torch.ops.quantized.linear_dynamic(x, self.stored, True))


MATRICES: dict[InferenceDtype, Callable[[Tensor], Matrix]] = {
    "float32": Float32Matrix, "bfloat16": BFloat16Matrix, "int8": Int8Matrix}


class StepLayer:
    """One layer of the head with the weights that it has now; see LlamaLayer. Its norms are the layer's own."""

    def __init__(self, layer: LlamaLayer, matrix: Callable[[Tensor], Matrix]) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.norm1, self.norm2, self.heads = layer.input_layernorm, layer.post_attention_layernorm, attention.heads
        self.qkv = matrix(torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]))
        self.out = matrix(attention.o_proj.weight)
        self.gate_up = matrix(torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]))
        self.down = matrix(mlp.down_proj.weight)

    def __call__(self, x: Tensor, angles: RotaryAngles, mask: Tensor | None, cache: KVCache) -> Tensor:
        """x [1, 1, D] behind what the cache holds to [1, 1, D]; `mask` as of LlamaLayer."""
        qkv = self.qkv(self.norm1(x)).view(3, self.heads, 1, -1)  # [3, H, 1, W]
        turned = rotate(qkv[:2], angles)
        keys, values = cache.extend(turned[1:], qkv[2:])
        mixed = F.scaled_dot_product_attention(turned[:1], keys, values, attn_mask=mask)  # [1, H, 1, W]
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class StepClasses:
    """The classes that follow the layers, a matrix with a bias."""

    def __init__(self, layer: nn.Linear, matrix: Callable[[Tensor], Matrix]) -> None:
        self.matrix, self.bias = matrix(layer.weight), layer.bias

    def __call__(self, x: Tensor) -> Tensor:
        """x [1, 1, D] to logits [1, 1, V]."""
        return self.matrix(x) + self.bias


class StepHead:
    """Layers and classes that make one code at a time, with matrices of this dtype."""

    def __init__(self, layers: Iterable[nn.Module], classes: nn.Linear, dtype: InferenceDtype) -> None:
        self.classes = StepClasses(classes, MATRICES[dtype])
        self.layers = []
        for layer in layers:
            assert isinstance(layer, LlamaLayer), "the head's layers"
            self.layers.append(StepLayer(layer, MATRICES[dtype]))
