"""Voice activity detection by loudness alone: settings. Imports no torch and no numpy."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnikit_basics.energy_vad import EnergyVAD


@dataclass(frozen=True)
class Energy:
    """Speech is what is louder than the background by `margin_db`; takes music and noise for speech too. No weights.

    Args:
        margin_db: decibels above the background at which the probability of speech is 0.5.
        floor_db: the background is never taken to be softer than this, in decibels below full scale.
        rise_db: decibels per second by which the background rises at most; it falls at once.
        slope_db: decibels from a probability of 0.5 to one of 0.73.
    """

    margin_db: float = 12.0
    floor_db: float = -60.0
    rise_db: float = 1.5
    slope_db: float = 2.0

    sample_rate = 16000  # Hz
    frame = 512  # samples

    def __post_init__(self) -> None:
        for name in ("margin_db", "rise_db", "slope_db"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be above 0")
        if self.floor_db >= 0:
            raise ValueError(f"floor_db is {self.floor_db}, but must be below 0, which is full scale")

    def build(self) -> "EnergyVAD":
        from omnikit_basics.energy_vad import EnergyVAD

        return EnergyVAD(self)
