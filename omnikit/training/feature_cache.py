"""A stage's frozen prefix, computed once for each row and read from then on (`trainer.cache: features`).

A row is computed alone and without padding, so that its features are the same bits in whatever batch it stands. Trains nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from omnikit.contracts.protocols import Reader
from omnikit.contracts.types import Batch, Features
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.single_rows import content_keys, single_row
from omnikit.errors import DataError, RunError
from omnikit.model import OmniModel
from omnikit.paths import cache_folder
from omnikit.plan.cache_points import cache_points
from omnikit.plan.plan import Plan, StagePlan
from omnikit.store.facts import component_fields
from omnikit.store.feature_store import FeatureStore
from omnikit.store.load import hashes
from omnikit.taps import Taps
from omnikit.training.distributed import ALONE, World, largest
from omnikit.training.lockstep import blank, run_encoders

log = logging.getLogger(__name__)
Key = TypeVar("Key")


class FeatureCache:
    """Gives what stands before the trained parts of a stage, read where it was computed before.

    Args:
        points: point → store.
        model: computes what is missing.
        parts: those that stand before the points.
        world: ranks among which the model is sharded, so that they compute together; ALONE where each has all of it.
    """

    def __init__(self, plan: Plan, model: OmniModel, stage: str, points: Mapping[str, FeatureStore], *,
                 parts: Collection[str] = (), world: World = ALONE) -> None:
        self.plan, self.model, self.stage, self.points = plan, model, stage, dict(points)
        self.parts, self.world = frozenset(parts), world
        self.read = self.computed = 0  # rows of points
        self._checked: set[str] = set()  # points whose first row was computed twice

    def __call__(self, batch: Batch) -> dict[str, Features]:
        """Give point → features of a batch whose `content` holds its rows' keys."""
        rows = {point: self._rows(batch, point) for point in self.points}
        return {point: self._joined(point, [item for row in found for item in row], batch.tokens.device)
                for point, found in rows.items() if found}

    def check(self, readers: Mapping[str, Reader], collate: Collator) -> None:
        """Refuse a dataset that gives other data each time that a row is read: nothing stored would be read again.

        Raises:
            DataError: one does; names it and the row.
        """
        for name, reader in readers.items():
            first, second = (collate([reader[0]]) for _ in range(2))
            if content_keys(first, self.points) != content_keys(second, self.points):
                raise DataError(f"Stage {self.stage} stores features, but row {first.ids[0]} of dataset {name} holds other data"
                                f" each time that it is read; leave stages.{self.stage}.trainer.cache out.")

    def keyed(self, make: Callable[[Key], Batch]) -> Callable[[Key], Batch]:
        """Give a maker of batches that also fills in their rows' keys; it runs in the loader's workers."""
        return KeyedBatches(make, tuple(self.points))

    def close(self) -> None:
        """Write what is not written yet."""
        for store in self.points.values():
            store.flush()
        if self.read or self.computed:
            log.info("Stage %s: features of %d rows were computed, of %d read.", self.stage, self.computed, self.read)

    def _rows(self, batch: Batch, point: str) -> list[list[Tensor]]:
        """Give the features of each row that has some; what is missing is computed, on all ranks together."""
        store, keys = self.points[point], batch.content[point]
        found = {key: features for key in keys if key and (features := store.get(key)) is not None}
        missing = list({key: index for index, key in reversed([*enumerate(keys)]) if key and key not in found}.items())
        self.read, self.computed = self.read + sum(key in found for key in keys), self.computed + len(missing)
        for number in range(largest(len(missing), self.world)):
            key, index = missing[number] if number < len(missing) else ("", 0)
            row = self._row(batch, point, index, computes=bool(key))
            features = self._compute(point, row)
            if point not in self._checked:
                self._check_repeats(point, row, features)
            if key:
                store.put(key, features)
                found[key] = features
        return [found[key] for key in keys if key]

    def _row(self, batch: Batch, point: str, index: int, *, computes: bool) -> Batch:
        """Give a row alone, or what a rank that has none computes while others do."""
        branch = point.partition(".")[0]
        if computes or branch == "backbone":
            return single_row(batch, index)
        return blank(batch, self.plan.inputs[branch])

    @torch.no_grad()
    def _compute(self, point: str, row: Batch) -> list[Tensor]:
        taps = Taps(self.model, row)
        if self.world.size > 1 and point.startswith("backbone."):
            run_encoders(taps, self.parts)
        features = taps.point(point)
        return [item[:length].cpu() for item, length in zip(features.data, features.lengths.tolist(), strict=True)]

    def _check_repeats(self, point: str, row: Batch, found: list[Tensor]) -> None:
        """Refuse a prefix that gives other features the second time."""
        self._checked.add(point)
        if not all(map(torch.equal, found, self._compute(point, row))):
            raise RunError(f"Stage {self.stage} stores features of {point}, but row {row.ids[0]} has others each time that they"
                           f" are computed; leave stages.{self.stage}.trainer.cache out.")

    def _joined(self, point: str, items: list[Tensor], device: torch.device) -> Features:
        lengths = torch.tensor([len(item) for item in items])
        data = pad_sequence(items, batch_first=True)
        if device.type == "cuda":
            data, lengths = data.pin_memory(), lengths.pin_memory()
        branch, _, slot = point.partition(".")
        wired = self.plan.inputs.get(branch)
        spec = None if wired is None else wired.encoded if slot == "encoder" else wired.projected
        return Features(data.to(device, non_blocking=True), lengths.to(device, non_blocking=True), spec.rate if spec else None)


class KeyedBatches(Generic[Key]):
    """Makes batches with the keys of what their rows hold before each point."""

    def __init__(self, make: Callable[[Key], Batch], points: tuple[str, ...]) -> None:
        self.make, self.points = make, points

    def __call__(self, key: Key) -> Batch:
        batch = self.make(key)
        return replace(batch, content=content_keys(batch, self.points))


@contextmanager
def feature_cache(plan: Plan, stage: StagePlan, model: OmniModel,
                  world: World = ALONE) -> Iterator[FeatureCache | None]:
    """Give the cache of a stage, which writes what it still holds in the end; None where the stage asks for none.

    Raises:
        RunError: a part of the prefix is in training mode, so that it would compute otherwise each time.
    """
    if stage.stage.trainer.cache == "none":
        yield None
        return
    points = cache_points(stage, plan.inputs, plan.outputs)
    before = dict.fromkeys(part for parts in points.values() for part in parts)
    for part in before:
        _check_eval(stage.name, part, model)
    folder, limit = cache_folder() / "features", int(stage.stage.trainer.cache_gib * 2**30)
    cache = FeatureCache(plan, model, stage.name, {
        point: FeatureStore(folder / prefix_hash(plan, stage, model, point, parts), limit) for point, parts in points.items()},
        parts=before, world=world if stage.stage.trainer.strategy == "fsdp2" else ALONE)
    try:
        yield cache
    finally:
        cache.close()


def _check_eval(stage: str, part: str, model: OmniModel) -> None:
    """Refuse a frozen part whose module stays in training mode, with dropout and batch statistics."""
    training = [name for name, module in model.get_submodule(part).named_modules() if module.training]
    if training:
        raise RunError(f"Stage {stage} stores features of {part}, but its module {training[0] or part!r} stays in training mode"
                       f" although it is frozen; leave stages.{stage}.trainer.cache out, or fix its train() in the plugin.")


def prefix_hash(plan: Plan, stage: StagePlan, model: OmniModel, point: str, parts: tuple[str, ...]) -> str:
    """Give 16 hex digits over what decides the features at a point, but for the row: weights, settings, numbers, machine."""
    own, configs = hashes(model), plan.parts()
    device = "cuda" if torch.cuda.is_available() and stage.stage.trainer.accelerator != "cpu" else "cpu"
    facts = {"point": point, "weights": {part: own[part] for part in parts},
             "settings": {part: component_fields(configs[part]) for part in parts},
             "numbers": [stage.stage.trainer.precision, stage.stage.trainer.compile, device, torch.__version__]}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
