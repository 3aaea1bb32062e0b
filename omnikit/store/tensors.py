"""Tensors of checkpoint files, found by name, read one by one when asked for, put into a module. Uses no layout and no model.

Torch files are opened with `weights_only`, so that they can hold data but run no code.
"""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from omnikit.contracts.types import LazyTensor
from omnikit.errors import ConfigError, RunError
from omnikit.recipe.model_folder import read_object
from omnikit.recipe.placeholders import placeholder, snapshots
from omnikit.recipe.quantised import quantised_config, quantised_tensor
from omnikit.recipe.weight_files import DTYPES, check_map, config_of, weight_files, weight_map
from omnikit.recipe.wrappers import FIELD, unmerged
from omnikit.store.prefixes import advised, named

__all__ = ["DTYPES", "assign", "fill", "in_file", "in_folder", "in_memory", "mapping", "metadata", "misfits", "read_json",
           "readable", "safetensors_file", "torch_file", "torch_word", "weight_map"]

CODE = ("{} is not a torch file or holds more than tensors, so reading it could run code; save its state dict again, as"
        " safetensors.")


def in_file(path: Path, prefix: str = "") -> dict[str, LazyTensor]:
    """Give name → tensor of a safetensors file, or of a torch file that holds one mapping.

    Args:
        prefix: what stands before the names in the file; tensors without it are left out.

    Raises:
        RunError: the file is missing, cut short or holds something else, quantised weights among that.
    """
    return readable(_tensors(path), path, prefix)


def in_folder(folder: Path, advice: str = "give the folder of a checkpoint", prefix: str = "") -> dict[str, LazyTensor]:
    """Give name → tensor of a folder as transformers writes it, from one file or from shards; see omnikit.recipe.weight_files.

    Args:
        advice: ends the sentence that a folder without weights is refused with.
        prefix: as `in_file` takes it.

    Raises:
        RunError: there are none, a file of them is missing, cut short or holds something else, or they are quantised.
    """
    files = weight_files(folder, advice)
    if quantised := quantised_config(config_of(folder), folder / "config.json"):
        raise RunError(quantised)
    held = {file.name: _tensors(file) for file in files.files}
    if files.shard_of is None or files.index is None:
        found = held[files.files[0].name]
    else:
        check_map(files.index, files.shard_of, {file: set(names) for file, names in held.items()})
        found = {name: held[shard][name] for name, shard in files.shard_of.items()}
    return readable(found, folder, prefix)


def _tensors(path: Path) -> dict[str, LazyTensor]:
    _require(path)
    return safetensors_file(path) if path.suffix == ".safetensors" else mapping(torch_file(path), path)


def readable(found: Mapping[str, LazyTensor], where: Path, prefix: str = "") -> dict[str, LazyTensor]:
    """Give tensors by the names that a model has; see omnikit.store.prefixes.named.

    Raises:
        RunError: they are quantised or lie under an adapter, or none has the prefix.
    """
    if wrong := quantised_tensor(((name, tensor.dtype) for name, tensor in found.items()), where) or unmerged(found, where):
        raise RunError(wrong)
    return named(found, prefix, where)


def torch_file(path: Path) -> object:
    """Give what a torch file holds; its tensors stay on the disk until they are read, if the file's format allows it.

    Raises:
        RunError: the file is missing, cut short, or holds more than tensors: a pickle of anything else, or TorchScript.
    """
    _require(path)
    try:
        try:
            return torch.load(path, "cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):  # written before torch 1.6
                raise
            return torch.load(path, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RunError(CODE.format(path)) from error
    except (OSError, RuntimeError, ValueError, EOFError, LookupError) as error:
        if "TorchScript" in str(error):
            raise RunError(CODE.format(path)) from error
        raise RunError(f"{path} is not a whole torch file ({type(error).__name__}); copy it again.") from error


def _require(path: Path) -> None:
    """Raise RunError where a file is missing, or something well known stands in its place."""
    if wrong := placeholder(path):
        raise RunError(f"{path} {wrong}.")
    if not path.is_file():
        raise RunError(f"{path} is missing; give the path of the file.")


def mapping(found: object, path: Path) -> dict[str, LazyTensor]:
    """Give name → tensor of what a torch file held; raises RunError if it is not a mapping of names to tensors."""
    if isinstance(found, Mapping) and (nested := [str(key) for key, value in found.items() if _is_named(value)]):
        raise RunError(f"{path} holds no mapping of names to tensors, but one under {', '.join(map(repr, nested))}, as programs"
                       f" that train write it; save what stands under {nested[0]!r} alone.")
    if found != {} and not _is_named(found):
        raise RunError(f"{path} holds no mapping of names to tensors; save its state dict again.")
    assert isinstance(found, Mapping), "looked at"
    return {str(name): in_memory(str(name), path, tensor) for name, tensor in found.items()}


def _is_named(found: object) -> bool:
    return isinstance(found, Mapping) and bool(found) and all(isinstance(value, Tensor) for value in found.values())


def in_memory(name: str, path: Path, tensor: Tensor) -> LazyTensor:
    """Give a tensor that is there already as one that came from a file."""
    return LazyTensor(name, path, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), lambda: tensor)


def fill(module: nn.Module, found: Mapping[str, LazyTensor], where: str, what: str, advice: str, *,
         field: str = FIELD) -> None:
    """Put tensors in the place of a module's, strictly: each name of its state dict must be there in its shape, and no other.

    They keep the module's dtypes. Of tied weights the first name is enough.

    Args:
        where: file or folder that the tensors come from, `what`: the module's name, `advice`: the sentence's end.
        field: of the component, by which names lose what stands before them; "" where it has none.

    Raises:
        RunError: the first tensor that is missing, unexpected or of another shape, and how many more there are; the module is
            as it was.
    """
    own = module.state_dict(keep_vars=True)
    ids = {id(own[name]) for name in own if name in found}
    missing = [name for name, tensor in own.items() if name not in found and id(tensor) not in ids]
    problems = misfits(own, found, missing)
    problems += [f"{name} differs from {first}, with which it shares its weights" for name, first in _tied(own, found)
                 if not problems and not torch.equal(*(found[one].read().to(own[name].dtype) for one in (name, first)))]
    if problems:
        unexpected = {name: tensor for name, tensor in found.items() if name not in own}
        raise RunError(f"The weights in {where} do not fit {what}: {advised(problems, missing, unexpected, advice, field)}.")
    assign(module, {name: found[name].read().to(tensor.dtype) for name, tensor in own.items() if name in found})


def misfits(own: Mapping[str, Tensor], found: Mapping[str, LazyTensor], missing: Sequence[str]) -> list[str]:
    """Give a clause for each tensor that is missing, unexpected, or of another shape or kind of numbers than a module's."""
    problems = [f"{name} is missing" for name in missing] + [f"{name} is unexpected" for name in found if name not in own]
    problems += [f"{name} has the shape {list(found[name].shape)}, but the configuration makes it {list(tensor.shape)}"
                 for name, tensor in own.items() if name in found and found[name].shape != tensor.shape]
    return problems + [f"{name} has the dtype {found[name].dtype}, which cannot be read as {torch_word(tensor.dtype)}"
                       for name, tensor in own.items() if name in found and not reads_as(found[name].dtype, tensor.dtype)]


def _tied(own: Mapping[str, Tensor], found: Mapping[str, LazyTensor]) -> Iterator[tuple[str, str]]:
    """Give the names of tied weights that are there more than once, each with the first name that is there."""
    first: dict[int, str] = {}
    for name in (name for name in own if name in found):
        if (earlier := first.setdefault(id(own[name]), name)) != name:
            yield name, earlier


def reads_as(stored: str, own: torch.dtype) -> bool:
    """Whether stored numbers mean themselves in a dtype; quantised ones mean nothing without their scales."""
    found = getattr(torch, stored, None)
    return isinstance(found, torch.dtype) and found.is_floating_point == own.is_floating_point and (
        found.is_complex == own.is_complex) and (found.itemsize > 1 or not found.is_floating_point)


def torch_word(dtype: torch.dtype) -> str:
    """Give a dtype's name as LazyTensor has it."""
    return str(dtype).removeprefix("torch.")


def assign(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors in the place of a module's parameters and saved buffers, by their names; what was tied stays tied."""
    owners: dict[int, list[tuple[nn.Module, str]]] = {}
    for inner in module.modules():
        for key, value in (*inner._parameters.items(), *inner._buffers.items()):
            if value is not None:
                owners.setdefault(id(value), []).append((inner, key))
    own = module.state_dict(keep_vars=True)
    for name, tensor in tensors.items():
        old = own[name]
        new = nn.Parameter(tensor, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else tensor
        for inner, key in owners[id(old)]:
            setattr(inner, key, new)


def read_json(path: Path) -> dict[str, object]:
    """Give a JSON file's mapping; raises RunError if it is missing or not one."""
    if wrong := placeholder(path):
        raise RunError(f"{path} {wrong}.")
    if not path.is_file():
        cached = next(iter(snapshots(path.parent)), None)
        raise RunError(f"{path} is missing; give the folder that holds it" + (f", {cached}." if cached else "."))
    try:
        return read_object(path)
    except ConfigError as error:
        raise RunError(str(error)) from error


def metadata(path: Path) -> dict[str, str]:
    """Give the metadata of a safetensors file that could be opened."""
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})  # type: ignore[no-untyped-call]  # safetensors has no types


def safetensors_file(path: Path, advice: str = "copy it again") -> dict[str, LazyTensor]:
    """Give name → tensor of a safetensors file, whatever its name; raises RunError as `in_file`, with `advice` at the end."""
    if not path.is_file():
        raise RunError(f"{path} is missing; give the path of the file.")
    try:
        file = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        if path.stat().st_size and (wrong := placeholder(path)):
            raise RunError(f"{path} {wrong}.") from error
        raise RunError(f"{path} is not a whole safetensors file ({error}); {advice}.") from error
    found = {}
    for name in file.keys():  # type: ignore[no-untyped-call]  # noqa: SIM118 - safe_open is no mapping and has no types
        piece = file.get_slice(name)  # type: ignore[no-untyped-call]  # safetensors has no types
        dtype = piece.get_dtype()
        found[name] = LazyTensor(name, path, tuple(piece.get_shape()), DTYPES.get(dtype, dtype), partial(file.get_tensor, name))
    return found

