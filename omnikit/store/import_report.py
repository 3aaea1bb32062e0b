"""The report of an import: for every part what came from the files, what starts fresh and what was left over."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from omnikit.contracts.types import CheckpointTensors, LazyTensor
from omnikit.plan.import_stages import OTHER
from omnikit.store.safetensors_writer import count

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
        matched = {name: tensor for name, tensor in there.items() if name in own and own[name].shape == tensor.shape}
        unexpected = {name: tensor for name, tensor in there.items() if name not in matched}
        entries.append(PartReport(part, own, matched, unexpected, tuple(found.ignored.get(part, ()))))
    strays = {f"{part}.{name}".removeprefix(f"{OTHER}."): tensor for part, there in found.tensors.items() if part not in wanted
              for name, tensor in there.items()}
    ignored = tuple(tensor for part, tensors in found.ignored.items() if part not in wanted for tensor in tensors)
    return [*entries, PartReport(OTHER, {}, {}, strays, ignored)]


def incomplete_parts(entries: list[PartReport], found: CheckpointTensors, allow: Collection[str]) -> list[str]:
    """Give one sentence for each part that is not complete and may not be so."""
    return [_incomplete(entry, found) for entry in entries if entry.part not in allow and not entry.complete]


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


def _incomplete(entry: PartReport, found: CheckpointTensors) -> str:
    """Say what a part lacks, has too much of or has in another shape, by the names of the files."""
    part, sentences = entry.part, []
    home = found.sources.get(part, "the files")
    misshapen = {name: tensor for name, tensor in entry.unexpected.items() if name in entry.wanted}
    missing = [name for name in entry.fresh if name not in misshapen]
    strays = [tensor for name, tensor in entry.unexpected.items() if name not in misshapen]
    if missing and len(missing) == len(entry.wanted):
        sentences.append(f"all of its {len(missing)} tensors are missing from {home}")
    elif missing:
        sentences.append(f"{found.original(part, missing[0])} is missing from {home}{_more(missing)}")
    for name, tensor in list(misshapen.items())[:1]:
        sentences.append(f"{tensor.name} of {tensor.file} has shape {tensor.shape}, but the model has"
                         f" {entry.wanted[name].shape}"
                         f"{_more(misshapen)}")
    if strays:
        sentences.append(f"{strays[0].name} of {strays[0].file} has no place in the model{_more(strays)}")
    return f"{part}: {' and '.join(sentences)}; fix the files, or {_advice(entry)}."


def _advice(entry: PartReport) -> str:
    if not entry.fresh:
        return f"leave it out with --allow {entry.part}"
    return f"let what is missing start from random weights with --allow {entry.part}"


def _more(some: Collection[object]) -> str:
    return f" ({len(some)} such tensors)" if len(some) > 1 else ""
