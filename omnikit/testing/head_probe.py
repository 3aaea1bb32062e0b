"""Heads: random features of what the head taps, and targets that it can reach."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from itertools import product
from typing import Any

import torch
from torch import Tensor

from omnikit.contracts.optional import head_options
from omnikit.contracts.specs import CodecSpec, FeatureSpec
from omnikit.contracts.types import Features, Targets
from omnikit.errors import ConfigError
from omnikit.testing.probe import Probe, Row, lengths_of, padded, to_random_targets
from omnikit.testing.results import CheckFailure

VOCABULARY = 60  # tokens of text
RATE = Fraction(10)  # Hz, of tapped features
LENGTHS, TARGETS = (40, 29, 18), (6, 5, 4)  # positions and targets of each row
DIMS = (64, 128, 32, 256, 512, 768, 896, 1024, 2048, 4096)  # hidden sizes, of which the first that is read is taken
CODEBOOKS, CARDINALITIES = (1, 2, 3, 4, 8, 16, 32), (100, 64, 256, 500, 1000, 1024, 2048, 4096)


class HeadProbe(Probe):
    """Features to ids. A row is what it taps [N, D], its targets [U] or codes [U, Q], and the hidden states [M, D] it takes."""

    @cached_property
    def source(self) -> FeatureSpec:
        """What it taps."""
        if self.config.tap == "logits":
            return FeatureSpec(VOCABULARY, count=1)
        reads = head_options(self.config).reads
        described = {"count": 1} if self.config.tap in ("hidden", "embedding") else {"rate": RATE}
        for dim in DIMS:
            source = FeatureSpec(dim, **described)
            if reads is None or reads(source) is None:
                return source
        raise ConfigError(f"head {self.component.name} reads features of none of the hidden sizes {', '.join(map(str, DIMS))};"
                          " give a configuration that does.")

    @cached_property
    def codec(self) -> CodecSpec | None:
        """The codec beside it, for a head of codes: the first of several that it can emit."""
        if self.config.target != "codes":
            return None
        emitted = head_options(self.config).codebooks
        for books, merged, cardinality in product(CODEBOOKS, (True, False), CARDINALITIES):
            codec = CodecSpec(16000, Fraction(50), books, cardinality, merged)
            if emitted in (None, books) and not (merged and books > 1) and self.config.codes(codec) is None:
                return codec
        raise ConfigError(f"head {self.component.name} emits the codes of no codec with up to {max(CODEBOOKS)} codebooks of"
                          f" {min(CARDINALITIES)} to {max(CARDINALITIES)} codes; give a configuration that does.")

    @property
    def takes_context(self) -> bool:
        """Whether `loss` also takes the backbone's hidden states."""
        return head_options(self.config).context == "hidden"

    def make(self) -> Any:
        return self.config.build(self.source, self.codec, VOCABULARY)

    def rows(self, seed: int = 0) -> list[Row]:
        generator = torch.Generator().manual_seed(seed)
        return [self._row(length, count, generator) for length, count in zip(LENGTHS, TARGETS, strict=True)]

    def _row(self, length: int, count: int, generator: torch.Generator) -> Row:
        target = self.config.target
        length = {"tokens": count, "state": 1, "codes": 8 + count}.get(target, length)
        features = torch.randn(length, self.source.dim, generator=generator)
        if target == "codes" and self.codec:
            ids = torch.randint(0, self.codec.cardinality, (count, self.codec.codebooks), generator=generator)
        else:
            ids = torch.randint(0, 2 if target == "state" else VOCABULARY, (1 if target == "state" else count,),
                                generator=generator)
        context = (torch.randn(length, self.source.dim, generator=generator),) if self.takes_context else ()
        return (features, ids, *context)

    def features(self, rows: Sequence[Row]) -> Features:
        """Give what a batch of rows taps."""
        rate = self.source.rate
        return Features(padded([row[0] for row in rows]), lengths_of([row[0] for row in rows]), rate)

    def context(self, rows: Sequence[Row]) -> list[Features]:
        """Give the hidden states of a batch of rows, none where the head takes none."""
        if not self.takes_context:
            return []
        return [Features(padded([row[2] for row in rows]), lengths_of([row[2] for row in rows]))]

    def targets(self, rows: Sequence[Row]) -> Targets:
        """Give the targets of a batch of rows, padding -100."""
        ids = [row[1] for row in rows]
        joined = padded(ids)
        for row, one in zip(joined, ids, strict=True):
            row[len(one):] = -100
        return Targets(joined, lengths_of(ids))

    def outputs(self, module: Any, rows: Sequence[Row]) -> list[Row]:
        found = self.decoded(module, rows)
        return [(torch.tensor(row, dtype=torch.int64),) for row in found]

    def decoded(self, module: Any, rows: Sequence[Row]) -> list[list[Any]]:
        """Give what `decode` gives, which must be a list for each row."""
        found = module.decode(self.features(rows), *self.context(rows))
        if not isinstance(found, list) or len(found) != len(rows):
            raise CheckFailure(f"`decode` gives {type(found).__name__} for {len(rows)} rows, but must give a list for each row")
        return found

    def loss(self, module: Any, rows: Sequence[Row]) -> Tensor:
        found = self.own_loss(module, rows)
        if head_options(self.config).steps is not None:  # what the backbone reads is trained with it
            found = found + to_random_targets([module.inputs(self.targets(rows))])
        return found

    def own_loss(self, module: Any, rows: Sequence[Row]) -> Tensor:
        """Give what its `loss` gives."""
        found: Tensor = module.loss(self.features(rows), self.targets(rows), *self.context(rows))
        return found

    def loss_count(self, rows: Sequence[Row]) -> float:
        """Give what the loss of a batch of rows is a mean over."""
        count, targets = head_options(self.config).loss_count, self.targets(rows)
        return float(targets.lengths.sum()) if count is None else float(count(targets))
