"""One conversation out of a batch, as if it had been collated alone, and keys by what conversations hold. Runs no model."""

import hashlib
from collections.abc import Collection

import torch
from torch import Tensor

from omnikit.contracts.types import Batch, Signal, Targets


def single_row(batch: Batch, index: int) -> Batch:
    """Give the conversation of an index alone and without padding, packed or not; without targets.

    `signals` are the numbers of its signals, `media` those of its rows behind the projector, which may join signals.
    """
    signals = {name: [at for at, row in enumerate(rows) if row == index] for name, rows in batch.rows.items()}
    signals = {name: found for name, found in signals.items() if found}
    media = {name: [at for at, row in enumerate(batch.projected_rows(name)) if row == index] for name in signals}
    row, start, length = _position(batch, index)
    first = row * batch.tokens.shape[1] + start
    answers = int(batch.answer_lengths[index]) if len(batch.answer_lengths) else 0
    return Batch(
        tokens=batch.tokens[row:row + 1, start:start + length],
        lengths=batch.lengths.new_tensor([length] if length else []),
        answers=batch.answers[index:index + 1, :answers] - start,
        answer_lengths=batch.answer_lengths[index:index + 1],
        signals={name: _cut(batch.signals[name], found) for name, found in signals.items()},
        slots={name: _slots(batch, name, found) - first for name, found in media.items() if name in batch.slots},
        counts={name: [batch.counts[name][at] for at in found] for name, found in media.items()},
        rows={name: [0] * len(found) for name, found in signals.items()},
        instructions={name: _lines(batch.instructions[name], found) for name, found in media.items()
                      if name in batch.instructions},
        targets={}, ids=[batch.ids[index]],
        starts={name: [batch.starts[name][at] for at in found] for name, found in media.items() if name in batch.starts},
        sizes={name: [batch.sizes[name][at] for at in found] for name, found in signals.items() if name in batch.sizes},
        media={name: [batch.media[name][at] for at in found] for name, found in media.items() if name in batch.media})


def content_keys(batch: Batch, points: Collection[str]) -> dict[str, list[str]]:
    """Give for each point (see omnikit.plan.cache_points) a key of what each conversation holds before it.

    Of a point behind an encoder that is the branch's signals, of the backbone's states all signals and tokens. The key is empty
    where a conversation has no signal of the branch.
    """
    rows = [single_row(batch, index) for index in range(len(batch.ids))]
    return {point: [_key(row, None if point.startswith("backbone.") else point.partition(".")[0]) for row in rows]
            for point in points}


def _key(row: Batch, branch: str | None) -> str:
    if branch is not None and branch not in row.signals:
        return ""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(row.signals) if branch is None else [branch]:
        _add(digest, f"{name}{row.media.get(name, '')}", row.signals[name].data, row.signals[name].lengths)
        if name in row.instructions and branch is None:
            _add(digest, name, row.instructions[name].ids, row.instructions[name].lengths)
    if branch is None:
        _add(digest, f"{sorted(row.counts.items())}", row.tokens, row.answers, *(row.slots[name] for name in sorted(row.slots)))
    return digest.hexdigest()


def _add(digest: "hashlib.blake2b", name: str, *tensors: Tensor) -> None:
    digest.update(name.encode())
    for tensor in tensors:
        digest.update(f" {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)


def _position(batch: Batch, index: int) -> tuple[int, int, int]:
    """Give the sequence of a conversation, its first position there and its positions."""
    if not len(batch.lengths):
        return 0, 0, 0
    if batch.documents is None or batch.conversation_rows is None:
        return index, 0, int(batch.lengths[index])
    rows: list[int] = batch.conversation_rows.tolist()
    row = rows[index]
    inside = (batch.documents[row] == 1 + rows[:index].count(row)).nonzero()[:, 0]
    return row, int(inside[0]), len(inside)


def _cut(signal: Signal, found: list[int]) -> Signal:
    lengths = signal.lengths[found[0]:found[-1] + 1]
    data = signal.data[found[0]:found[-1] + 1]
    return Signal(data[:, :int(lengths.max())] if data.ndim == 2 else data, lengths)


def _lines(texts: Targets, found: list[int]) -> Targets:
    lengths = texts.lengths[found]
    return Targets(texts.ids[found][:, :int(lengths.max())], lengths)


def _slots(batch: Batch, name: str, found: list[int]) -> Tensor:
    begin = sum(batch.counts[name][:found[0]])
    return batch.slots[name][begin:begin + sum(batch.counts[name][found[0]:found[-1] + 1])]
