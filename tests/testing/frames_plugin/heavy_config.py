"""A light module that is not light."""

from dataclasses import dataclass

import torch  # noqa: F401  # the fault

from frames_plugin.config import Frames


@dataclass(frozen=True)
class HeavyFrames(Frames):
    """Cuts audio into frames."""
