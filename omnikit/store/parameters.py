"""Parameters of each part, counted on the meta device: real shapes, no memory, no weights."""

import gc

import torch

from omnikit.model import OmniModel
from omnikit.plan.plan import Plan


def parameter_counts(plan: Plan) -> dict[str, int]:
    """Give part → number of parameters; parts are built one after another, so that the largest alone sets the memory."""
    counts = {}
    for part in plan.parts():
        with torch.device("meta"):
            counts[part] = sum(parameter.numel() for parameter in OmniModel(plan, [part]).parameters())
        gc.collect()
    return counts
