"""Which stages of a run hold a part's weights, and the chain of adapters above them. Builds no model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError, nearest
from omnikit.plan.plan import Plan
from omnikit.store import checkpoint
from omnikit.store.checkpoint import StageWeights
from omnikit.store.hashes import part_hash
from omnikit.store.runs import WEIGHTS, is_done
from omnikit.store.stage_folder import weights_stats

BUNDLED = "bundled"  # folder beside the stages with the weights of parts that no stage trained, see omnikit.store.bundle


@dataclass(frozen=True)
class Source:
    """What a part's weights are read from.

    Args:
        whole: the file that holds all of them; None: the part is built by its configuration.
        adapters: files whose adapters are added, in order.
    """

    part: str
    whole: StageWeights | None
    adapters: tuple[StageWeights, ...] = ()

    @property
    def path(self) -> Path:
        """The file that came last."""
        last = self.adapters[-1] if self.adapters else self.whole
        assert last, "a source has a file"
        return last.path

    @property
    def hash(self) -> str:
        """The part's hash, as its last stage wrote it."""
        last = self.adapters[-1] if self.adapters else self.whole
        assert last, "a source has a file"
        return last.trained[self.part]

    def tensors(self, built: Mapping[str, LazyTensor], built_hash: str | None) -> dict[str, LazyTensor]:
        """Give name → tensor with all adapters added.

        Args:
            built: the part's tensors where it was built by its configuration.
            built_hash: their hash; None where it is not known.

        Raises:
            RunError: an adapter was trained on other weights.
        """
        found = dict(built) if self.whole is None else self.whole.part(self.part)
        below = built_hash if self.whole is None else self.whole.trained[self.part]
        for weights in self.adapters:
            base = weights.adapters[self.part].base
            if below is not None and base != below:
                raise RunError(f"{weights.path} holds an adapter of {self.part} that was trained on weights of hash {base}, but"
                               f" here they have {below}; train the stages again in one run.")
            found = weights.adapter(self.part).merged(found)
            below = weights.trained[self.part]
        return found

    def partial_hash(self, names: Collection[str]) -> str | None:
        """Give the hash of some of the part's tensors; None where they are to be computed first."""
        if self.adapters or self.whole is None:
            return None
        return part_hash({name: self.whole.digests[f"{self.part}.{name}"] for name in names})


def lineage(plan: Plan, folder: Path, stage: str | None = None, parts: Collection[str] | None = None) -> dict[str, str]:
    """Give part → the stage that holds its weights after `stage` (the last one by default), through `after` and `init_from`.

    Args:
        parts: only these parts are asked for; only the stages that hold them must be finished.

    Raises:
        RunError: there is no such stage, or one that holds weights is not finished in this folder.
    """
    order = list(plan.stages)
    if stage is not None and stage not in order:
        raise RunError(f"{stage!r} is not a stage of {plan.recipe.name}.{nearest(stage, order)} Stages: {', '.join(order)}.")
    held = plan.stages[stage or order[-1]].holders if order else {}
    found = {part: name for part, name in held.items() if parts is None or part in parts}
    for name in order:
        if name in found.values():
            _check_done(plan, folder, name)
    for part, name in found.items():
        _check_bases(plan, folder, part, name)
    return found


def sources(plan: Plan, folder: Path | None, origins: Mapping[str, str], parts: Collection[str]) -> dict[str, Source]:
    """Give part → what its weights are read from, of `origins` (part → stage) and of a bundled run's other parts."""
    if folder is None:
        assert not origins, "weights of a run lie in its folder"
        return {}
    files: dict[str, StageWeights] = {}
    beside = _beside(folder)
    found = {part: _source(plan, folder, part, origins.get(part), files) for part in parts if part in origins}
    bundled = dict.fromkeys(beside.trained, beside) if beside else {}
    found = {part: Source(part, source.whole or bundled.get(part), source.adapters) for part, source in found.items()}
    return found | {part: Source(part, beside) for part in parts if part in bundled and part not in found}


def files_of(found: Collection[Source]) -> dict[str, StageWeights]:
    """Give stage → opened weights of all that sources read of stages."""
    files = [weights for source in found for weights in (source.whole, *source.adapters) if weights]
    return {weights.path.parent.name: weights for weights in files if weights.path.parent.name != BUNDLED}


def _source(plan: Plan, folder: Path, part: str, stage: str | None, files: dict[str, StageWeights]) -> Source:
    above: list[StageWeights] = []
    while stage is not None:
        if stage not in files:
            files[stage] = checkpoint.opened(folder / stage / WEIGHTS, weights_stats(folder / stage))
        weights = files[stage]
        if part not in weights.adapters:
            return Source(part, weights, tuple(above))
        above.insert(0, weights)
        stage = plan.stages[stage].origins.get(part)
    return Source(part, None, tuple(above))


def _beside(folder: Path) -> StageWeights | None:
    """Give the weights that a bundled run holds beside its stages."""
    path = folder / BUNDLED / WEIGHTS
    return checkpoint.opened(path) if checkpoint.exists(path) else None


def _check_done(plan: Plan, folder: Path, name: str) -> None:
    if not is_done(folder, plan, name):
        raise RunError(f"Stage {name} of {folder} is not finished; finish it with omnikit train {plan.recipe.name}.")


def _check_bases(plan: Plan, folder: Path, part: str, name: str) -> None:
    """Ask for the stages below an adapter, unless the file holds it merged."""
    below = plan.stages[name].origins.get(part)
    tuning = plan.stages[name].tuning.get(part)
    if below and tuning and tuning.lora and part in checkpoint.opened(folder / name / WEIGHTS).adapters:
        _check_done(plan, folder, below)
        _check_bases(plan, folder, part, below)
