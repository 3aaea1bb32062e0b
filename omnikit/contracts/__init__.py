"""What a component's author imports: specs, tensors, protocols and optional members. Reads no configuration."""

from omnikit.contracts.interface import VERSION

__all__ = ["VERSION"]
