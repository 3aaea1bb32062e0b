"""The settings of the espeak-ng text-to-speech. Loads no library until `build()`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnikit_espeak.model import EspeakTTS


@dataclass(frozen=True)
class Espeak:
    """Formant synthesis with espeak-ng: tiny, deterministic, a hundred languages.

    Args:
        sample_rate: samples per second of what it gives.
        voice: the voice used when none is asked for: a language, or language+variant.
    """

    sample_rate: int = 16000
    voice: str = "en-us"

    def __post_init__(self) -> None:
        if self.sample_rate < 8000:
            raise ValueError(f"sample_rate is {self.sample_rate}, but speech needs at least 8000 samples per second")

    def build(self) -> "EspeakTTS":
        """Load espeak-ng (once in a process) and give the synthesiser."""
        from omnikit_espeak.model import EspeakTTS

        return EspeakTTS(self.sample_rate, self.voice)
