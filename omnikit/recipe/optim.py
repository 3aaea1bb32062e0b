"""How a stage's weights are moved: the settings under `optim`. Reads no component and uses no torch."""

from dataclasses import dataclass, field
from typing import Any, Literal

from omnikit.contracts.specs import LATER


@dataclass
class Optim:
    """How a stage's trained parts are optimised.

    Args:
        lr: peak learning rate.
        name: adamw has 8 bytes of moments for each trained weight, adamw_8bit (of torchao) 2, adamw_8bit_paged (of
            bitsandbytes) 2 that may lie in the host's memory, adafactor about none, and no beta1. muon is adamw, with `muon` at
            0.02 or as set.
        muon: peak learning rate of Muon, which then moves matrices inside repeated layers, experts too, and `name` the rest; a
            part's own `lr` scales it alike. 0.02 is usual for random weights. None: `name` moves them too.
        schedule: what follows the warm-up: down a cosine or a line to zero, or constant.
        warmup: fraction of the steps over which the rate rises from zero.
        parts: learning rate or weight decay of single parts: {audio: {encoder: {lr: 2e-6, weight_decay: 0.1}}}.
        clip: largest norm of the gradient.
    """

    lr: float = 1e-3
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = 0.03
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.98
    clip: float = 1.0
    parts: dict[str, Any] = field(default_factory=dict)
    muon: float | None = field(default=None, metadata=LATER)
    name: Literal["adamw", "adamw_8bit", "adamw_8bit_paged", "adafactor", "muon"] = field(default="adamw", metadata=LATER)
