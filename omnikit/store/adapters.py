"""Adapters in files: a stage's own, small, beside what its matrices were; and folders as PEFT writes them. Uses no model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError
from omnikit.ops.lora import LowRank, merge
from omnikit.store import adapter_config
from omnikit.store.adapter_config import CONFIG, MERGE, AdapterConfig
from omnikit.store.tensors import in_file, mapping, safetensors_file, torch_file

__all__ = ["CONFIG", "Adapter", "AdapterFacts", "adapted", "own_adapter", "peft_adapter"]

FILES = ("adapter_model.safetensors", "adapter_model.bin")
BESIDE = "non_lora_trainables.bin"
LAYER = re.compile(r"(.+)\.lora_(?:(embedding)_)?(A|B|magnitude_vector)(?:\.(?!weight)(\w+))?(?:\.weight)?")
SAVED = re.compile(r"\.(?:modules_to_save(?:\.(\w+))?(?=\.\w+$)|base_layer(?=\.\w+$))")  # PEFT's names in those of tensors
TIED = re.compile(r"(.*\.)?(lm_head|embed_tokens|wte|word_embeddings|embed_in|embed_out)")
"""Layers that are one matrix in a model with tied embeddings."""

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
    """An opened adapter: layer → scale and tensors by their role (A, B, magnitude_vector), and tensors that it replaces.

    Args:
        transposed: layers whose matrices lie as [in, out], and embedding tables.
        by_shape: a layer lies as its shape shows, and as `transposed` has it where that shows nothing.
        tables: the embedding tables.
    """

    file: Path
    layers: Mapping[str, Mapping[str, LazyTensor]]
    scales: Mapping[str, float]
    transposed: frozenset[str]
    replaced: Mapping[str, LazyTensor]
    by_shape: bool = False
    tables: frozenset[str] = frozenset()

    def merged(self, base: Mapping[str, LazyTensor], *, tied: bool = False) -> dict[str, LazyTensor]:
        """Give name → tensor of a part with the adapter added, each when it is read.

        Args:
            tied: the part's output matrix is its embedding table.

        Raises:
            RunError: the part lacks a tensor that the adapter changes, or has it in another shape, or ties it to another one.
        """
        found = dict(base)
        self._check_ties(base, tied)
        self._check_squares(base)
        for name, tensor in self.replaced.items():
            self._check(name, base, tensor.shape)
            found[name] = tensor
        for layer, roles in self.layers.items():
            weight = f"{layer}.weight"
            if not {"A", "B"} <= set(roles):
                raise RunError(f"{self.file} adapts {layer}, but lacks one of lora_A and lora_B; copy it again.")
            transposed = self._is_transposed(layer, found.get(weight))
            self._check(weight, found, self._shape(layer, transposed))
            found[weight] = self._sum(layer, found[weight], transposed)
        return found

    def _check_ties(self, base: Mapping[str, LazyTensor], tied: bool) -> None:
        """Refuse to change one of two matrices that the base holds as one."""
        changed = [*self.layers, *(name.rpartition(".")[0] for name in self.replaced)]
        matrix = next((layer for layer in changed if TIED.fullmatch(layer)), None)
        if matrix and (tied or (matrix.endswith("lm_head") and f"{matrix}.weight" not in base)):
            raise RunError(f"{self.file} changes {matrix}, but the base holds its output matrix and its embedding table as one;"
                           f" {MERGE}, with tie_word_embeddings false.")

    def _check_squares(self, base: Mapping[str, LazyTensor]) -> None:
        """Refuse square matrices where the shapes of others contradict the settings, so that nothing states how they lie."""
        plain = [layer for layer, roles in self.layers.items() if self.by_shape and {"A", "B"} <= set(roles)
                 and layer not in self.tables]
        squares = [layer for layer in plain if self._shape(layer, False) == self._shape(layer, True)]
        wrong = [layer for layer in plain
                 if self._is_transposed(layer, base.get(f"{layer}.weight")) != (layer in self.transposed)]
        if squares and wrong:
            raise RunError(f"{self.file} adapts {squares[0]}, a square matrix, beside {wrong[0]}, whose shape contradicts"
                           f" fan_in_fan_out of {CONFIG}, so that nothing states how the square one lies; {MERGE}.")

    def _is_transposed(self, layer: str, weight: LazyTensor | None) -> bool:
        """Whether a layer's matrix lies as [in, out], which PEFT's settings state for all layers alike, rightly or not."""
        straight, turned = self._shape(layer, False), self._shape(layer, True)
        if not self.by_shape or weight is None or straight == turned or weight.shape not in (straight, turned):
            return layer in self.transposed
        return weight.shape == turned

    def _shape(self, layer: str, transposed: bool) -> tuple[int, ...]:
        a, b = self.layers[layer]["A"].shape, self.layers[layer]["B"].shape
        return (a[1], b[0]) if transposed else (b[0], *a[1:])

    def _check(self, name: str, base: Mapping[str, LazyTensor], shape: tuple[int, ...]) -> None:
        if name not in base:
            raise RunError(f"{self.file} changes {name}, but the base has no such tensor; give the base that the adapter was"
                           " trained on.")
        if base[name].shape != shape:
            raise RunError(f"{self.file} changes {name} of shape {shape}, but the base has {base[name].shape}; give the base"
                           " that the adapter was trained on.")

    def _sum(self, layer: str, weight: LazyTensor, transposed: bool) -> LazyTensor:
        roles = self.layers[layer]

        def read() -> Tensor:
            magnitude = roles["magnitude_vector"].read() if "magnitude_vector" in roles else None
            return merge(weight.read(), LowRank(roles["A"].read(), roles["B"].read(), self.scales[layer], magnitude,
                                                transposed))

        return LazyTensor(weight.name, weight.file, weight.shape, weight.dtype, read)


def own_adapter(file: Path, tensors: Mapping[str, LazyTensor], facts: AdapterFacts) -> Adapter:
    """Give the adapter of a part from the tensors of a stage's weights."""
    layers, embeddings, replaced = _sorted(tensors)
    return Adapter(file, layers, dict.fromkeys(layers, facts.scale), frozenset(facts.transposed) | embeddings, replaced)


def peft_adapter(folder: Path) -> Adapter:
    """Open an adapter folder as PEFT writes it: adapter_config.json beside adapter_model.safetensors or .bin.

    Names are those of the adapted model; `base_model.model.` is taken off.

    Raises:
        RunError: a file is missing or damaged, or it holds another kind of adapter than is merged here.
    """
    config = adapter_config.read(folder)
    file = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if file is None:
        raise RunError(f"{folder} has {CONFIG} but no {' or '.join(FILES)}; copy it again.")
    tensors = {name.removeprefix("base_model.model."): tensor for name, tensor in _held(file).items()}
    _check_one_adapter(tensors, file)
    layers, embeddings, replaced = _sorted({SAVED.sub("", name): tensor for name, tensor in tensors.items()})
    _check_complete(config, layers, replaced, file)
    transposed = frozenset(layers) if config.transposed else embeddings
    scales = {layer: config.scale(layer, roles["A"].shape[0]) for layer, roles in layers.items() if "A" in roles}
    return Adapter(file, layers, scales, transposed, replaced, by_shape=True, tables=embeddings)


def _held(file: Path) -> dict[str, LazyTensor]:
    """Give the tensors of an adapter's file, whose names may be those of layers under an adapter."""
    return safetensors_file(file) if file.suffix == ".safetensors" else mapping(torch_file(file), file)


def _check_one_adapter(tensors: _Named, file: Path) -> None:
    """Refuse a file of several adapters, which a model holds under names of their own."""
    names = {match[4] for name in tensors if (match := LAYER.fullmatch(name))}
    if len(names) > 1:
        raise RunError(f"{file} holds the adapters {', '.join(sorted(str(name or 'default') for name in names))}, but one is"
                       " merged; save the one that is meant alone.")


def _check_complete(config: AdapterConfig, layers: Mapping[str, _Named], replaced: _Named, file: Path) -> None:
    """Refuse a file that lacks what its settings name, or holds what they do not."""
    if not layers and not replaced:
        raise RunError(f"{file} holds no tensor of an adapter; copy it again.")
    for layer, roles in layers.items():
        if config.dora != ("magnitude_vector" in roles):
            raise RunError(f"{file} has {'no' if config.dora else 'a'} magnitude of {layer}, but {config.path} has use_dora"
                           f" {str(config.dora).lower()}; copy the adapter again.")
    for module in config.saved:
        if not any(f".{module}." in f".{name}" for name in replaced):
            raise RunError(f"{file} holds no tensor of {module}, which {config.path} names in modules_to_save; copy the adapter"
                           " again.")


def adapted(base: Mapping[str, LazyTensor], folder: Path, *, tied: bool = False) -> dict[str, LazyTensor]:
    """Give a checkpoint's tensors with those of an adapter's folder, as LLaVA's training and its descendants leave it.

    Beside PEFT's files it has non_lora_trainables.bin: tensors trained whole, which the base may lack.

    Args:
        tied: the output matrix of the base is its embedding table.

    Raises:
        RunError: as `peft_adapter`, or the adapter does not fit.
    """
    adapter = peft_adapter(folder)
    return adapter.merged({**base, **_trainables(folder), **adapter.replaced}, tied=tied)


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
