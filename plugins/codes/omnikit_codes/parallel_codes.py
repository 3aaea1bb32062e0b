"""Head `parallel_codes`: the cells of a step at once, by one classifier for each codebook."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from omnikit_codes.cells import codebook_logits, sum_losses
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
        return sum_losses(self.classes(states), cells, self.cardinality)

    def classify(self, state: Tensor) -> Classify:
        """As FrameDecoder.classify; the codes of a step do not depend on each other."""
        logits = self.classes(state)

        def of_next(cells: Sequence[int]) -> Tensor:
            return codebook_logits(logits, len(cells), self.cardinality)

        return of_next
