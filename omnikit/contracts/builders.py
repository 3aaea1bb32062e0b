"""Roles of making a dataset: a plugin's builder, and the trained runs that the toolkit opens for it.

As in `omnikit.contracts.protocols`, none of these is a base class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from omnikit.contracts.codes import Code

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from omnikit.contracts.types import BuildReport


@runtime_checkable
class BuilderConfig(Protocol):
    """Makes a dataset; its fields are the options of `omnikit data build`."""

    def build(self) -> Builder: ...


class Builder(Protocol):
    """Makes a dataset in a folder; a second call goes on where the first was stopped."""

    def make(self, folder: Path, runs: Runs) -> BuildReport: ...


class TextGenerator(Protocol):
    """Text to text: what a trained model writes about each text when it is asked to follow `instructions`."""

    @property
    def version(self) -> str:
        """Changes with the weights."""

    def __call__(self, instructions: str, texts: Sequence[str]) -> list[str]: ...


class Units(Protocol):
    """Waves [N] at `sample_rate` to codes, by a trained run's codec."""

    @property
    def version(self) -> str:
        """Changes with the weights."""

    @property
    def sample_rate(self) -> int: ...
    def __call__(self, wave: NDArray[np.float32]) -> list[Code]: ...


class Runs(Protocol):
    """Opens trained runs for a builder, which itself uses neither runs nor sessions."""

    def text_generator(self, run: str) -> TextGenerator: ...
    def units(self, run: str) -> Units: ...
