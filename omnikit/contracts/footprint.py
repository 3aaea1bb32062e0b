"""How large a component is before it is built: parameters, and what its layers keep for the backward pass.

Numbers of values, not of bytes: their type is the training's choice. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Saved:
    """Values that autograd keeps for the backward pass, for one unit of a part.

    Args:
        wide: in float32 whatever the precision: the residual stream and what norms keep.
        narrow: in half precision where the stage multiplies in halves.
    """

    wide: float = 0.0
    narrow: float = 0.0

    def size(self, *, half: bool) -> float:
        """Give the bytes."""
        return 4 * self.wide + (2 if half else 4) * self.narrow

    def times(self, factor: float) -> Saved:
        """Give what `factor` units keep."""
        return Saved(factor * self.wide, factor * self.narrow)


@dataclass(frozen=True)
class Matrix:
    """Linear layers of one shape; LoRA adds rank x (inputs + outputs) parameters to each."""

    count: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Footprint:
    """What a component takes.

    A unit is what its memory grows with: a frame that an encoder or a projector gives, a position of a backbone, a frame,
    signal or token that a head takes, a frame of a codec.

    Args:
        parameters: of the whole component.
        layers: repeated layers.
        width: values of a unit that pass from one layer to the next: all that is kept of a layer that is computed again.
        layer: what one layer keeps for a unit.
        outside: what all else keeps for a unit.
        square: values that a layer keeps for each unit and each other unit of its sequence: scores, or a mask of its own.
        matrices: of the repeated layers.
        cache: values that generation keeps for each position.
        dtype: of the weights as they are built.
        imports: bytes that its packages take in a process, beside torch and Lightning.
    """

    parameters: int
    layers: int = 0
    width: float = 0.0
    layer: Saved = Saved()
    outside: Saved = Saved()
    square: float = 0.0
    matrices: tuple[Matrix, ...] = ()
    cache: int = 0
    dtype: str = "float32"
    imports: int = 0


def linear(inputs: int, outputs: int, *, bias: bool = True) -> int:
    """Give the parameters of a Linear."""
    return inputs * outputs + (outputs if bias else 0)


def convolution(inputs: int, outputs: int, kernel: int, *, normed: bool = False) -> int:
    """Give the parameters of a convolution with a bias; `normed`: with weight norm, one gain for each output."""
    return inputs * outputs * kernel + outputs + (outputs if normed else 0)
