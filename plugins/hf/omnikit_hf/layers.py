"""The decoder layers of a base model of transformers, whatever its family calls them."""

from torch import nn


def decoder_layers(model: nn.Module, count: int) -> nn.ModuleList:
    """Give the decoder layers of a base model, which has so many."""
    return next(module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) == count)
