"""Mixtral's experts: three matrices for each in the published layout, two tensors for all in transformers 5.

Published w1 (gate), w3 (up) [F, D] and w2 (down) [D, F] of each expert become gate_up_proj [E, 2 F, D], the gates first, and
down_proj [E, D, F].
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial

import torch
from torch import Tensor

from omnikit.contracts.types import LazyTensor
from omnikit_vita.names import EXPERT

FUSED = {"gate_up_proj": ("w1", "w3"), "down_proj": ("w2",)}


def joined(model: Mapping[str, LazyTensor]) -> tuple[dict[str, LazyTensor], set[str]]:
    """Give our tensors of the experts, and the names that went into them; those of an incomplete layer stay as they are."""
    found: dict[int, dict[int, dict[str, LazyTensor]]] = {}
    for name, tensor in model.items():
        place = EXPERT.fullmatch(name)
        if place:
            found.setdefault(int(place[1]), {}).setdefault(int(place[2]), {})[place[3]] = tensor
    ours, used = {}, set()
    for layer, experts in found.items():
        rows = [experts.get(number, {}) for number in range(len(experts))]
        for fused, words in FUSED.items():
            pieces = [row[word] for row in rows for word in words if word in row]
            if len(pieces) == len(rows) * len(words) and len({(piece.shape, piece.dtype) for piece in pieces}) == 1:
                high, wide = pieces[0].shape
                name = f"model.layers.{layer}.mlp.experts.{fused}"
                ours[name] = LazyTensor(pieces[0].name, pieces[0].file, (len(rows), len(words) * high, wide), pieces[0].dtype,
                                    partial(_stacked, pieces, len(words)))
                used |= {piece.name for piece in pieces}
    return ours, used


def apart(backbone: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Give a language model's tensors with the experts' by the published names; a fused one is read once in a row."""
    found: dict[str, LazyTensor] = {}
    for name, tensor in backbone.items():
        stem, _, fused = name.rpartition(".mlp.experts.")
        if fused not in FUSED or not stem:
            found[name] = tensor
            continue
        read, words = lru_cache(1)(tensor.read), FUSED[fused]
        count, high, wide = tensor.shape[0], tensor.shape[1] // len(words), tensor.shape[2]
        for number in range(count):
            for place, word in enumerate(words):
                own = f"{stem}.block_sparse_moe.experts.{number}.{word}.weight"
                piece = partial(_slice, read, number, place * high, high)
                found[own] = LazyTensor(own, tensor.file, (high, wide), tensor.dtype, piece)
    return found


def original(name: str) -> str:
    """Give the first of the published names that a fused tensor is made of."""
    stem, _, fused = name.rpartition(".mlp.experts.")
    return f"{stem}.block_sparse_moe.experts.0.{FUSED[fused][0]}.weight" if fused in FUSED and stem else name


def _stacked(pieces: list[LazyTensor], each: int) -> Tensor:
    high, wide = pieces[0].shape
    whole = torch.empty(len(pieces) // each, each, high, wide, dtype=getattr(torch, pieces[0].dtype))
    for number, piece in enumerate(pieces):
        whole[number // each, number % each] = piece.read()
    return whole.flatten(1, 2)


def _slice(read: Callable[[], Tensor], number: int, first: int, count: int) -> Tensor:
    return read()[number, first:first + count].clone()
