"""How the next token of each running answer is chosen: every row has options and random numbers of its own.

A row's token depends on its logits, its options and its generator alone, whatever rows stand beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenOptions:
    """How the tokens of one answer are chosen.

    Args:
        temperature: 0 takes the most probable token.
        top_p: draws among the most probable tokens that together have this probability.
        top_k: before that, among this many of the most probable tokens; 0 for all.
        generator: of the answer's draws, on the CPU; needed where the temperature is above 0.
        logprobs: alternatives to give with each token; None: no log probabilities.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    generator: torch.Generator | None = None
    logprobs: int | None = None
    top_k: int = 0

    @property
    def draws_among_some(self) -> bool:
        """Whether the least probable tokens are left out."""
        return self.top_p < 1 or self.top_k > 0


def choose_tokens(logits: Tensor, options: Sequence[TokenOptions]) -> Tensor:
    """Choose one token for each row of logits [B, V]; gives ids [B] on their device."""
    tokens = logits.argmax(-1)
    drawn = [row for row, each in enumerate(options) if each.temperature > 0]
    for nucleus in (False, True):
        rows = [row for row in drawn if options[row].draws_among_some == nucleus]
        if rows:
            index = torch.tensor(rows).to(logits.device, non_blocking=True)
            tokens[index] = _draw(logits[index], [options[row] for row in rows], nucleus=nucleus)
    return tokens


def _draw(logits: Tensor, options: Sequence[TokenOptions], *, nucleus: bool) -> Tensor:
    """Draw from each row by one uniform number, which its own generator gives on the host."""
    numbers = torch.cat([torch.rand(1, generator=each.generator, dtype=torch.float64) for each in options])
    values = [torch.tensor([each.temperature, each.top_p, each.top_k], dtype=torch.float64) for each in options]
    given = torch.cat([numbers[:, None], torch.stack(values)], 1).to(logits.device, torch.float32, non_blocking=True)
    uniform, temperature, top_p, top_k = (given[:, column:column + 1] for column in range(4))  # each [B, 1]
    probabilities = (logits.float() / temperature).softmax(-1)  # [B, V]
    if not nucleus:
        return _at(probabilities, uniform)[:, 0]
    ordered, ids = most_probable(probabilities, top_p, top_k)
    return torch.gather(ids, 1, _at(ordered, uniform))[:, 0]


def most_probable(probabilities: Tensor, top_p: Tensor, top_k: Tensor) -> tuple[Tensor, Tensor]:
    """Order probabilities [B, V] from the largest on, 0 for those left out, with their ids [B, V].

    Args:
        top_p: [B, 1], of what `top_k` leaves.
        top_k: [B, 1]; 0 leaves all.
    """
    ordered, ids = probabilities.sort(dim=-1, descending=True, stable=True)
    positions = torch.arange(ordered.shape[-1], device=ordered.device)
    ordered = ordered.where((positions < top_k) | (top_k == 0), 0)
    before = ordered.cumsum(-1) - ordered
    return ordered.where(before < top_p * ordered.sum(-1, keepdim=True), 0), ids


def _at(weights: Tensor, uniform: Tensor) -> Tensor:
    """Give the position [B, 1] where the running sum of weights [B, V] passes the fraction `uniform` [B, 1] of their sum."""
    sums = weights.cumsum(-1)
    position = torch.searchsorted(sums, uniform * sums[:, -1:], right=True)
    last = weights.shape[-1] - 1 - weights.flip(-1).ne(0).int().argmax(-1, keepdim=True)  # rounding never passes it
    return torch.minimum(position, last)


def log_probabilities(logits: Tensor, tokens: Tensor, alternatives: int) -> tuple[list[float], list[list[tuple[int, float]]]]:
    """Give the log probability of each row's token and its most probable tokens with theirs, from logits [B, V], tokens [B]."""
    scores = logits.float().log_softmax(-1)
    chosen: list[float] = scores.gather(1, tokens[:, None])[:, 0].tolist()
    best, ids = scores.topk(min(alternatives, scores.shape[-1]), -1)
    return chosen, [list(zip(row, values, strict=True)) for row, values in zip(ids.tolist(), best.tolist(), strict=True)]
