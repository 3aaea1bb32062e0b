"""Cross-entropy whose logits never stand in memory at once. Independent of what makes the logits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

PADDING = -100  # a position that counts for nothing
MOST = 2**26  # logits at once: 256 MB in float32, and as much for their gradient


def chunked_cross_entropy(hidden: Tensor, targets: Tensor, logits: Callable[[Tensor], Tensor], vocabulary: int,
                          most: int = MOST) -> Tensor:
    """Mean cross-entropy over the targets [N] of hidden states [N, D], scalar float32.

    Where all logits together are more than `most`, they are made chunk by chunk, and again in the backward pass: a third of the
    output matrix's work more, memory for one chunk only. Loss and gradients are the same but for the order of sums.

    Args:
        hidden: one state for each position.
        targets: ids, PADDING where a position has none.
        logits: of states [n, D], [n, V].
        vocabulary: V.
        most: logits that may stand in memory at once.
    """
    count = max(1, most // vocabulary)
    if len(hidden) <= count:
        return F.cross_entropy(logits(hidden).float(), targets, ignore_index=PADDING)

    def total(states: Tensor, ids: Tensor) -> Tensor:
        return F.cross_entropy(logits(states).float(), ids, ignore_index=PADDING, reduction="sum")

    sums = [checkpoint(total, states, ids, use_reentrant=False, preserve_rng_state=False)
            for states, ids in zip(torch.split(hidden, count), torch.split(targets, count), strict=True)]
    mean: Tensor = torch.stack(sums).sum() / (targets != PADDING).sum()
    return mean
