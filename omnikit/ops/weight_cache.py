"""A value made from a module's weights, kept until they change. Independent of what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from torch import nn

T = TypeVar("T")


class WeightCache(Generic[T]):
    """Owns one value and the state of the weights that it was made from; copies and pickles of a module begin without it."""

    def __init__(self) -> None:
        self._made: tuple[tuple[tuple[int, int], ...], T] | None = None

    def get(self, module: nn.Module, make: Callable[[], T], *, check: bool = True) -> T:
        """Give the value, made again if a weight was written or replaced.

        Args:
            module: whose weights it is made from.
            make: makes it.
            check: False gives what is there without looking at the weights, which takes as long as a small layer.
        """
        if self._made is not None and not check:
            return self._made[1]
        key = tuple((weight.data_ptr(), weight._version) for weight in module.parameters())
        if self._made is None or self._made[0] != key:
            self._made = key, make()
        return self._made[1]

    def __deepcopy__(self, memo: object) -> WeightCache[T]:
        return WeightCache()

    def __reduce__(self) -> tuple[type[WeightCache[T]], tuple[()]]:
        return WeightCache, ()
