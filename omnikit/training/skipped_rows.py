"""Rows that a stage leaves out: listed in its folder, counted once each, held against the datasets' limits."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from omnikit.contracts.protocols import Reader
from omnikit.contracts.types import Batch, SkippedRow
from omnikit.data.batch.tolerant import FILTERED, TolerantReader, check_limit
from omnikit.data.batch.windows import CountedBatch, count_window
from omnikit.recipe.row_policy import RowPolicy

log = logging.getLogger(__name__)
FILE = "skipped.jsonl"


class SkippedRows:
    """Owns the list of a stage; a resumed stage continues the one that is there.

    Args:
        folder: of the stage, which holds the list, one row in a line.
        policies: dataset → its policy.
    """

    def __init__(self, folder: Path, policies: Mapping[str, RowPolicy]) -> None:
        self.file, self.policies = folder / FILE, policies
        file = self.file
        self._rows: dict[tuple[str, int], SkippedRow] = {}
        if file.is_file():
            for line in file.read_text(encoding="utf-8").splitlines():
                if line.endswith("}"):  # a kill may have cut the last one
                    row = SkippedRow(**json.loads(line))
                    self._rows[row.dataset, row.index] = row
            self._write(self._rows.values(), "w")

    def of_window(self, batches: Sequence[CountedBatch]) -> None:
        """Count the targets of an accumulation window, and note what its batches leave out."""
        count_window(batches)
        for batch in batches:
            if isinstance(batch, Batch):
                self.of_batch(batch)

    def of_batch(self, batch: Batch) -> None:
        """Note what a batch leaves out."""
        self.add(batch.skipped)

    def of_readers(self, readers: Mapping[str, Reader]) -> Self:
        """Note what readers have left out in this process."""
        self.add(row for reader in readers.values() if isinstance(reader, TolerantReader) for row in reader.skipped.values())
        return self

    def add(self, rows: Iterable[SkippedRow]) -> None:
        """Note rows, each once.

        Raises:
            DataError: a dataset has more rows with errors than its policy allows.
        """
        new = {(row.dataset, row.index): row for row in rows if (row.dataset, row.index) not in self._rows}
        if not new:
            return
        self._rows |= new
        self._write(new.values(), "a")
        for row in new.values():
            if row.kind != FILTERED:
                log.warning("Skipped: %s", row.reason)
        for name in {row.dataset for row in new.values()}:
            check_limit(name, self.policies.get(name, RowPolicy()), [row for row in self._rows.values() if row.dataset == name])

    def numbers(self) -> dict[str, float]:
        """Give how many rows were left out, for the stage's record; nothing where none was."""
        kinds = Counter("filtered rows" if row.kind == FILTERED else "skipped rows" for row in self._rows.values())
        return {kind: float(count) for kind, count in sorted(kinds.items())}

    def _write(self, rows: Iterable[SkippedRow], mode: str) -> None:
        with self.file.open(mode, encoding="utf-8") as stream:
            stream.writelines(json.dumps(vars(row), ensure_ascii=False) + "\n" for row in rows)
