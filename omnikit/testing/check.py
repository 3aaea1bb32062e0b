"""One check: its name, the kinds that it looks at, and what must hold before it can say anything."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MODULES = ("encoder", "projector", "backbone", "head", "codec")  # kinds whose module holds tensors


@dataclass(frozen=True)
class Check:
    """One check.

    Args:
        name: stands in reports and in expected failures.
        run: takes the component's probe; raises CheckFailure, NotApplicable, or whatever the component raises.
        kinds: that it looks at; empty: all.
        needs: names of checks without which its result would mean nothing: where one of them fails, it is skipped.
    """

    name: str
    run: Callable[[Any], None]
    kinds: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def applies(self, kind: str) -> bool:
        """Say whether it looks at components of a kind."""
        return not self.kinds or kind in self.kinds

    @property
    def purpose(self) -> str:
        """What it finds, in one sentence."""
        return (self.run.__doc__ or "").partition("\n")[0]
