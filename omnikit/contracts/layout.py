"""What the input positions of a backbone hold beside their embeddings, for backbones that need to know. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Memory:
    """Embeddings that a backbone attends to beside its own positions: of media that take none (`fusion: cross_attention`).

    Args:
        data: [B, M, D], rows padded on the right.
        starts: [B, M] int64, positions of the row before the medium that each embedding belongs to; FAR at padding.
        media: [B, M] int64, the number of that medium in its row, from 0; -1 at padding.
    """

    FAR: ClassVar[int] = 2**31  # no position comes so late

    data: Tensor
    starts: Tensor
    media: Tensor


@dataclass
class InputLayout:
    """What a backbone's input positions hold, for one that states `takes_layout`.

    Args:
        prompts: [B] int64, positions before the first one whose token is supervised or generated, padding on the left included.
        spliced: [B, L] bool, positions that hold embeddings of a medium.
        memory: None where no branch is attended to.
    """

    prompts: Tensor
    spliced: Tensor
    memory: Memory | None = None

    def padded_left(self, padding: Tensor, order: Tensor) -> InputLayout:
        """Give the layout of rows whose padding, so many positions [B], has moved to the left.

        Args:
            order: [B, L], from which position each one comes.
        """
        memory = self.memory and replace(self.memory, starts=self.memory.starts + padding[:, None])
        return InputLayout(self.prompts + padding, self.spliced.gather(1, order), memory)
