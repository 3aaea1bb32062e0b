"""A checkpoint that ranks with shards write together: each its own shards, then the first one all else.

So it is complete, or it is not there. What is no shard of a plain dtype (counts, rates, 8-bit moments) is in its state.pt.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from omnikit.store import sharded_tensors
from omnikit.store.training_checkpoint import Seals, sealed, writing
from omnikit.training.checkpointing.training_state import MODEL, State, without_shards
from omnikit.training.distributed import World


def write(stage: Path, record: Mapping[str, object], tensors: Mapping[str, Tensor], state: State, *, world: World,
          keep: int) -> None:
    """Write the checkpoint of a step; all ranks call this together.

    Args:
        stage: the folder of the stage, the first rank's counts; one that all ranks reach.
        tensors: of the model.
        keep: checkpoints of the stage that stay.

    Raises:
        RunError: the disk refuses; the checkpoints before are as they were.
    """
    shards = {f"{MODEL}{name}": tensor for name, tensor in tensors.items()}
    state = {**state, "optimizers": without_shards(state["optimizers"], "optimizers", shards)}
    if not world.is_first:
        _write_own(Path(world.agree("")), shards, world)
        return
    with writing(stage, record, state, keep) as (folder, seals):
        world.agree(str(folder.absolute()))
        for found in _write_own(folder, shards, world):
            seals |= found


def _write_own(folder: Path, shards: Mapping[str, Tensor], world: World) -> list[Seals]:
    """Write this rank's shards; gives the seals of all ranks' files."""
    sharded_tensors.write(folder, shards)
    return world.all(sealed(sharded_tensors.files_of(folder, world.rank)))
