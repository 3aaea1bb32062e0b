"""Voice activity detection by loudness alone. Imports no torch."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from omnikit_basics.energy import Energy

SILENCE = 1e-12  # mean square of digital silence, so that its level is finite

State = Mapping[str, NDArray[np.float32]]


class EnergyVAD:
    """Compares the level of each frame with that of the background, which it follows."""

    def __init__(self, config: Energy) -> None:
        self.config = config
        self._rise = config.rise_db * config.frame / config.sample_rate  # of the background in a frame

    def init_state(self) -> State:
        """Give the state before the first frame: the softest background there is."""
        return {"background": np.full(1, self.config.floor_db, dtype=np.float32)}

    def step(self, frame: NDArray[np.float32], state: State) -> tuple[float, State]:
        """Give the probability of speech in a frame [512] at 16 kHz, and the state behind it."""
        level = 10 * math.log10(float(np.mean(np.square(frame, dtype=np.float64))) + SILENCE)
        before = float(state["background"][0])
        excess = (level - before - self.config.margin_db) / self.config.slope_db
        background = max(min(level, before + self._rise), self.config.floor_db)
        return 1 / (1 + math.exp(-max(min(excess, 50.0), -50.0))), {"background": np.full(1, background, dtype=np.float32)}
