"""Low-rank adapters put on a part's layers while a stage trains them, and taken off with what they learned. PEFT runs them.

Each part is given to PEFT alone, under one and the same adapter name: a second name in a model switches the first off.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from importlib.util import find_spec

from torch import Tensor, nn
from torch.nn.utils import parametrize

from omnikit.contracts.optional import module_options
from omnikit.errors import RunError
from omnikit.plan.patterns import matching, similar
from omnikit.plan.tuning import Lora
from omnikit.store.adapters import AdapterFacts
from omnikit.training.trainable.freeze import unused

NAME = "default"  # of every adapter
BASE = "base_layer"  # what PEFT calls a layer inside its adapter
KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Embedding)


def attach(module: nn.Module, lora: Lora, where: str, part: str) -> None:
    """Put adapters on the layers of a part; all else in it requires no gradient from now on.

    Args:
        where: dotted place of the settings, `part`: the part in words, for sentences.

    Raises:
        RunError: PEFT is not installed, or a target names no layer that can have an adapter.
    """
    layers = target_layers(module, lora, where, part)
    if find_spec("peft") is None:
        raise RunError(f"{where} needs the package peft, which is not installed; install omnikit with its extra lora.")
    from peft import LoraConfig, inject_adapter_in_model  # takes seconds

    words = "|".join(map(re.escape, layers))
    settings = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=f"(?:{words})",  # type: ignore[arg-type]  # alpha may be a fraction
                          use_dora=lora.dora, use_rslora=lora.rslora)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that transformers' Conv1D holds its matrix transposed
        inject_adapter_in_model(settings, module, NAME)


def detach(module: nn.Module) -> dict[str, Tensor]:
    """Take the adapters off a part, which is as it was without them; give their tensors, named as PEFT stores them."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    tensors: dict[str, Tensor] = {}
    for name, layer in list(module.named_modules()):
        if isinstance(layer, BaseTunerLayer) and isinstance(layer, nn.Module):
            own = {key: tensor for key, tensor in layer.state_dict().items() if not key.startswith(f"{BASE}.")}
            tensors |= {f"{name}.{_stored(key)}": tensor for key, tensor in own.items()}
            owner, _, key = name.rpartition(".")
            setattr(module.get_submodule(owner), key, layer.get_base_layer())
    return tensors


def facts_of(module: nn.Module, tensors: Mapping[str, Tensor], lora: Lora, base: str) -> AdapterFacts:
    """Give what the header of a stage's weights states of adapters that were taken off a part."""
    layers = {name.partition(".lora_")[0] for name in tensors if ".lora_" in name}
    turned = (name for name in sorted(layers) if _is_transposed(module.get_submodule(name)))
    return AdapterFacts(base, lora.scale, tuple(turned))


def target_layers(module: nn.Module, lora: Lora, where: str, part: str) -> list[str]:
    """Give the names of the layers that get adapters.

    Raises:
        RunError: there is none, or a pattern names none.
    """
    able = _able(module, linear_only=lora.dora)
    if not lora.patterns:
        linear = [name for name in able if isinstance(module.get_submodule(name), nn.Linear) or
                  _is_transposed(module.get_submodule(name))]
        repeated = [name for name in linear if _is_repeated(module, name)]
        if not linear:
            kinds = f"name some of {', '.join(able[:3])} in {where}.targets" if able else "train it with full, or not"
            raise RunError(f"{where} finds no linear layer in {part}; {kinds}.")
        return repeated or linear
    found = {pattern: matching(pattern, able) for pattern in lora.patterns}
    for pattern, names in found.items():
        if not names:
            raise RunError(f"{where}.targets names {pattern!r}, but {part} has no such layer that can have an adapter."
                           f"{similar(pattern, able)} It has: {_listed(able)}.")
    return [name for name in able if any(name in names for names in found.values())]


def _stored(key: str) -> str:
    """Give the name that PEFT stores an adapter's tensor under: without that of the adapter."""
    plain = key.replace(f".{NAME}", "")
    return plain.removesuffix(".weight") if "magnitude" in plain else plain


def _able(module: nn.Module, *, linear_only: bool) -> list[str]:
    """Give the layers that PEFT adapts as they compute: no subclass of its own forward, no weight that others share."""
    shared, idle = _shared(module), {name.rpartition(".")[0] for name in unused(module)}
    names = [name for name, _ in module.named_modules()]
    idle |= {name for pattern in module_options(module).direct_weights for name in matching(pattern, names)}
    inside = {f"{name}." for name, layer in module.named_modules() if isinstance(layer, nn.MultiheadAttention)}
    return [name for name, layer in module.named_modules() if name and name not in idle and (_is_transposed(layer) or (
        type(layer) in (KINDS[:1] if linear_only else KINDS) and not parametrize.is_parametrized(layer)
        and isinstance(layer._parameters.get("weight"), nn.Parameter) and getattr(layer, "groups", 1) == 1))
        and id(layer.weight) not in shared and not any(name.startswith(above) for above in inside)]


def _shared(module: nn.Module) -> set[int]:
    """Give the ids of weights that have more than one name."""
    seen: set[int] = set()
    shared: set[int] = set()
    for _, weights in module.named_parameters(remove_duplicate=False):
        (shared if id(weights) in seen else seen).add(id(weights))
    return shared


def _is_transposed(layer: nn.Module) -> bool:
    """Whether a layer is transformers' Conv1D, which holds its matrix as [in, out]."""
    return type(layer).__module__ == "transformers.pytorch_utils" and type(layer).__name__ == "Conv1D"


def _is_repeated(module: nn.Module, name: str) -> bool:
    """Whether a layer lies inside one of several blocks in a row."""
    words = name.split(".")
    above = (module.get_submodule(".".join(words[:depth])) for depth in range(1, len(words)) if words[depth].isdecimal())
    return any(isinstance(block, nn.ModuleList) for block in above)


def _listed(names: list[str]) -> str:
    kinds = sorted({re.sub(r"\.\d+\.", ".*.", name) for name in names})
    return f"{', '.join(kinds[:12])}{', …' if len(kinds) > 12 else ''}" if kinds else "none"
