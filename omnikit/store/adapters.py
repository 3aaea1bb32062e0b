"""Adapters in files: a stage's own, small, beside what its matrices were; and folders as PEFT writes them. Uses no model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from torch import Tensor

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError
from omnikit.ops.lora import LowRank, merge
from omnikit.store.tensors import in_file, read_json

CONFIG, FILES = "adapter_config.json", ("adapter_model.safetensors", "adapter_model.bin")
BESIDE = "non_lora_trainables.bin"
LAYER = re.compile(r"(.+)\.lora_(?:(embedding)_)?(A|B|magnitude_vector)(?:\.default)?(?:\.weight)?")

_Named = Mapping[str, LazyTensor]


@dataclass(frozen=True)
class AdapterFacts:
    """What the header of a stage's weights states of an adapter.

    Args:
        base: hash of the part that it was trained on.
        scale: of each product of its matrices.
        transposed: layers that hold their matrix as [in, out].
    """

    base: str
    scale: float
    transposed: tuple[str, ...] = ()

    def hash(self, digest: str) -> str:
        """Give the hash of the part with its adapter, from the hash of the adapter's own tensors.

        It is that of what the weights are made of: the merged numbers may differ in their last bit from machine to machine.
        """
        text = f"{self.base} {digest} {self.scale!r} {sorted(self.transposed)}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Adapter:
    """An opened adapter: layer → scale and tensors by their role (A, B, magnitude_vector), and tensors that it replaces."""

    file: Path
    layers: Mapping[str, Mapping[str, LazyTensor]]
    scales: Mapping[str, float]
    transposed: frozenset[str]
    replaced: Mapping[str, LazyTensor]

    def merged(self, base: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
        """Give name → tensor of a part with the adapter added, each when it is read.

        Raises:
            RunError: the part lacks a tensor that the adapter changes, or has it in another shape.
        """
        found = dict(base)
        for name, tensor in self.replaced.items():
            self._check(name, base, tensor.shape)
            found[name] = tensor
        for layer, roles in self.layers.items():
            weight = f"{layer}.weight"
            if not {"A", "B"} <= set(roles):
                raise RunError(f"{self.file} adapts {layer}, but lacks one of lora_A and lora_B; copy it again.")
            self._check(weight, base, self._shape(layer))
            found[weight] = self._sum(layer, found[weight])
        return found

    def _shape(self, layer: str) -> tuple[int, ...]:
        a, b = self.layers[layer]["A"].shape, self.layers[layer]["B"].shape
        return (a[1], b[0]) if layer in self.transposed else (b[0], *a[1:])

    def _check(self, name: str, base: Mapping[str, LazyTensor], shape: tuple[int, ...]) -> None:
        if name not in base:
            raise RunError(f"{self.file} changes {name}, but the base has no such tensor; give the base that the adapter was"
                           " trained on.")
        if base[name].shape != shape:
            raise RunError(f"{self.file} changes {name} of shape {shape}, but the base has {base[name].shape}; give the base"
                           " that the adapter was trained on.")

    def _sum(self, layer: str, weight: LazyTensor) -> LazyTensor:
        roles = self.layers[layer]

        def read() -> Tensor:
            magnitude = roles["magnitude_vector"].read() if "magnitude_vector" in roles else None
            return merge(weight.read(), LowRank(roles["A"].read(), roles["B"].read(), self.scales[layer], magnitude,
                                                layer in self.transposed))

        return LazyTensor(weight.name, weight.file, weight.shape, weight.dtype, read)


def own_adapter(file: Path, tensors: Mapping[str, LazyTensor], facts: AdapterFacts) -> Adapter:
    """Give the adapter of a part from the tensors of a stage's weights."""
    layers, embeddings, replaced = _sorted(tensors)
    return Adapter(file, layers, dict.fromkeys(layers, facts.scale), frozenset(facts.transposed) | embeddings, replaced)


def peft_adapter(folder: Path) -> Adapter:
    """Open an adapter folder as PEFT writes it: adapter_config.json beside adapter_model.safetensors or .bin.

    Names are those of the adapted model; `base_model.model.` is taken off.

    Raises:
        RunError: a file is missing or damaged, or it holds another kind of adapter than LoRA.
    """
    settings = read_json(folder / CONFIG)
    if settings.get("peft_type", "LORA") != "LORA":
        raise RunError(f"{folder / CONFIG} has peft_type {settings['peft_type']}, but only LORA is merged; merge the adapter"
                       " with PEFT and give the whole checkpoint.")
    file = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if file is None:
        raise RunError(f"{folder} has {CONFIG} but no {' or '.join(FILES)}; copy it again.")
    tensors = {re.sub(r"\.modules_to_save(\.default)?", "", name.removeprefix("base_model.model.")): tensor
               for name, tensor in in_file(file).items()}
    layers, embeddings, replaced = _sorted(tensors)
    transposed = frozenset(layers) if settings.get("fan_in_fan_out") else embeddings
    scales = {layer: _scale(settings, layer, roles, folder) for layer, roles in layers.items()}
    return Adapter(file, layers, scales, transposed, replaced)


def adapted(base: Mapping[str, LazyTensor], folder: Path) -> dict[str, LazyTensor]:
    """Give a checkpoint's tensors with those of an adapter's folder, as LLaVA's training and its descendants leave it.

    Beside PEFT's files it has non_lora_trainables.bin: tensors trained whole, which the base may lack.

    Raises:
        RunError: as `peft_adapter`, or the adapter does not fit.
    """
    adapter = peft_adapter(folder)
    return adapter.merged({**base, **_trainables(folder), **adapter.replaced})


def _trainables(folder: Path) -> dict[str, LazyTensor]:
    """Give what was trained beside an adapter, under the checkpoint's names."""
    path = folder / BESIDE
    found = {name.removeprefix("base_model."): tensor for name, tensor in in_file(path).items()} if path.is_file() else {}
    if any(name.startswith("model.model.") for name in found):
        found = {name.removeprefix("model."): tensor for name, tensor in found.items()}
    return found


def _sorted(tensors: _Named) -> tuple[dict[str, dict[str, LazyTensor]], frozenset[str], dict[str, LazyTensor]]:
    """Give layer → role → tensor, which layers are embedding tables, and the tensors that replace others."""
    layers: dict[str, dict[str, LazyTensor]] = {}
    embeddings, replaced = set(), {}
    for name, tensor in tensors.items():
        match = LAYER.fullmatch(name)
        if match is None:
            replaced[name] = tensor
            continue
        layers.setdefault(match[1], {})[match[3]] = tensor
        if match[2]:
            embeddings.add(match[1])
    return layers, frozenset(embeddings), replaced


def _scale(settings: Mapping[str, object], layer: str, roles: Mapping[str, LazyTensor], folder: Path) -> float:
    """Give alpha / r of a layer, as PEFT finds it: patterns match the ends of names, and the first one holds."""
    found = settings.get("alpha_pattern")
    patterns = found if isinstance(found, dict) else {}
    alpha = next((value for pattern, value in patterns.items() if re.fullmatch(rf"(.*\.)?({pattern})", layer)),
                 settings.get("lora_alpha"))
    if not isinstance(alpha, int | float):
        raise RunError(f"{folder / CONFIG} has no number lora_alpha, but the adapter cannot be merged without it; copy it"
                       " again.")
    rank = roles["A"].shape[0] if "A" in roles else 1
    return alpha / (sqrt(rank) if settings.get("use_rslora") else rank)
