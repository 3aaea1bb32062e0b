"""Answers: tokens one after another with the backbone's state, then each speech branch on the states that made them.

Knows no file and no conversation: a batch of prompts in, tokens, states and waves out.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from omnikit.model import OmniModel, Taps
from omnikit.plan import Outlet
from omnikit.types import Batch, Features


@dataclass
class Generated:
    """What was written for a batch of prompts.

    Args:
        tokens: ids of each row; the end token is the last one, unless the row was cut.
        predicted: [B, N, D], the state that predicted each token.
        read: [B, N, D], the state after reading each token; None unless a head needs it.
        lengths: [B] tokens of each row.
    """

    tokens: list[list[int]]
    predicted: Tensor
    read: Tensor | None
    lengths: Tensor


@torch.no_grad()
def generate(model: OmniModel, batch: Batch, end: int, limit: int, *, temperature: float = 0.0,
             generator: torch.Generator | None = None) -> Generated:
    """Write an answer to each prompt.

    Args:
        batch: prompts, from a collator with `asking`.
        end: id of the token that ends an answer.
        limit: tokens at most.
        temperature: 0 takes the best token; above, tokens are drawn with `generator`.
    """
    backbone, reads = model.language_model(), _reads(model)
    inputs, mask = _padded_left(Taps(model, batch).inputs, batch.lengths)
    count = inputs.shape[0]
    state = backbone.init_state(count)
    states: list[Tensor] = []
    chosen: list[Tensor] = []
    finished = torch.zeros(count, dtype=torch.bool, device=inputs.device)
    while True:
        hidden, state = backbone.step(inputs, mask, state)
        states.append(hidden[:, -1])  # [B, D]
        if len(chosen) == limit or bool(finished.all()):
            break
        tokens = _choose(backbone.logits(states[-1]), temperature, generator)  # [B]
        chosen.append(tokens)
        finished = finished | (tokens == end)
        if not reads and (len(chosen) == limit or bool(finished.all())):
            break
        inputs = backbone.embed(tokens[:, None])
        mask = torch.cat([mask, mask.new_ones(count, 1)], dim=1)
    written = torch.stack(chosen, dim=1)  # [B, N]
    lengths = _lengths(written == end)
    rows = [row[:length] for row, length in zip(written.tolist(), lengths.tolist(), strict=True)]
    number = written.shape[1]
    return Generated(rows, torch.stack(states[:number], dim=1), torch.stack(states[1:], dim=1) if reads else None, lengths)


@torch.no_grad()
def codes(model: OmniModel, outlet: Outlet, generated: Generated) -> list[list[int]]:
    """Give the codes that a speech branch emits for each row's answer."""
    longest = generated.predicted.shape[1]
    tokens = torch.tensor([[*row, *[0] * (longest - len(row))] for row in generated.tokens], device=generated.lengths.device)
    if outlet.head.tap == "embedding":
        data = model.language_model().embed(tokens)
    else:
        data = generated.predicted if outlet.head.alignment == "predicts" or generated.read is None else generated.read
        data = model.language_model().logits(data) if outlet.head.tap == "logits" else data
    return model.head(outlet.name).decode(Features(data, generated.lengths))


def _reads(model: OmniModel) -> bool:
    heads = [outlet.head for outlet in model.plan.outputs.values()]
    return any(head.tap in ("hidden", "logits") and head.alignment == "reads" for head in heads)


def _padded_left(inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Turn rows [B, L, D] padded on the right into rows padded on the left, with their mask [B, L]."""
    places = torch.arange(inputs.shape[1], device=inputs.device)
    turned = (places + lengths[:, None]) % inputs.shape[1]  # [B, L]
    mask = places >= inputs.shape[1] - lengths[:, None]
    return inputs[torch.arange(len(inputs), device=inputs.device)[:, None], turned], mask


def _choose(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    if temperature <= 0:
        return logits.argmax(-1)
    return torch.multinomial((logits.float() / temperature).softmax(-1), 1, generator=generator).squeeze(-1)


def _lengths(ends: Tensor) -> Tensor:
    """Give the tokens of each row up to its first end [B, N], that one included."""
    before = ends.cumsum(1) - ends.long()  # ends seen before each place
    return (before == 0).sum(1)
