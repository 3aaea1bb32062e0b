"""Answers: tokens one after another with the backbone's cache, then each speech branch on their hidden states.

Reads no file and holds no conversation: a batch of prompts in, tokens, hidden states and codes out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from omnikit.contracts.codes import Code
from omnikit.contracts.configs import HeadConfig
from omnikit.contracts.layout import InputLayout
from omnikit.contracts.protocols import LayoutBackbone
from omnikit.contracts.types import Batch, Features
from omnikit.inference.fed_codes import FedCodes
from omnikit.inference.token_choice import most_probable
from omnikit.model import OmniModel
from omnikit.plan.plan import OutputBranch
from omnikit.taps import Taps

STOP_WINDOW = 16  # first tokens of an answer that `Sampling.stop` gets


@dataclass(frozen=True)
class Sampling:
    """How the tokens of answers are chosen.

    Args:
        ends: ids of the tokens that end an answer, any of them.
        limit: tokens at most.
        temperature: 0 takes the most probable token; above, tokens are drawn with `generator`.
        top_p: draws among the most probable tokens that together have this probability.
        top_k: before that, among this many of the most probable tokens; 0 for all.
        stop: gives for an answer's first ids after how many of them it ends without an end token; None where it does not.
    """

    ends: tuple[int, ...]
    limit: int
    temperature: float = 0.0
    generator: torch.Generator | None = None
    stop: Callable[[Sequence[int]], int | None] | None = None
    top_p: float = 1.0
    top_k: int = 0


@dataclass(frozen=True)
class DecodingStep:
    """One step of a batch of answers.

    Args:
        hidden: [B, D], the hidden state that predicted the tokens, which is the one after reading the tokens before.
        tokens: [B] ids; None in steps after the last tokens, made only where a head needs them.
        codes: of each row the codes that are complete with this step, where the backbone reads those of its head.
    """

    hidden: Tensor
    tokens: Tensor | None
    codes: list[list[Code]] | None = None


@dataclass
class Generated:
    """The answers to a batch of prompts.

    Args:
        tokens: ids of each answer; an end token is the last one, unless the answer was cut.
        hidden_before: [B, N, D], the hidden state that predicted each token.
        hidden_after: [B, N, D], the hidden state after reading each token; None unless a head needs it.
        lengths: [B] tokens of each answer.
        codes: of each answer, where the backbone read them.
    """

    tokens: list[list[int]]
    hidden_before: Tensor
    hidden_after: Tensor | None
    lengths: Tensor
    codes: list[list[Code]] | None = None


@torch.no_grad()
def decoding_steps(model: OmniModel, batch: Batch, sampling: Sampling) -> Iterator[DecodingStep]:
    """Decode an answer to each prompt, token by token, until every answer has its end or the limit is reached."""
    backbone, fed = model.language_model(), FedCodes.of(model, len(batch.tokens))
    one_more = any(reads_tokens(output.head) for output in model.plan.outputs.values())
    taps = Taps(model, batch)
    inputs, valid, layout = _padded_left(taps.inputs, batch.lengths, taps.layout)
    count, length = valid.shape
    room = max(sampling.limit, fed.context - length) if fed else sampling.limit
    mask = torch.cat([valid, valid.new_ones(count, room)], 1)  # once: each step uses one position more of it
    state = backbone.init_state(count) if layout is None else cast(LayoutBackbone, backbone).init_state(count, layout)
    finished = torch.zeros(count, dtype=torch.bool, device=inputs.device)
    ends = torch.tensor(sampling.ends, dtype=torch.int64, device=inputs.device)
    first: list[list[int]] = [[] for _ in range(count)]
    tokens = torch.zeros(count, dtype=torch.int64, device=inputs.device)
    for number in range(sampling.limit):
        hidden, state = backbone.step(inputs, mask[:, :length + number], state)
        chosen = _choose(backbone.logits(hidden[:, -1]), sampling)  # [B]
        tokens = torch.where(finished, tokens, chosen) if fed else chosen  # behind its end an answer's last token is repeated
        yield DecodingStep(hidden[:, -1], tokens, fed.step(hidden) if fed else None)
        inputs = backbone.embed(tokens[:, None])
        inputs = fed.added(inputs) if fed else inputs
        finished = finished | torch.isin(tokens, ends)
        if sampling.stop and number < STOP_WINDOW:
            first = [[*row, token] for row, token in zip(first, tokens.tolist(), strict=True)]
            finished |= torch.tensor([sampling.stop(row) is not None for row in first], device=inputs.device)
        if bool(finished.all()):
            break
    if one_more and (fed is None or fed.finished):
        hidden, state = backbone.step(inputs, mask[:, :length + number + 1], state)
        yield DecodingStep(hidden[:, -1], None)
    while fed and not fed.finished and length + number + 1 < fed.context:
        number += 1
        hidden, state = backbone.step(inputs, mask[:, :length + number], state)
        yield DecodingStep(hidden[:, -1], None, fed.step(hidden))
        inputs = fed.added(backbone.embed(tokens[:, None]))


@torch.no_grad()
def generate(model: OmniModel, batch: Batch, sampling: Sampling) -> Generated:
    """Decode an answer to each prompt of a batch that a collator with `prompt_only` made."""
    steps = list(decoding_steps(model, batch, sampling))
    hidden = torch.stack([step.hidden for step in steps], dim=1)  # [B, N or N + 1, D]
    tokens = torch.stack([step.tokens for step in steps if step.tokens is not None], dim=1)  # [B, N]
    lengths = _lengths(torch.isin(tokens, torch.tensor(sampling.ends, dtype=torch.int64, device=tokens.device)))
    rows = [row[:length] for row, length in zip(tokens.tolist(), lengths.tolist(), strict=True)]
    given = [step.codes for step in steps if step.codes is not None]
    codes = [[code for found in given for code in found[row]] for row in range(len(rows))] if given else None
    if sampling.stop:
        rows = [row[:sampling.stop(row[:STOP_WINDOW])] for row in rows]
        lengths = lengths.clamp(max=torch.tensor([len(row) for row in rows], device=lengths.device))
    number = tokens.shape[1]
    return Generated(rows, hidden[:, :number], hidden[:, 1:number + 1] if hidden.shape[1] > number else None, lengths, codes)


@torch.no_grad()
def decode_codes(model: OmniModel, output: OutputBranch, generated: Generated) -> list[list[Code]]:
    """Give the codes that a speech branch emits for each answer."""
    if output.feeds:
        assert generated.codes is not None, "its codes came with the tokens"
        return generated.codes
    return model.code_head(output.name).decode(tapped(model, output, generated))


def tapped(model: OmniModel, output: OutputBranch, generated: Generated) -> Features:
    """Give the features that a speech branch's head gets of each answer, [B, N, D]."""
    before, after = generated.hidden_before, generated.hidden_after
    data = before if output.head.alignment == "predicts" or after is None else after
    return model.head_input(output, data, generated.lengths)


def reads_tokens(head: HeadConfig) -> bool:
    """Say whether a head gets the hidden states after reading the tokens, rather than those that predicted them."""
    return head.tap in ("hidden", "logits") and head.alignment == "reads"


def _padded_left(inputs: Tensor, lengths: Tensor,
                 layout: InputLayout | None) -> tuple[Tensor, Tensor, InputLayout | None]:
    """Turn rows [B, L, D] padded on the right into rows padded on the left, with their mask [B, L] and their layout."""
    positions = torch.arange(inputs.shape[1], device=inputs.device)
    source = (positions + lengths[:, None]) % inputs.shape[1]  # [B, L]
    mask = positions >= inputs.shape[1] - lengths[:, None]
    moved = layout and layout.padded_left(inputs.shape[1] - lengths, source)
    return inputs[torch.arange(len(inputs), device=inputs.device)[:, None], source], mask, moved


def _choose(logits: Tensor, sampling: Sampling) -> Tensor:
    if sampling.temperature <= 0:
        return logits.argmax(-1)
    probabilities = (logits.float() / sampling.temperature).softmax(-1)
    if sampling.top_p == 1 and sampling.top_k == 0:
        return torch.multinomial(probabilities, 1, generator=sampling.generator).squeeze(-1)
    top_p, top_k = (torch.full((len(logits), 1), value, device=logits.device) for value in (sampling.top_p, sampling.top_k))
    ordered, ids = most_probable(probabilities, top_p, top_k)
    return ids.gather(1, torch.multinomial(ordered, 1, generator=sampling.generator)).squeeze(-1)


def _lengths(ends: Tensor) -> Tensor:
    """Give the number of tokens of each answer up to its first end, that one included, from ends [B, N]."""
    before = ends.cumsum(1) - ends.long()  # ends before each position
    return (before == 0).sum(1)
