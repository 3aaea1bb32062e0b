"""Where a stage goes on: at the newest checkpoint of an unfinished one, or at the end of a finished one that gets more steps.

What the stage is made of must be the same as when the checkpoint was written. Does not train.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omnikit.errors import RunError
from omnikit.plan.plan import Plan
from omnikit.store import training_checkpoint
from omnikit.store.facts import Difference, differences, listed, parent_differences, stage_facts
from omnikit.store.stage_folder import partial_folder
from omnikit.store.training_checkpoint import TrainingCheckpoint

LENGTHS = ("max_steps", "max_epochs")
log = logging.getLogger(__name__)


def check_resumable(plan: Plan, folder: Path, name: str) -> None:
    """Refuse a stage that stopped with other settings than now; reads no weights.

    Raises:
        RunError: one sentence with what differs.
    """
    found = training_checkpoint.newest(partial_folder(folder, name), complete=False)
    if found is not None:
        facts = stage_facts(plan, name)
        changed = differences(found.record["facts"], facts) + parent_differences(found.record["facts"], facts)
        _refuse(folder, name, found, changed)


def check_inputs(folder: Path, name: str, found: TrainingCheckpoint, inputs: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse a stage whose data, files or weights to start from are others than when it stopped.

    Raises:
        RunError: one sentence with what differs.
    """
    words = {"data": "data.{} with content of fingerprint", "files": "the file {} with hash", "weights": "{} of hash"}
    before: Mapping[str, Mapping[str, str]] = found.record["inputs"]
    changed = [Difference(words[kind].format(place), before[kind].get(place), now) for kind, values in inputs.items()
               for place, now in values.items() if before[kind].get(place) != now]
    _refuse(folder, name, found, changed)


def continues(plan: Plan, folder: Path, name: str, found: list[Difference]) -> bool:
    """Whether a finished stage differs from the plan in nothing but that it gets more steps now, and can go on from its end."""
    lengths = {f"stages.{name}.trainer.{length}" for length in LENGTHS}
    longer = all(item.place in lengths and isinstance(item.old, int) and isinstance(item.new, int) and item.new > item.old
                 for item in found)
    return bool(found) and longer and training_checkpoint.newest(folder / name, complete=False) is not None


def checkpoint_of(folder: Path, name: str, *, finished: bool) -> TrainingCheckpoint | None:
    """Give the checkpoint that a stage goes on from, and log in a sentence which it is; None: it begins.

    Args:
        finished: whether the stage is finished and goes on from its end, unless that was begun already.
    """
    partial = partial_folder(folder, name)
    if found := training_checkpoint.newest(partial):
        lost = max(0, training_checkpoint.last_step(partial) - found.step)
        lost_steps = f"{lost or 'no'} step{'s' if lost != 1 else ''} after it {'is' if lost == 1 else 'are'} lost"
        log.warning("Stage %s resumes at step %s of %s (saved %s); %s.", name, found.step, found.record["steps"], _time(found),
                    lost_steps)
    elif finished and (found := training_checkpoint.newest(folder / name)):
        log.warning("Stage %s continues at step %s, where it ended (saved %s).", name, found.step, _time(found))
    return found


def _time(found: TrainingCheckpoint) -> str:
    return str(found.record["saved"])[:19]


def _refuse(folder: Path, name: str, found: TrainingCheckpoint, changed: list[Difference]) -> None:
    if changed:
        record: dict[str, Any] = found.record
        raise RunError(f"Stage {name} of {folder} stopped at step {found.step} of {record['steps']} with {listed(changed)};"
                       " put it back as it was to resume, or add --restart to begin the stage from scratch.")
