"""Head `parallel_codes`: the cells of a step at once, by one classifier for each codebook."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnikit_codes.cells import PADDING
from omnikit_codes.config import ParallelCodes
from omnikit_codes.frame_decoder import Classify, FrameDecoder
from omnikit_codes.patterns import Pattern


class ParallelCodesHead(FrameDecoder):
    """Owns the classes of all codebooks beside the decoder; see FrameDecoder for the arguments."""

    def __init__(self, config: ParallelCodes, source: int, codebooks: int, cardinality: int) -> None:
        super().__init__(config, source, Pattern(config.pattern, codebooks), cardinality)
        self.classes = nn.Linear(config.dim, codebooks * cardinality + 1)  # of each codebook, then the end

    def sum_losses(self, states: Tensor, cells: Tensor) -> Tensor:
        """As FrameDecoder.sum_losses."""
        logits = self.classes(states).float()
        found = [F.cross_entropy(self._of(logits, book).flatten(0, 1), cells[..., book].flatten(), ignore_index=PADDING,
                                 reduction="sum") for book in range(self.pattern.codebooks)]
        return torch.stack(found).sum()

    def classify(self, state: Tensor) -> Classify:
        """As FrameDecoder.classify; the codes of a step do not depend on each other."""
        logits = self.classes(state)

        def of_next(cells: Sequence[int]) -> Tensor:
            return self._of(logits, len(cells))

        return of_next

    def _of(self, logits: Tensor, book: int) -> Tensor:
        """Give a codebook's logits [..., V], or [..., V + 1] with the end of the first one."""
        own = logits[..., book * self.cardinality:(book + 1) * self.cardinality]
        return torch.cat([own, logits[..., -1:]], -1) if book == 0 else own
