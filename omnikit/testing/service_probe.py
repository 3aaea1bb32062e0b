"""Components whose module is called, not trained: voice activity, text to speech, readers, normalisers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omnikit.testing.probe import Probe, Row
from omnikit.testing.results import NotApplicable


class ServiceProbe(Probe):
    """Builds the component; its checks call what it built."""

    def make(self) -> Any:
        return self.config.build()

    def rows(self, seed: int = 0) -> list[Row]:
        raise NotApplicable("it takes no tensors")

    def outputs(self, module: Any, rows: Sequence[Row]) -> list[Row]:
        raise NotApplicable("it gives no tensors")
