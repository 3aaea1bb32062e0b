"""How many tokens a batch holds, by modality, and how many positions it takes with its padding. Waits for no accelerator."""

from __future__ import annotations

from dataclasses import dataclass

from omnikit.contracts.types import Batch

TEXT = "text"


@dataclass(frozen=True)
class TokenCounts:
    """Tokens of a batch.

    Args:
        useful: modality → positions of the backbone; in a stage without it, frames of the encoders.
        positions: all that are computed, padding included.
    """

    useful: dict[str, int]
    positions: int


def count_tokens(batch: Batch) -> TokenCounts:
    """Count the tokens of a batch whose lengths are on the CPU."""
    media = {name: sum(counts) for name, counts in batch.counts.items()}
    if batch.tokens.shape[0]:
        text = int(batch.lengths.sum()) - sum(media.values())
        return TokenCounts({TEXT: text, **media}, batch.tokens.numel())
    return TokenCounts(media, sum(_padded(batch, name, count) for name, count in media.items()))


def _padded(batch: Batch, name: str, count: int) -> int:
    """Give the frames of a branch as if its padding made some, too."""
    sizes, data = batch.sizes.get(name), batch.signals[name].data
    if not sizes or not sum(sizes) or data.ndim < 2:
        return count
    return round(count * len(sizes) * max(sizes) / sum(sizes))
