"""Which parts of a stage its rows do not reach, as none of its datasets holds their media. Reads no row."""

from dataclasses import dataclass, fields, is_dataclass

from omnikit.contracts.configs import ReaderConfig
from omnikit.plan.plan import Plan


@dataclass(frozen=True)
class Unreached:
    """Parts that a stage does not train and that no row of its datasets reaches, so that they decide nothing of its weights.

    Args:
        surely: its datasets make their rows themselves.
        declared: a person has stated what rows from a file hold; some may hold more.
    """

    surely: frozenset[str] = frozenset()
    declared: frozenset[str] = frozenset()


def unreached(plan: Plan, name: str) -> Unreached:
    """Give the encoders and projectors of a stage's branches whose media its data, held-out rows included, do not hold."""
    stage = plan.stages[name]
    readers = [plan.readers[dataset] for dataset in (*stage.datasets, *stage.held_out)]
    held = {kind for reader in readers for kind in reader.provides}
    branches = [branch for branch, wired in plan.inputs.items() if not held & set(wired.media)]
    found = {part for branch in branches for part in (f"{branch}.encoder", f"{branch}.projector")}
    parts = frozenset(found & set(stage.used) - set(stage.trained))
    return Unreached(declared=parts) if any(map(_is_declared, readers)) else Unreached(surely=parts)


def _is_declared(reader: ReaderConfig) -> bool:
    """Whether `provides` is a setting of the dataset, and not worked out from its other settings."""
    return is_dataclass(reader) and "provides" in {each.name for each in fields(reader)}
