"""Rows that a dataset's policy leaves out: the next good row takes the place of each, so that no batch becomes smaller.

Which rows are left out follows from the data alone. It is found where a row is read or collated, never before: a stage begins
as soon as without a policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from omnikit.contracts.protocols import Reader
from omnikit.contracts.types import Batch, Sample, SkippedRow
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.lengths import LengthCounter
from omnikit.data.batch.loader import CollatedRows
from omnikit.data.batch.packing import Pack, PackedCollator, PackedSamples, pack_batch
from omnikit.data.batch.samplers import MixtureDataset, SampleKey
from omnikit.data.batch.signals import audio_seconds, question_media
from omnikit.data.media.containers import DEFAULTS
from omnikit.errors import DataError
from omnikit.plan.plan import Plan
from omnikit.recipe.media import MediaLimits
from omnikit.recipe.row_policy import RowPolicy

FILTERED = "filtered"  # kind of a row with which nothing is wrong


class TolerantReader:
    """Samples by index, in place of those that a policy leaves out the next good ones.

    Args:
        dataset: its name.
        reader: all rows.
        policy: which are left out.
        limits: of the files whose length a filter needs.
    """

    def __init__(self, dataset: str, reader: Reader, policy: RowPolicy, limits: MediaLimits = DEFAULTS) -> None:
        self.dataset, self.reader, self.policy, self.limits = dataset, reader, policy, limits
        self.lengths: Callable[[Sample], int] | None = None  # gives the positions of a sample, for filter.max_tokens
        self.skipped: dict[int, SkippedRow] = {}  # by index, as far as this process has met them

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> Sample:
        return self.read(index)[0]

    def read(self, index: int, check: Callable[[Sample], object] = lambda sample: None) -> tuple[Sample, list[SkippedRow]]:
        """Give the first good row from an index on, and those that are left out before it.

        Args:
            check: raises DataError where a sample cannot be used.

        Raises:
            DataError: a row is bad and the policy stops, too many are, or no row is good.
        """
        left_out: list[SkippedRow] = []
        for step in range(len(self.reader)):
            at = (index + step) % len(self.reader)
            sample = None if at in self.skipped else self._checked(at, check)
            if sample is not None:
                return sample, left_out
            left_out.append(self.skipped[at])
        raise DataError(f"No row of dataset {self.dataset} can be used: {left_out[0].reason}", kind="no rows")

    def _checked(self, index: int, check: Callable[[Sample], object]) -> Sample | None:
        """Give a row, or None where it is left out, which is noted."""
        name = ""
        try:
            sample = self.reader[index]
            name = sample.id
            reason = self._filter(sample)
            if reason is None:
                check(sample)
                return sample
            self.skipped[index] = SkippedRow(self.dataset, index, name, FILTERED, reason)
        except DataError as error:
            if self.policy.on_error == "stop":
                raise
            self.skipped[index] = SkippedRow(self.dataset, index, error.row or name, error.kind, str(error))
            check_limit(self.dataset, self.policy, self.skipped.values())
        return None

    def _filter(self, sample: Sample) -> str | None:
        """Say why a good row is left out, or None."""
        limits = self.policy.filter
        if limits.max_seconds is not None or limits.min_seconds is not None:
            found = [seconds for part in question_media(sample) if part.type == "audio"
                     and (seconds := audio_seconds(part, self.limits)) is not None]
            if found and limits.max_seconds is not None and max(found) > limits.max_seconds:
                return f"{max(found):.2f} s of audio, more than max_seconds {limits.max_seconds:g}"
            if found and limits.min_seconds is not None and min(found) < limits.min_seconds:
                return f"{min(found):.2f} s of audio, less than min_seconds {limits.min_seconds:g}"
        if limits.max_tokens is not None and self.lengths and (length := self.lengths(sample)) > limits.max_tokens:
            return f"{length} positions, more than max_tokens {limits.max_tokens}"
        return None


def check_limit(dataset: str, policy: RowPolicy, skipped: Iterable[SkippedRow]) -> None:
    """Raise DataError where more rows with errors were skipped than a policy allows."""
    bad = [row for row in skipped if row.kind != FILTERED]
    if policy.max_skipped is not None and len(bad) > policy.max_skipped:
        raise DataError(f"{len(bad)} rows of dataset {dataset} cannot be used, but data.{dataset}.max_skipped is"
                        f" {policy.max_skipped}; the last one: {bad[-1].reason}", kind="too many skipped")


def open_reader(plan: Plan, dataset: str) -> Reader:
    """Open a dataset of a plan for training, with its policy."""
    reader = plan.readers[dataset].build()
    policy = plan.recipe.row_policies.get(dataset)
    return TolerantReader(dataset, reader, policy, plan.recipe.media) if policy and len(reader) else reader


def tolerant(readers: Mapping[str, Reader], collator: Collator) -> dict[str, TolerantReader]:
    """Give the readers that have a policy, which from then on count positions as a collator does."""
    found = {name: reader for name, reader in readers.items() if isinstance(reader, TolerantReader)}
    for reader in found.values():
        reader.lengths = LengthCounter(collator)
    return found


class TolerantRows:
    """Makes a batch of the keys of its rows."""

    def __init__(self, readers: Mapping[str, Reader], collator: Collator) -> None:
        self.readers, self.collator = readers, collator

    def __call__(self, keys: Sequence[SampleKey]) -> Batch:
        """Make one batch; raises DataError where a row is bad and its policy stops."""
        read = [self._read(key) for key in keys]
        try:
            batch = self.collator([sample for sample, _ in read])
        except DataError:  # one that only shows when media are decoded
            read = [self._read(key, lambda sample: self.collator([sample])) for key in keys]
            batch = self.collator([sample for sample, _ in read])
        return replace(batch, skipped=tuple(row for _, left_out in read for row in left_out))

    def _read(self, key: SampleKey, check: Callable[[Sample], object] = lambda sample: None) -> tuple[Sample, list[SkippedRow]]:
        reader = self.readers[key[0]]
        return reader.read(key[1], check) if isinstance(reader, TolerantReader) else (reader[key[1]], [])


class TolerantPacks:
    """Makes a batch of packed rows of the keys of their samples."""

    def __init__(self, rows: TolerantRows, packed: PackedCollator) -> None:
        self.rows, self.packed = rows, packed

    def __call__(self, packs: Sequence[Pack]) -> Batch:
        """Make one batch; as TolerantRows."""
        batch = self.rows([key for pack in packs for key in pack])
        return pack_batch(batch, [index for index, pack in enumerate(packs) for _ in pack], self.packed.per_token)


def row_batches(mixture: MixtureDataset, collator: Collator) -> Callable[[Sequence[SampleKey]], Batch]:
    """Give what makes a batch of the keys of its rows."""
    if tolerant(mixture.readers, collator):
        return TolerantRows(mixture.readers, collator)
    return CollatedRows(mixture, collator)


def packed_batches(mixture: MixtureDataset, collator: Collator) -> Callable[[Sequence[Pack]], Batch]:
    """Give what makes a batch of packed rows of the keys of their samples."""
    packed = PackedCollator(collator)
    if tolerant(mixture.readers, collator):
        return TolerantPacks(TolerantRows(mixture.readers, collator), packed)
    return CollatedRows(PackedSamples(mixture), packed)
