"""What a batch changes before its optimizer step does, as it was at the end of the step before.

Where a batch fails, weights and optimizer are still those of that end; with this, all else is too, and can be saved.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from omnikit.data.batch.loader import Position
from omnikit.training.checkpointing.training_state import RandomState, State
from omnikit.training.module import Training

SMALL = 2**16  # numbers; a batch norm's statistics change without a new version of the tensor


class Buffers:
    """The buffers of the trained parts; small ones, and those with a new version since the last look, are copied."""

    def __init__(self, module: Training) -> None:
        parts = [module.model.get_submodule(path) for path in module.stage.trained]
        self.owners = [owner for part in parts for owner in part.modules() if owner._buffers]
        self._copies: dict[tuple[int, str], tuple[Tensor, int, Tensor]] = {}  # owner and name → buffer, version, copy

    def copies(self) -> list[tuple[nn.Module, str, Tensor]]:
        """Give (owner, name, copy) of each as it is now."""
        return [(owner, name, self._copy(owner, name, buffer)) for owner in self.owners
                for name, buffer in owner._buffers.items() if buffer is not None]

    def _copy(self, owner: nn.Module, name: str, buffer: Tensor) -> Tensor:
        known, version, copy = self._copies.get((id(owner), name), (None, -1, buffer))
        if buffer.numel() <= SMALL or known is not buffer or version != buffer._version:
            copy = buffer.detach().clone()
            self._copies[id(owner), name] = buffer, buffer._version, copy
        return copy


@dataclass(frozen=True)
class StepEnd:
    """The end of a step.

    Args:
        position: of the batch that comes next.
        counts: the module's.
    """

    step: int
    position: Position
    random: RandomState
    counts: State
    buffers: list[tuple[nn.Module, str, Tensor]]

    @staticmethod
    def of(module: Training, position: Position, buffers: Buffers) -> "StepEnd":
        """Take it."""
        return StepEnd(module.step, position, RandomState.now(), module.progress_state(), buffers.copies())

    def put_back(self) -> None:
        """Give the buffers their numbers of then."""
        for owner, name, copy in self.buffers:
            owner._buffers[name] = copy
