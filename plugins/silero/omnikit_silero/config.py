"""The settings of voice activity detection with silero-vad. Imports no torch, and never silero_vad itself."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnikit_silero.model import SileroVAD


@dataclass(frozen=True)
class Silero:
    """Short-time spectrum, four convolutions and an LSTM cell, trained by the authors of silero-vad; weights of its wheel."""

    sample_rate = 16000  # Hz
    frame = 512  # samples

    def build(self) -> "SileroVAD":
        """Read the weights.

        Raises:
            ConfigError: the package silero-vad is not installed, or its weights are of another version.
        """
        from omnikit_silero.model import load

        return load()
