"""The report of an import: for every part what came from the files, what starts fresh and what was left over."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from omnikit.contracts.types import CheckpointTensors, LazyTensor
from omnikit.plan.import_stages import OTHER
from omnikit.recipe.wrappers import FIELD, advice
from omnikit.store.config_keys import key_of
from omnikit.store.prefixes import found_prefix
from omnikit.store.safetensors_writer import count
from omnikit.store.tensors import reads_as

COLUMNS = ("from_files", "fresh", "left_over", "left_out")

@dataclass(frozen=True)
class PartReport:
    """One part of a model against the files.

    Args:
        wanted: the tensors that the part has, by name; a shape and dtype, nothing to read.
        matched: those that the files hold in the right shape.
        unexpected: tensors of the files that the part has no place for, or has in another shape.
        ignored: tensors of the files that are left out on purpose.
    """

    part: str
    wanted: Mapping[str, LazyTensor]
    matched: Mapping[str, LazyTensor]
    unexpected: Mapping[str, LazyTensor]
    ignored: tuple[LazyTensor, ...]

    @property
    def fresh(self) -> list[str]:
        """The tensors that start from random weights."""
        return [name for name in self.wanted if name not in self.matched]

    @property
    def complete(self) -> bool:
        """Whether every tensor came from the files and none was left over."""
        return not self.fresh and not self.unexpected

    @property
    def numbers(self) -> tuple[int, int, int, int]:
        """Numbers (weights and buffers) matched, fresh, unexpected, left out on purpose."""
        fresh = sum(count(self.wanted[name]) for name in self.fresh)
        return (_total(self.matched.values()), fresh, _total(self.unexpected.values()), _total(self.ignored))

    @property
    def formats(self) -> list[str]:
        """The dtypes that the files hold the part in."""
        return sorted({tensor.dtype for tensor in self.matched.values()})


def compare(wanted: Mapping[str, Mapping[str, LazyTensor]], found: CheckpointTensors) -> list[PartReport]:
    """Hold part → name → tensor of a model against what was published; the last entry is what belongs to no part."""
    entries = []
    for part, own in wanted.items():
        there = found.tensors.get(part, {})
        matched = {name: tensor for name, tensor in there.items() if name in own and own[name].shape == tensor.shape
                   and _is_readable(tensor, own[name])}
        unexpected = {name: tensor for name, tensor in there.items() if name not in matched}
        entries.append(PartReport(part, own, matched, unexpected, tuple(found.ignored.get(part, ()))))
    strays = {f"{part}.{name}".removeprefix(f"{OTHER}."): tensor for part, there in found.tensors.items() if part not in wanted
              for name, tensor in there.items()}
    ignored = tuple(tensor for part, tensors in found.ignored.items() if part not in wanted for tensor in tensors)
    return [*entries, PartReport(OTHER, {}, {}, strays, ignored)]


def incomplete_parts(entries: list[PartReport], found: CheckpointTensors, allow: Collection[str]) -> list[str]:
    """Give one sentence for each part that is not complete and may not be so; one for all where a prefix explains them."""
    wrong = [entry for entry in entries if (entry.part not in allow and not entry.complete) or list(_unreadable(entry))]
    missing = [found.original(entry.part, name) for entry in wrong for name in entry.fresh if name not in entry.unexpected]
    strays = {tensor.name: tensor for entry in wrong for name, tensor in entry.unexpected.items() if name not in entry.wanted}
    if prefix := found_prefix(missing, strays):
        first = next(entry for entry in wrong if entry.fresh)
        names = f"{missing[0]} is missing from {found.sources.get(first.part, 'the files')}{_more(missing)}"
        return [f"{first.part}: {names}; {advice(prefix, '')}, or give --{FIELD} {prefix} (source.{FIELD} of a stage)."]
    return [_incomplete(entry, found) for entry in wrong]


def rows_of(lock: Path) -> list[tuple[str, ...]]:
    """Give the import report in a stage's manifest.json as a table: a head, a line for each part that has tensors, a sum."""
    numbers = {part: entry["numbers"] for part, entry in json.loads(lock.read_text())["import_report"].items()}
    sums = [sum(entry[key] for entry in numbers.values()) for key in COLUMNS]
    return [("part", "numbers", "from files", "fresh", "left over", "left out on purpose"),
            *(_row(part, *(entry[key] for key in COLUMNS)) for part, entry in numbers.items()), _row("all", *sums)]


def as_record(entries: list[PartReport]) -> dict[str, dict[str, object]]:
    """Give the import report as manifest.json holds it."""
    return {entry.part: {"numbers": dict(zip(COLUMNS, entry.numbers, strict=True)),
                         "fresh": entry.fresh, "left_over": sorted(tensor.name for tensor in entry.unexpected.values()),
                         "formats": entry.formats}
            for entry in entries if any(entry.numbers)}


def _row(name: str, matched: int, fresh: int, unexpected: int, ignored: int) -> tuple[str, ...]:
    whole = matched + fresh
    share = f"{matched / whole:.1%}" if whole else ""
    return (name, _grouped(whole), share, *(_grouped(number) if number else "" for number in (fresh, unexpected, ignored)))


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _total(tensors: Collection[LazyTensor]) -> int:
    return sum(count(tensor) for tensor in tensors)


def _is_readable(tensor: LazyTensor, own: LazyTensor) -> bool:
    """Whether a tensor's numbers mean themselves in the model's dtype."""
    return reads_as(tensor.dtype, getattr(torch, own.dtype))


def _unreadable(entry: PartReport) -> Iterator[LazyTensor]:
    """Give the tensors whose numbers mean nothing in the model's dtype, which no part may start without."""
    yield from (tensor for name, tensor in entry.unexpected.items()
                if name in entry.wanted and not _is_readable(tensor, entry.wanted[name]))


def _incomplete(entry: PartReport, found: CheckpointTensors) -> str:
    """Say what a part lacks, has too much of or has in another shape, by the names of the files."""
    part, sentences = entry.part, []
    home = found.sources.get(part, "the files")
    misshapen = {name: tensor for name, tensor in entry.unexpected.items() if name in entry.wanted}
    missing = [name for name in entry.fresh if name not in misshapen]
    strays = [tensor for name, tensor in entry.unexpected.items() if name not in misshapen]
    absent = bool(missing) and len(missing) == len(entry.wanted)
    if narrow := next(_unreadable(entry), None):
        sentences.append(f"{narrow.name} of {narrow.file} has the dtype {narrow.dtype}, which means nothing without its scales")
    elif absent:
        sentences.append(f"all of its {len(missing)} tensors are missing from {home}")
    elif missing:
        sentences.append(f"{found.original(part, missing[0])} is missing from {home}{_more(missing)}")
    for name, tensor in list(misshapen.items())[:0 if narrow else 1]:
        sentences.append(f"{tensor.name} of {tensor.file} has shape {tensor.shape}, but the model has"
                         f" {entry.wanted[name].shape}"
                         f"{_more(misshapen)}")
    if strays:
        sentences.append(f"{strays[0].name} of {strays[0].file} has no place in the model{_more(strays)}")
    unmatched = [*missing, *(stray.name for stray in strays)]
    key = key_of(list(misshapen), sizes=True) if misshapen else key_of(unmatched, sizes=False)
    return f"{part}: {' and '.join(sentences)}; {_advice(entry, absent and not strays, len(unmatched), key)}."


def _advice(entry: PartReport, absent: bool, unmatched: int, key: str | None) -> str:
    """Say what to do: --allow only for a part that is not there at all, or for what belongs to none.

    Args:
        unmatched: tensors that are missing or left over.
        key: of a config.json, that decides on the first tensor that does not fit.
    """
    if absent:
        return f"fix the files, or let it start from random weights with --allow {entry.part}"
    if entry.part == OTHER:
        return f"fix the files, or leave {'them' if unmatched > 1 else 'it'} out with --allow {OTHER}"
    return f"fix the files: {key} in config.json decides on that" if key else "give files that belong together"


def _more(some: Collection[object]) -> str:
    return f" ({len(some)} such tensors)" if len(some) > 1 else ""
