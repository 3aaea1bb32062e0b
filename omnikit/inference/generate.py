"""Answers: tokens one after another with the backbone's state, then each speech branch on the states that made them.

Knows no file and no conversation: a batch of prompts in, tokens, states and waves out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omnikit.contracts.configs import HeadConfig
from omnikit.contracts.types import Batch, Features
from omnikit.model import OmniModel, Taps
from omnikit.plan.plan import OutputBranch

OPENING = 16  # first tokens of an answer in which it is looked for what stops it


@dataclass(frozen=True)
class Sampling:
    """How answers are written.

    Args:
        ends: ids of the tokens that end an answer, any of them.
        limit: tokens at most.
        temperature: 0 takes the best token; above, tokens are drawn with `generator`.
        stop: gives for an answer's first ids after how many of them it ends before its end; None where it does not.
    """

    ends: tuple[int, ...]
    limit: int
    temperature: float = 0.0
    generator: torch.Generator | None = None
    stop: Callable[[Sequence[int]], int | None] | None = None


@dataclass(frozen=True)
class DecodingStep:
    """One step of a batch of answers.

    Args:
        state: [B, D], the state that predicted the tokens, which is the state after reading the tokens before.
        tokens: [B] ids; None in the step after the last tokens, made only where a head reads them.
    """

    state: Tensor
    tokens: Tensor | None


@dataclass
class Generated:
    """What was written for a batch of prompts.

    Args:
        tokens: ids of each row; an end token is the last one, unless the row was cut.
        predicted: [B, N, D], the state that predicted each token.
        read: [B, N, D], the state after reading each token; None unless a head needs it.
        lengths: [B] tokens of each row.
    """

    tokens: list[list[int]]
    predicted: Tensor
    read: Tensor | None
    lengths: Tensor


@torch.no_grad()
def steps(model: OmniModel, batch: Batch, sampling: Sampling) -> Iterator[DecodingStep]:
    """Write an answer to each prompt, token by token, until every row has its end or the limit is reached."""
    backbone = model.language_model()
    reads = any(reads_states(output.head) for output in model.plan.outputs.values())
    inputs, valid = _padded_left(Taps(model, batch).inputs, batch.lengths)
    count, length = valid.shape
    mask = torch.cat([valid, valid.new_ones(count, sampling.limit)], 1)  # once: each step looks at one place more of it
    state = backbone.init_state(count)
    finished = torch.zeros(count, dtype=torch.bool, device=inputs.device)
    ends = torch.tensor(sampling.ends, dtype=torch.int64, device=inputs.device)
    opened: list[list[int]] = [[] for _ in range(count)]
    for number in range(sampling.limit):
        hidden, state = backbone.step(inputs, mask[:, :length + number], state)
        tokens = _choose(backbone.logits(hidden[:, -1]), sampling)  # [B]
        yield DecodingStep(hidden[:, -1], tokens)
        inputs = backbone.embed(tokens[:, None])
        finished = finished | torch.isin(tokens, ends)
        if sampling.stop and number < OPENING:
            opened = [[*row, token] for row, token in zip(opened, tokens.tolist(), strict=True)]
            finished |= torch.tensor([sampling.stop(row) is not None for row in opened], device=inputs.device)
        if bool(finished.all()):
            break
    if reads:
        hidden, state = backbone.step(inputs, mask[:, :length + number + 1], state)
        yield DecodingStep(hidden[:, -1], None)


@torch.no_grad()
def generate(model: OmniModel, batch: Batch, sampling: Sampling) -> Generated:
    """Write an answer to each prompt of a batch that a collator with `prompt_only` made."""
    written = list(steps(model, batch, sampling))
    states = torch.stack([step.state for step in written], dim=1)  # [B, N or N + 1, D]
    tokens = torch.stack([step.tokens for step in written if step.tokens is not None], dim=1)  # [B, N]
    lengths = _lengths(torch.isin(tokens, torch.tensor(sampling.ends, dtype=torch.int64, device=tokens.device)))
    rows = [row[:length] for row, length in zip(tokens.tolist(), lengths.tolist(), strict=True)]
    if sampling.stop:
        rows = [row[:sampling.stop(row[:OPENING])] for row in rows]
        lengths = lengths.clamp(max=torch.tensor([len(row) for row in rows], device=lengths.device))
    number = tokens.shape[1]
    return Generated(rows, states[:, :number], states[:, 1:] if states.shape[1] > number else None, lengths)


@torch.no_grad()
def codes(model: OmniModel, output: OutputBranch, generated: Generated) -> list[list[int]]:
    """Give the codes that a speech branch emits for each row's answer."""
    return model.head(output.name).decode(tapped(model, output, generated))


def tapped(model: OmniModel, output: OutputBranch, generated: Generated) -> Features:
    """Give what a speech branch's head sees of each row's answer, [B, N, D]."""
    data = generated.predicted if output.head.alignment == "predicts" or generated.read is None else generated.read
    return model.head_input(output, data, generated.lengths)


def reads_states(head: HeadConfig) -> bool:
    """Say whether a head sees the states after reading the tokens, rather than those that predicted them."""
    return head.tap in ("hidden", "logits") and head.alignment == "reads"


def _padded_left(inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Turn rows [B, L, D] padded on the right into rows padded on the left, with their mask [B, L]."""
    places = torch.arange(inputs.shape[1], device=inputs.device)
    turned = (places + lengths[:, None]) % inputs.shape[1]  # [B, L]
    mask = places >= inputs.shape[1] - lengths[:, None]
    return inputs[torch.arange(len(inputs), device=inputs.device)[:, None], turned], mask


def _choose(logits: Tensor, sampling: Sampling) -> Tensor:
    if sampling.temperature <= 0:
        return logits.argmax(-1)
    shares = (logits.float() / sampling.temperature).softmax(-1)
    return torch.multinomial(shares, 1, generator=sampling.generator).squeeze(-1)


def _lengths(ends: Tensor) -> Tensor:
    """Give the tokens of each row up to its first end [B, N], that one included."""
    before = ends.cumsum(1) - ends.long()  # ends seen before each place
    return (before == 0).sum(1)
