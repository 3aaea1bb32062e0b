"""Attention for concatenated conversations: each attends to itself only, and nothing else is computed.

Where attention is `sdpa`, transformers would take a mask of all positions against all; here its kernel is called once for each
conversation without any mask, so that a row costs what its conversations cost. Registered with transformers under NAME.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "sdpa_by_conversation"


@dataclass
class PackedLengths:
    """Lengths of the conversations of a sequence, in order; `used`: a layer has read them."""

    lengths: Sequence[int]
    used: bool = False


class AttentionOptions(TypedDict, total=False):
    """What transformers hands to its attention kernels by name, beside what concerns the mask."""

    dropout: float
    scaling: float | None
    is_causal: bool | None


def attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *,
           packed: PackedLengths | None = None, **rest: Unpack[AttentionOptions]) -> tuple[Tensor, None]:
    """query [B, H, N, d], key and value [B, G, M, d] to [B, N, H, d]; with `packed`, B is 1 and the mask counts for nothing."""
    if packed is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **rest)
    packed.used = True
    pieces = zip(*(torch.split(tensor, list(packed.lengths), 2) for tensor in (query, key, value)), strict=True)
    return torch.cat([sdpa_attention_forward(module, q, k, v, None, **rest)[0] for q, k, v in pieces], 1), None


ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)
