"""Which codes of a codebook are used while it learns, and how unused ones come back. Independent of any codec."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

RECENT = 1024  # latest vectors that a codebook remembers at least; twice its codes where they are more
ROUNDS = 10  # of k-means, where all codes are new
EXPECTED = 10.0  # draws of each code, were all equally frequent, before one that has none counts as dead: by chance e^-10


@dataclass(frozen=True)
class Revival:
    """Codes that begin again.

    Args:
        codes: indices [N] of the dead codes.
        vectors: their new vectors [N, dim].
        shares: how frequent each is of now [N], of 1.
    """

    codes: Tensor
    vectors: Tensor
    shares: Tensor


class CodebookUsage(nn.Module):
    """Owns the counts of one codebook and its latest vectors, neither of which a weights file holds.

    Args:
        codes: how many.
        dim: width of a vector.
    """

    def __init__(self, codes: int, dim: int) -> None:
        super().__init__()
        self.limit = max(2 * codes, RECENT)
        self.register_buffer("drawn", torch.zeros(codes, dtype=torch.int64), persistent=False)
        self.register_buffer("recent", torch.zeros(0, dim), persistent=False)
        self.drawn: Tensor
        self.recent: Tensor

    @property
    def share(self) -> Tensor:
        """The share of the codes that was drawn since dead ones were looked for."""
        return (self.drawn > 0).float().mean()

    @torch.no_grad()
    def count(self, vectors: Tensor, codes: Tensor) -> Tensor:
        """Count the codes [...] that were drawn for vectors [..., dim]; give the counts [codes] of these."""
        self.remember(vectors)
        flat = codes.flatten()
        counts = torch.zeros_like(self.drawn).index_add_(0, flat, torch.ones_like(flat))
        self.drawn += counts
        return counts

    @torch.no_grad()
    def remember(self, vectors: Tensor) -> None:
        """Remember vectors [..., dim] at which codes may begin again."""
        self.recent = torch.cat([vectors.detach().float().reshape(-1, vectors.shape[-1]), self.recent])[:self.limit]

    @torch.no_grad()
    def revive(self, generator: Generator) -> Revival | None:
        """Give the dead codes and recent vectors to put them at; None where there are none.

        Once every code would have been drawn EXPECTED times, were all drawn equally often, those that never were are dead, and
        counting begins again. Where nothing was coded since the last call, but vectors are remembered, codes become clusters.
        """
        drawn = int(self.drawn.sum())
        if not len(self.recent) or 0 < drawn < EXPECTED * len(self.drawn):
            return None
        dead = (self.drawn == 0).nonzero()[:, 0]
        self.drawn.zero_()
        if not len(dead):
            return None
        order = torch.randperm(len(self.recent), generator=generator)[:len(dead)]
        fresh = self.recent[order.repeat(-(-len(dead) // len(order)))[:len(dead)].to(self.recent.device)]
        if drawn:
            return Revival(dead, fresh, torch.full_like(fresh[:, 0], 1 / len(self.drawn)))
        fresh, sizes = clustered(self.recent, fresh)
        return Revival(dead, fresh, sizes / sizes.sum())


def clustered(vectors: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Move centres [K, D] by a few rounds of k-means over vectors [M, D]; gives them and how many vectors each stands for.

    One that stands for none stays.
    """
    for _ in range(ROUNDS):
        labels = torch.cdist(vectors, centres).argmin(1)
        sizes = torch.bincount(labels, minlength=len(centres))
        sums = torch.zeros_like(centres).index_add_(0, labels, vectors)
        centres = torch.where(sizes[:, None] > 0, sums / sizes.clamp(min=1)[:, None], centres)
    return centres, sizes
