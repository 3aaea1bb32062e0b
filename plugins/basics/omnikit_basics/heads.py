"""Heads that predict text, words or states: cross-entropy, CTC, classes. Without tokenizer: ids in, ids out."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnikit.contracts.types import Features, Targets
from omnikit.errors import DataError
from omnikit.ops.cross_entropy import chunked_cross_entropy

PADDING = -100  # of Targets.ids


class LmHead(nn.Module):
    """Cross-entropy on logits that stand where their targets stand: data [B, U, V] for ids [B, U]."""

    def loss(self, features: Features, targets: Targets) -> Tensor:
        """Mean over the target tokens of the batch, float32.

        Raises:
            DataError: the batch holds no target at all.
        """
        self._check(targets)
        logits = features.data.flatten(0, 1).float()  # [B * U, V]
        return F.cross_entropy(logits, targets.ids.flatten(), ignore_index=PADDING)

    def loss_of_hidden(self, features: Features, targets: Targets, logits: Callable[[Tensor], Tensor],
                       vocabulary: int) -> Tensor:
        """As `loss`, of hidden states [B, U, D] under the logits, which are made chunk by chunk."""
        self._check(targets)
        return chunked_cross_entropy(features.data.flatten(0, 1), targets.ids.flatten(), logits, vocabulary)

    def decode(self, features: Features) -> list[list[int]]:
        """Best token at each place of each row."""
        return [ids[:length].tolist() for ids, length in zip(features.data.argmax(-1), features.lengths, strict=True)]

    def _check(self, targets: Targets) -> None:
        # on an accelerator the answer would be waited for; the collator makes no batch without a target
        if targets.ids.device.type == "cpu" and not bool((targets.ids != PADDING).any()):
            raise DataError("No token of the batch is a target for head lm: its rows hold no answer text.")


class CtcTextHead(nn.Module):
    """LayerNorm (if wanted) and Linear from `stack` joined frames to vocabulary + 1 classes; the last one is CTC's blank."""

    def __init__(self, source: int, vocabulary: int, *, norm: bool, stack: int = 1) -> None:
        super().__init__()
        self.blank = vocabulary
        self.stack = stack
        self.norm = nn.LayerNorm(source) if norm else nn.Identity()
        self.output = nn.Linear(source * stack, vocabulary + 1)

    def forward(self, features: Features) -> Features:
        """Log-probabilities [B, ceil(T / stack), V + 1] in float32."""
        data = self.norm(features.data)  # [B, T, D]
        lengths = (features.lengths + self.stack - 1) // self.stack
        if self.stack > 1:  # zeros fill the last run, as they do for the longest row
            inside = torch.arange(data.shape[1], device=data.device) < features.lengths[:, None]
            data = F.pad(data * inside[..., None], (0, 0, 0, -data.shape[1] % self.stack))
            data = data.reshape(len(data), data.shape[1] // self.stack, -1)  # [B, T / stack, D * stack]
        return Features(self.output(data).float().log_softmax(-1), lengths)

    def loss(self, features: Features, targets: Targets) -> Tensor:
        """Sum of the rows' CTC losses divided by the number of target tokens of the batch, float32.

        Raises:
            DataError: a row's target needs more frames than its features have.
        """
        scores = self(features)
        check_reachable(scores.lengths, targets)
        log_probs = scores.data.transpose(0, 1)  # [T, B, V + 1]
        ids = targets.ids.clamp(min=0)  # beyond the lengths nothing is read, but -100 is not a class
        frames, tokens = torch.stack([scores.lengths, targets.lengths]).cpu()  # CTC needs them on the host
        total = F.ctc_loss(log_probs, ids, frames, tokens, blank=self.blank, reduction="sum")
        return total / targets.lengths.sum().clamp(min=1)

    def decode(self, features: Features) -> list[list[int]]:
        """Best class of each frame, runs merged, blanks dropped."""
        scores = self(features)
        best = scores.data.argmax(-1)  # [B, T]
        rows = [torch.unique_consecutive(row[:length]) for row, length in zip(best, scores.lengths, strict=True)]
        return [row[row != self.blank].tolist() for row in rows]


def check_reachable(frames: Tensor, targets: Targets) -> None:
    """Refuse a target that CTC cannot emit: it takes one frame a token and one blank between two equal ones.

    PyTorch would give an infinite loss, or hide the row with zero_infinity. Looked at on the CPU only: the collator does so
    too, and an accelerator would be waited for.

    Raises:
        DataError: the first such row, by its place in the batch.
    """
    ids, lengths = targets.ids, targets.lengths
    if ids.device.type != "cpu":
        return
    inside = torch.arange(1, ids.shape[1], device=ids.device) < lengths[:, None]  # [B, U - 1]
    repeats = ((ids[:, 1:] == ids[:, :-1]) & inside).sum(1)
    needed = lengths + repeats
    for row in (needed > frames).nonzero().flatten().tolist():
        raise DataError(
            f"Row {row} of the batch has a target of {int(lengths[row])} tokens, {int(repeats[row])} of them repeated, "
            f"and needs at least {int(needed[row])} frames for CTC, but its features have {int(frames[row])}; "
            "drop the row or use features with a higher rate."
        )


class CaptionWordsHead(nn.Module):
    """LayerNorm and Linear from the mean of an image's vectors to the vocabulary: which tokens its caption has."""

    def __init__(self, source: int, vocabulary: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(source)
        self.output = nn.Linear(source, vocabulary)

    def forward(self, features: Features) -> Tensor:
        """Log-probabilities [B', V] of the tokens, float32."""
        inside = torch.arange(features.data.shape[1], device=features.data.device) < features.lengths[:, None]
        mean = (features.data * inside[..., None]).sum(1) / features.lengths.clamp(min=1)[:, None]  # [B', D]
        scores: Tensor = self.output(self.norm(mean))
        return scores.float().log_softmax(-1)

    def loss(self, features: Features, targets: Targets) -> Tensor:
        """Mean over the images of the mean of -log probability over the tokens of each caption, float32."""
        log_probabilities = self(features).gather(1, targets.ids.clamp(min=0))  # [B', U]
        wanted = targets.ids != PADDING
        means: Tensor = (log_probabilities * wanted).sum(1) / wanted.sum(1).clamp(min=1)
        return -means.mean()

    def decode(self, features: Features) -> list[list[int]]:
        """The tokens that are likelier than one in ten, likeliest first."""
        log_probabilities, order = self(features).sort(dim=-1, descending=True)
        return [ids[row > math.log(0.1)].tolist() for row, ids in zip(log_probabilities, order, strict=True)]


class StateHead(nn.Module):
    """One Linear (`predictor_head` in the published layout) from a state [B', 1, D] to len(weights) classes."""

    weights: Tensor

    def __init__(self, source: int, weights: Sequence[float]) -> None:
        super().__init__()
        self.output = nn.Linear(source, len(weights))
        self.register_buffer("weights", torch.tensor(weights), persistent=False)

    def probabilities(self, features: Features) -> Tensor:
        """[B', 1, D] to the classes' probabilities [B', C] in float32."""
        scores: Tensor = self.output(features.data[:, 0])
        return scores.float().softmax(-1)

    def loss(self, features: Features, targets: Targets) -> Tensor:
        """Cross-entropy, each target weighed by its class and the sum divided by the weights, float32; ids [B', 1].

        Raises:
            DataError: the batch holds no target at all.
        """
        ids = targets.ids[:, 0]
        if ids.device.type == "cpu" and not bool((ids != PADDING).any()):  # as for LmHead
            raise DataError("No question of the batch is a target for head state: none has audio with an answer behind it.")
        return F.cross_entropy(self.output(features.data[:, 0]).float(), ids, self.weights.float(), ignore_index=PADDING)

    def decode(self, features: Features) -> list[list[int]]:
        """The likeliest class of each signal."""
        return [[int(label)] for label in self.probabilities(features).argmax(-1)]
