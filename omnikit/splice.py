"""Features on their way into the backbone and to the heads: picked, pooled, cast, and held against their contracts.

Uses no plan, and no module but those that are passed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.utils.rnn import pad_sequence

from omnikit.contracts.layout import InputLayout, Memory
from omnikit.contracts.specs import FeatureSpec, ImageSpec
from omnikit.contracts.types import Batch, Features, Signal
from omnikit.errors import DataError, PlanError

OPENING, SELDOM = 3, 500  # batches whose lengths are read although an accelerator must be waited for: the first, every so many


def as_dtype_of(module: nn.Module, features: Features) -> Features:
    """Give features in the dtype of a module's weights; unchanged for a module without floating-point weights."""
    dtype = next((each.dtype for each in module.parameters() if each.is_floating_point()), features.data.dtype)
    return features if features.data.dtype == dtype else Features(features.data.to(dtype), features.lengths, features.rate)


def normalised(signal: Signal, spec: ImageSpec | None) -> Signal:
    """Give tiles [B, 3, S, S] of bytes as an encoder of images takes them: in [0, 1], less the mean, by the deviation; float32.

    A signal of anything else is given back. It is here, and not where images are read, so that a quarter of the bytes go to the
    accelerator.
    """
    if spec is None or signal.data.dtype != torch.uint8:
        return signal
    found = torch.empty(signal.data.shape, device=signal.data.device)
    for channel, (mean, deviation) in enumerate(zip(spec.mean, spec.deviation, strict=True)):
        torch.mul(signal.data[:, channel], 1 / (255 * deviation), out=found[:, channel]).sub_(mean / deviation)
    return Signal(found, signal.lengths)


def at(values: Tensor, positions: Tensor, conversation_rows: Tensor | None) -> Tensor:
    """Gather values [B, L, …] at positions [C, U] of rows [C], by default one row for each line, giving [C, U, …]."""
    rows = torch.arange(len(positions), device=positions.device) if conversation_rows is None else conversation_rows
    return values[rows[:, None], positions]


def pooled(vectors: Tensor, count: int) -> Tensor:
    """Pool the vectors of square images [B, T, D] to `count` of each [B, count, D], both squares, row by row: bilinear."""
    side, new = isqrt(vectors.shape[1]), isqrt(count)
    if side == new:
        return vectors
    grid = vectors.transpose(1, 2).reshape(*vectors.shape[::2], side, side)  # [B, D, side, side]
    return interpolate(grid, size=(new, new), mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)


def spliced(vectors: Tensor, slots: Tensor, features: Tensor, counts: Sequence[int], pools: Sequence[int]) -> Tensor:
    """Put features [B', T, D], so many of each signal, in the place of vectors [B, L, D].

    Args:
        slots: [S] int64, the position (row * L + position) of each feature.
        pools: counts to which the features of a square image are pooled.
    """
    packed = torch.cat([pooled(row[None], count)[0] if count in pools else row[:count]
                        for row, count in zip(features, counts, strict=True)])  # [S, D]
    return vectors.flatten(0, 1).index_copy(0, slots, packed.to(vectors.dtype)).view_as(vectors)


def input_layout(batch: Batch, attended: Mapping[str, Attended]) -> InputLayout:
    """Give what a batch's positions [B, L] hold; of a batch of prompts all of them come before the answer.

    Args:
        attended: input branch → the features that the backbone attends to.
    """
    held = torch.zeros(batch.tokens.numel(), dtype=torch.bool, device=batch.tokens.device)
    for slots in batch.slots.values():
        held[slots] = True
    prompts = batch.lengths if not batch.answers.shape[1] else torch.where(batch.answer_lengths > 0, batch.answers[:, 0],
                                                                           batch.lengths)
    return InputLayout(prompts, held.view_as(batch.tokens), _memory(batch, attended) if attended else None)


@dataclass(frozen=True)
class Attended:
    """Features [B', T, D] of a branch's signals, and how many of each are valid."""

    features: Features
    lengths: Sequence[int]


def _memory(batch: Batch, attended: Mapping[str, Attended]) -> Memory:
    """Give what each row attends to, in the order of its media; features with one start are of one medium."""
    rows: list[list[tuple[int, Tensor]]] = [[] for _ in batch.ids]  # of each row starts and vectors [T, D]
    for branch, found in attended.items():
        for index, start, length, vectors in zip(batch.projected_rows(branch), batch.starts[branch], found.lengths,
                                                 found.features.data, strict=True):
            rows[index].append((start, vectors[:length]))
    empty = next(iter(attended.values())).features.data[0, :0]
    starts, media, data = [], [], []
    for row in rows:
        row.sort(key=lambda each: each[0])  # stable: with one start in the order of the branches
        numbers = {start: number for number, start in enumerate(dict.fromkeys(start for start, _ in row))}
        data.append(torch.cat([empty, *(vectors for _, vectors in row)]))
        starts.append(torch.tensor([start for start, vectors in row for _ in vectors], dtype=torch.int64))
        media.append(torch.tensor([numbers[start] for start, vectors in row for _ in vectors], dtype=torch.int64))
    padded = pad_sequence(starts, batch_first=True, padding_value=Memory.FAR), pad_sequence(media, True, -1)
    return Memory(pad_sequence(data, batch_first=True), *(each.to(empty.device, non_blocking=True) for each in padded))


class LengthChecks:
    """Counts the batches of each part, so that an accelerator is waited for seldom."""

    def __init__(self) -> None:
        self._batches: Counter[str] = Counter()

    def due(self, part: str, device: torch.device) -> bool:
        """Give whether a part's lengths are read now: on the CPU always, else of its first batches and of a few later ones."""
        self._batches[part] += 1
        return device.type == "cpu" or self._batches[part] <= OPENING or self._batches[part] % SELDOM == 0


@dataclass(frozen=True)
class ExpectedFeatures:
    """What a part's contract promises of one batch.

    Args:
        part: the part and its plugin, for sentences.
        spec: hidden size and rate.
        lengths: features of each signal, as its `length` counts them.
        rows: the name of the row that each signal stands in.
    """

    part: str
    spec: FeatureSpec
    lengths: Sequence[int]
    rows: Sequence[str]


def check_features(features: Features, expected: ExpectedFeatures, *, read_lengths: bool) -> None:
    """Hold what a part gave against its contract.

    Args:
        read_lengths: compares each row's length too, for which an accelerator must be waited for; else shapes alone.

    Raises:
        DataError: another number of features came; names the row.
        PlanError: they are wider or narrower, or lie at another rate.
    """
    count, longest, dim = features.data.shape
    if dim != expected.spec.dim:
        raise PlanError(f"{expected.part} gives features of hidden size {dim}, but its `output` states"
                        f" {expected.spec.dim}; fix either in the plugin.")
    if features.rate != expected.spec.rate:
        raise PlanError(f"{expected.part} gives features at {_rate(features.rate)}, but its `output` states"
                        f" {_rate(expected.spec.rate)}; fix either in the plugin.")
    found = features.lengths.tolist() if read_lengths else expected.lengths
    for row, given, wanted in zip(expected.rows, found, expected.lengths, strict=False):
        if given != wanted:
            raise DataError(f"Row {row}: {expected.part} gives {given} features, but its `length` gives {wanted}; fix either"
                            " in the plugin.")
    if count != len(expected.lengths) or longest < max(expected.lengths):
        raise DataError(f"{expected.part} gives features of shape {list(features.data.shape)}, but its `length` gives"
                        f" {len(expected.lengths)} signals of up to {max(expected.lengths)} features in rows"
                        f" {', '.join(dict.fromkeys(expected.rows))}; fix either in the plugin.")


def check_dim(part: str, what: str, found: Tensor, dim: int) -> None:
    """Hold the width of what a backbone gives against its contract; raises PlanError."""
    if found.shape[-1] != dim:
        raise PlanError(f"{part} gives {what} of hidden size {found.shape[-1]}, but its contract states {dim}; fix either in"
                        " the plugin.")


def _rate(rate: Fraction | None) -> str:
    return "no rate" if rate is None else f"{float(rate):g} Hz"
