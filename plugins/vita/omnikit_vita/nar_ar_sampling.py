"""Sampling of codes: a repetition penalty, then the best or a draw among the best (top-k). Uses no model."""

from __future__ import annotations

import torch
from torch import Tensor

from omnikit_vita.nar_ar import NarAr


class CodeSampler:
    """Samples the codes of one sentence and stores those that were chosen.

    Ids above the codec's codes are never chosen, but for the end: the codebook lacks them.

    Args:
        config: how codes are chosen.
        eos: the id that ends the codes; the one before it is their start, and the codes are those below that minus one.
    """

    def __init__(self, config: NarAr, eos: int) -> None:
        self.config, self.eos = config, eos
        self.chosen = [eos - 1]  # the original's window holds the start
        self._generator = torch.Generator().manual_seed(config.seed)

    def __call__(self, logits: Tensor) -> int:
        """Give the next id, a code or the end, by its logits [V + 4]."""
        logits = self.penalised(logits.float().cpu())
        logits[self.eos - 2:self.eos] = float("-inf")
        logits[self.eos + 1:] = float("-inf")
        if self.config.top_k == 1:
            code = int(logits.argmax())
        else:
            best, ids = logits.topk(min(self.config.top_k, self.eos - 1))
            code = int(ids[torch.multinomial(best.softmax(-1), 1, generator=self._generator)])
        self.chosen.append(code)
        return code

    def penalised(self, logits: Tensor) -> Tensor:
        """Give logits [V + 4] with the codes of the window lowered."""
        window = self.chosen[-self.config.repetition_window:] if self.config.repetition_window else []
        logits = logits.clone()
        if self.config.repetition_penalty == 1 or not window:
            return logits
        penalty = self.config.repetition_penalty
        if self.config.repetition_mode == "original":
            for code in window:
                logits[code] /= penalty
            return logits
        repeated = torch.tensor(sorted(set(window)))
        known = logits[repeated]
        logits[repeated] = torch.where(known > 0, known / penalty, known * penalty)
        return logits
