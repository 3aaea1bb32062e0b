"""A stage in less memory: layers computed again in the backward pass, frozen weights in bfloat16, parts compiled.

All of it is undone when the stage ends, and no name of a weight changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils.checkpoint import checkpoint

from omnikit.model import OmniModel
from omnikit.plan.memory_checks import checkpointed_parts
from omnikit.plan.stage_plan import StagePlan
from omnikit.training.trainable.quantised import quantised

CODECS = ("codec", "units")  # make the targets outside of autocast, where a half would give other codes


@contextmanager
def saving_memory(model: OmniModel, stage: StagePlan) -> Iterator[None]:
    """Do what a stage's trainer settings ask for."""
    trainer = stage.stage.trainer
    with ExitStack() as undone:
        if trainer.precision == "bf16-true":
            undone.enter_context(frozen_in_bfloat16(model))
        undone.enter_context(quantised(model, stage))
        undone.enter_context(activation_checkpointing(model, checkpointed_parts(stage)))
        undone.enter_context(compiled(model, trainer.compile))
        yield


@contextmanager
def activation_checkpointing(model: nn.Module, parts: Collection[str]) -> Iterator[None]:
    """Let repeated layers keep their inputs only and compute the rest again; frozen ones too, where gradients pass them."""
    layers = [layer for part in parts for layer in repeated_layers(model.get_submodule(part))]
    before = [vars(layer).get("forward") for layer in layers]
    for layer in layers:
        layer.forward = _recomputed(layer.forward)
    try:
        yield
    finally:
        for layer, forward in zip(layers, before, strict=True):
            vars(layer).pop("forward")
            if forward is not None:
                layer.forward = forward


def repeated_layers(part: nn.Module) -> list[nn.Module]:
    """Give the members of the outermost ModuleLists of a part.

    Layers with state of their own (statistics of a batch norm, counts of a codebook) are left out: computed twice, it would
    change twice.
    """
    if isinstance(part, nn.ModuleList) and not isinstance(part, ParametrizationList):
        return [layer for layer in part if not any(True for _ in _persistent(layer))]
    return [layer for child in part.children() for layer in repeated_layers(child)]


@contextmanager
def frozen_in_bfloat16(model: OmniModel) -> Iterator[None]:
    """Hold float32 weights that are not trained in bfloat16, then as they were, unless something moved them meanwhile.

    Vectors stay: they are small, and norms outside of autocast take no halves.
    """
    frozen = [weights for path, part in model.parts().items() if path.rpartition(".")[2] not in CODECS
              for weights in part.parameters()
              if weights.dtype == torch.float32 and weights.ndim > 1 and not weights.requires_grad
              and type(weights.data) is Tensor]  # else it is held in 8 or 4 bits already
    originals = [weights.data for weights in frozen]
    for weights in frozen:
        weights.data = weights.data.to(torch.bfloat16)
    yield
    for weights, original in zip(frozen, originals, strict=True):
        if torch.equal(weights.data.cpu(), original.to(torch.bfloat16).cpu()):
            weights.data = original


@contextmanager
def compiled(model: nn.Module, parts: Collection[str]) -> Iterator[None]:
    """Compile the parts' forward passes, for any sizes."""
    modules = [model.get_submodule(part) for part in parts]
    for module in modules:
        module.compile(dynamic=True)
    try:
        yield
    finally:
        for module in modules:
            module._compiled_call_impl = None


def _recomputed(forward: Callable[..., object]) -> Callable[..., object]:
    def run(*inputs: object, **named: object) -> object:
        if not torch.is_grad_enabled():
            return forward(*inputs, **named)
        return checkpoint(partial(forward, **named), *inputs, use_reentrant=False)

    return run


def _persistent(layer: nn.Module) -> Iterator[Tensor]:
    """Give the buffers that a layer's weights file would hold."""
    for module in layer.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set:
                yield buffer
