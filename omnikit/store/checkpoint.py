"""Weights of whole parts in safetensors files: written whole or not at all, read strictly or not at all.

The header holds, as JSON, the hash of each part (`trained`) and of each part that it was trained with (`frozen`), the digest of
each tensor, and the settings that a part's checkpoint came with (`settings`): with them a part is built without it.
Of a part that was trained by adapters the file holds these alone (`adapters` names the base), until weights with them added
replace them under the same hash (`merged`). Each tensor is compared with its digest while it is read, unless the file is known
to be the one that was written.
"""

import json
import os
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError
from omnikit.store import safetensors_writer
from omnikit.store.adapters import Adapter, AdapterFacts, own_adapter
from omnikit.store.content import Stat, stat
from omnikit.store.hashes import distinct, part_hash, tensor_digest
from omnikit.store.safetensors_writer import INDEX
from omnikit.store.tensors import assign, in_memory, metadata, read_json, safetensors_file, weight_map

THREADS = min(8, os.cpu_count() or 1)  # that compare tensors with their digests


@dataclass(frozen=True)
class StageWeights:
    """The opened weights of a stage; no tensor is read yet.

    Args:
        tensors: name with its part in front → tensor, compared with its digest when it is read.
        trained: part → hash of its weights.
        digests: name with its part in front → digest of the tensor.
        frozen: part → hash of the weights that it was trained with.
        settings: part → what its checkpoint's own configuration states beyond ours.
        adapters: part → what its adapter was trained on, for parts of which the file holds an adapter alone.
    """

    path: Path
    tensors: Mapping[str, LazyTensor]
    trained: Mapping[str, str]
    digests: Mapping[str, str]
    frozen: Mapping[str, str]
    settings: Mapping[str, Mapping[str, object]]
    adapters: Mapping[str, AdapterFacts] = field(default_factory=dict)

    def adapter(self, part: str) -> Adapter:
        """Give the adapter of one part."""
        return own_adapter(self.path, self.part(part), self.adapters[part])

    def part(self, part: str) -> dict[str, LazyTensor]:
        """Give name → tensor of one part; raises RunError if it is not in the file."""
        if part not in self.trained:
            raise RunError(f"{self.path} holds no weights of {part}, but only of {', '.join(self.trained)}.")
        return {name.removeprefix(f"{part}."): tensor for name, tensor in self.tensors.items() if name.startswith(f"{part}.")}


def save(path: Path, parts: Mapping[str, nn.Module], frozen: Mapping[str, str],
         adapters: Mapping[str, tuple[AdapterFacts, Mapping[str, Tensor]]] | None = None) -> dict[str, str]:
    """Write the weights of `parts`, with name → hash of the frozen parts; give part → hash of those written.

    Args:
        adapters: part → adapter, for parts of which the adapter alone is written.

    Raises:
        RunError: the disk is full or does not let us write; nothing is left behind.
    """
    adapters = adapters or {}
    own = {part: adapters[part][1].items() if part in adapters else distinct(module) for part, module in parts.items()}
    tensors = {part: {name: in_memory(name, path, tensor) for name, tensor in named} for part, named in own.items()}
    settings = {part: found for part, module in parts.items() if (found := getattr(module, "settings", None))}
    facts = {part: adapter for part, (adapter, _) in adapters.items()}
    header = {"frozen": dict(frozen), "settings": settings}
    header |= {"adapters": {part: asdict(adapter) for part, adapter in facts.items()}} if facts else {}
    return safetensors_writer.write(path, tensors, header, lambda _: None, lambda part, digest: (
        facts[part].hash(digest) if part in facts else digest))


def save_merged(path: Path, weights: StageWeights, parts: Mapping[str, Mapping[str, LazyTensor]]) -> None:
    """Write the weights of a stage again, those of `parts` whole where it held their adapters alone, under the same hashes.

    Raises:
        RunError: the disk is full or does not let us write; nothing is left behind.
    """
    merged: dict[str, str] = {}

    def identify(part: str, digest: str) -> str:
        if part in parts:
            merged[part] = digest
        return weights.trained[part]

    tensors = {part: parts.get(part) or weights.part(part) for part in weights.trained}
    remaining = {part: facts for part, facts in weights.adapters.items() if part not in parts}
    merged |= dict.fromkeys(parts, "0" * 16)  # as long before the digests are known as afterwards
    header = {"frozen": dict(weights.frozen), "settings": dict(weights.settings), "merged": merged,
              "adapters": {part: asdict(facts) for part, facts in remaining.items()}}
    safetensors_writer.write(path, tensors, header, lambda _: None, identify)


def load(path: Path, parts: Mapping[str, nn.Module], partly: Collection[str] = ()) -> None:
    """Fill modules with their weights from a file; what the file holds of other parts is left alone.

    Args:
        partly: parts whose module is a piece of the one that was written.

    Raises:
        RunError: the file is missing or cut short, or a tensor is missing, not expected, of another shape, or altered.
    """
    weights = opened(path)
    for part, module in parts.items():
        fill(module, weights.part(part), path, part, complete=part not in partly)


def opened(path: Path, recorded: Mapping[str, Stat] | None = None) -> StageWeights:
    """Open the weights of a stage, in one file or in shards beside an index.

    Args:
        recorded: `stats` of the files when they were written; while they are the same, no tensor is hashed again.

    Raises:
        RunError: a file is missing, cut short or not ours, or it holds something else than its header states.
    """
    found, facts = _files(path)
    try:
        header: dict[str, dict[str, str]] = {key: dict(json.loads(facts[key])) for key in ("trained", "frozen", "digests")}
        settings, merged = (dict(json.loads(facts.get(key, "{}"))) for key in ("settings", "merged"))
        adapters = {part: AdapterFacts(found["base"], found["scale"], tuple(found["transposed"]))
                    for part, found in json.loads(facts.get("adapters", "{}")).items()}
    except (KeyError, ValueError, TypeError) as error:
        raise RunError(f"{path} was not written by omnikit: its header does not say which parts it holds.") from error
    trained, digests = header["trained"], header["digests"]
    strays = [name for name in found if not any(name.startswith(f"{part}.") for part in trained)]
    if strays:
        raise RunError(f"{path} holds the tensor {min(strays)}, which belongs to none of its parts.")
    for part, written in trained.items():
        own = {name.removeprefix(f"{part}."): digest for name, digest in digests.items() if name.startswith(f"{part}.")}
        digest, wanted = part_hash(own), merged.get(part, written)
        digest = adapters[part].hash(digest) if part in adapters else digest
        if digest != wanted:
            raise RunError(f"{path}: the weights of {part} have hash {digest}, but {wanted} was written; the file was"
                           " altered, train the stage again.")
    if not recorded or recorded != stats(path):
        found = {name: replace(tensor, read=partial(_verified, path, name, tensor, digests.get(name)))
                 for name, tensor in found.items()}
    return StageWeights(path, found, trained, digests, header["frozen"], settings, adapters)


def stats(path: Path) -> dict[str, Stat]:
    """Give name → size, time and inode of the files that hold the weights of a stage."""
    return {file.name: stat(file) for file in _paths(path)}


def synchronise(path: Path) -> None:
    """Let the disk hold what was written of a stage's weights before anything is recorded about it."""
    for file in _paths(path):
        with file.open("rb") as opened_file:
            os.fsync(opened_file.fileno())


def verify(path: Path) -> None:
    """Read every tensor once; raises RunError if one is not what was written."""
    for tensor in opened(path).tensors.values():
        tensor.read()


def exists(path: Path) -> bool:
    """Whether weights lie there, in one file or in shards."""
    return path.is_file() or path.with_name(f"{path.name}{INDEX}").is_file()


def hashes(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Give name → hash of the parts in a file, and of the frozen parts that they were trained with; reads the header alone."""
    weights = opened(path)
    return dict(weights.trained), dict(weights.frozen)


def fill(module: nn.Module, stored: Mapping[str, LazyTensor], path: Path, part: str, *, complete: bool = True,
         device: torch.device | None = None, dtype: torch.dtype | None = None) -> list[str]:
    """Put a part's stored weights in the place of a module's, which may be empty; give their names.

    Args:
        path: of the file that they come from.
        complete: False where the module is a piece of the one that was written.
        dtype: of its floating-point numbers; None leaves those of the module.

    Raises:
        RunError: a tensor is missing, not expected, of another shape, or altered.
    """
    wanted = dict(distinct(module))
    _compare(path, part, wanted, stored, complete=complete)
    names = [name for name in wanted if name in stored]

    def read(name: str) -> Tensor:
        own = wanted[name].dtype
        kind = dtype if dtype is not None and own.is_floating_point else own
        return stored[name].read().to(device, kind)

    with ThreadPoolExecutor(THREADS) as pool:
        assign(module, dict(zip(names, pool.map(read, names), strict=True)))
    return names


def _compare(path: Path, part: str, wanted: Mapping[str, Tensor], stored: Mapping[str, LazyTensor], *, complete: bool) -> None:
    for what, some in (("lacks", set(wanted) - set(stored)),
                       ("holds but the model lacks", set(stored) - set(wanted) if complete else set())):
        if some:
            raise RunError(f"{path} {what} the tensor {part}.{min(some)} ({len(some)} such); the recipe and the run differ.")
    for name, tensor in wanted.items():
        if stored[name].shape != tensor.shape:
            raise RunError(f"{path}: {part}.{name} has shape {tuple(stored[name].shape)}, but the model has"
                           f" {tuple(tensor.shape)}; the recipe and the run differ.")


def _verified(path: Path, name: str, tensor: LazyTensor, written: str | None) -> Tensor:
    found = tensor.read()
    if written != (digest := tensor_digest(found)):
        raise RunError(f"{path}: the tensor {name} has digest {digest}, but {written or 'none'} was written; the file was"
                       " altered, train the stage again.")
    return found


def _paths(path: Path) -> list[Path]:
    """Give the file with a stage's weights, or the index and its shards."""
    index = path.with_name(f"{path.name}{INDEX}")
    if path.is_file() or not index.is_file():
        return [path]
    return [index, *(path.with_name(shard) for shard in sorted(set(weight_map(index).values())))]


def _files(path: Path) -> tuple[dict[str, LazyTensor], Mapping[str, str]]:
    """Give the tensors of a file or of its shards, and the metadata of the header."""
    advice, index = "train its stage again", path.with_name(f"{path.name}{INDEX}")
    if path.is_file() or not index.is_file():
        if not path.is_file():
            raise RunError(f"{path} is missing; train its stage first.")
        return safetensors_file(path, advice), metadata(path)
    found: dict[str, LazyTensor] = {}
    for name, shard in weight_map(index).items():
        if shard not in {tensor.file.name for tensor in found.values()}:
            found |= safetensors_file(path.with_name(shard), advice)
        if name not in found:
            raise RunError(f"{index} names the tensor {name}, which {shard} does not hold; train its stage again.")
    facts = read_json(index).get("metadata")
    return found, facts if isinstance(facts, dict) else {}
