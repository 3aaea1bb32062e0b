"""Modules without weights: their parameters and saved buffers stand on the meta device until a checkpoint fills them.

What a module computes itself and does not save (mel filters, windows, rotary frequencies) keeps its values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

DRAWS: tuple[Callable[..., object], ...] = (torch.randn, torch.rand, torch.normal)


class _NoDraws(TorchFunctionMode):
    """Gives meta tensors where a module draws weights before it registers them; a draw from a generator of its own is left."""

    def __torch_function__(self, func: Callable[..., object], types: object, args: tuple[object, ...] = (),
                           kwargs: dict[str, object] | None = None) -> object:
        kwargs = kwargs or {}
        if func in DRAWS and kwargs.get("generator") is None:
            kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)


@contextmanager
def empty_weights(when: bool = True) -> Iterator[None]:
    """Build modules inside without memory for their weights and without drawing any; with `when` False, as usual.

    torch has no such hook for one module: the methods of nn.Module are replaced meanwhile, for every thread.
    """
    if not when:
        yield
        return
    register_parameter, register_buffer = nn.Module.register_parameter, nn.Module.register_buffer

    def parameter(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        if param is not None and not param.is_meta:
            param = nn.Parameter(param.detach().to("meta"), requires_grad=param.requires_grad)
        register_parameter(self, name, param)

    def buffer(self: nn.Module, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        register_buffer(self, name, tensor.to("meta") if tensor is not None and persistent else tensor, persistent)

    nn.Module.register_parameter, nn.Module.register_buffer = parameter, buffer  # type: ignore[method-assign]  # see above
    try:
        with _NoDraws():
            yield
    finally:
        nn.Module.register_parameter, nn.Module.register_buffer = register_parameter, register_buffer  # type: ignore[method-assign]  # back


def filled_from(file: str | None) -> AbstractContextManager[None]:
    """Build modules inside without weights where a checkpoint fills them afterwards, else as usual."""
    return empty_weights(file is not None and loads_weights())


def loads_weights() -> bool:
    """Whether a module that is being built shall read its checkpoint; not where only its shapes are asked for."""
    return torch.get_default_device().type != "meta"
