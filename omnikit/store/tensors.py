"""Tensors of checkpoint files, found by name, read one by one when asked for, put into a module. Uses no layout and no model.

Torch files are opened with `weights_only`, so that they can hold data but run no code.
"""

import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError

DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
          "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
"""Dtypes of safetensors → torch's words."""

CODE = ("{} is not a torch file or holds more than tensors, so reading it could run code; save its state dict again, as"
        " safetensors.")
POINTER = b"version https://git-lfs.github.com/spec/"


def in_file(path: Path) -> dict[str, LazyTensor]:
    """Give name → tensor of a safetensors file, or of a torch file that holds one mapping.

    Raises:
        RunError: the file is missing, cut short or holds something else.
    """
    return safetensors_file(path) if path.suffix == ".safetensors" else mapping(torch_file(path), path)


def in_folder(folder: Path, advice: str = "give the folder of a checkpoint") -> dict[str, LazyTensor]:
    """Give name → tensor of a folder as transformers writes it: model.safetensors or pytorch_model.bin, whole or in shards.

    Args:
        advice: ends the sentence that a folder without weights is refused with.

    Raises:
        RunError: there are none, or a file of them is missing, cut short or holds something else.
    """
    for stem, suffix in (("model", "safetensors"), ("pytorch_model", "bin")):
        single, index = folder / f"{stem}.{suffix}", folder / f"{stem}.{suffix}.index.json"
        if single.is_file():  # first, as transformers does
            return in_file(single)
        if index.is_file():
            return _sharded(index)
    raise RunError(f"{folder} holds no weights: neither model.safetensors nor pytorch_model.bin, nor their index.json for"
                   f" shards{_placeholder(folder)}; {advice}.")


def _sharded(index: Path) -> dict[str, LazyTensor]:
    """Give the tensors that an index names, each from the shard that it names, whatever else the shards hold."""
    shard_of, found = weight_map(index), {}
    shards = {shard: in_file(index.parent / shard) for shard in sorted(set(shard_of.values()))}
    for name, shard in shard_of.items():
        if name not in shards[shard]:
            raise RunError(f"{index} names the tensor {name}, but {shard} does not hold it; copy the checkpoint again.")
        found[name] = shards[shard][name]
    return found


def _placeholder(folder: Path) -> str:
    """Say what stands where weights should, if it is something well known."""
    incomplete = next((path for path in folder.rglob("*.incomplete")), None) if folder.is_dir() else None
    if incomplete:
        return f", but {incomplete.name}, a download that did not end"
    snapshot = next((path for path in folder.glob("snapshots/*") if path.is_dir()), None)
    return f", but a download cache; its files are in {snapshot}" if snapshot else ""


def torch_file(path: Path) -> object:
    """Give what a torch file holds; its tensors stay on the disk until they are read, if the file's format allows it.

    Raises:
        RunError: the file is missing, cut short, or holds more than tensors: a pickle of anything else, or TorchScript.
    """
    if not path.is_file():
        raise RunError(f"{path} is missing; give the path of the file.")
    try:
        try:
            return torch.load(path, "cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):  # written before torch 1.6
                raise
            return torch.load(path, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if _is_pointer(path):
            raise RunError(f"{path} is a pointer of Git LFS, not the weights; fetch them with `git lfs pull`.") from error
        raise RunError(CODE.format(path)) from error
    except (OSError, RuntimeError, ValueError, EOFError, LookupError) as error:
        if "TorchScript" in str(error):
            raise RunError(CODE.format(path)) from error
        raise RunError(f"{path} is not a whole torch file ({type(error).__name__}); copy it again.") from error


def mapping(found: object, path: Path) -> dict[str, LazyTensor]:
    """Give name → tensor of what a torch file held; raises RunError if it is not a mapping of names to tensors."""
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise RunError(f"{path} holds no mapping of names to tensors; save its state dict again.")
    return {str(name): in_memory(str(name), path, tensor) for name, tensor in found.items()}


def in_memory(name: str, path: Path, tensor: Tensor) -> LazyTensor:
    """Give a tensor that is there already as one that came from a file."""
    return LazyTensor(name, path, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), lambda: tensor)


def fill(module: nn.Module, found: Mapping[str, LazyTensor], where: str, what: str, advice: str) -> None:
    """Put tensors in the place of a module's, strictly: each name of its state dict must be there in its shape, and no other.

    They keep the module's dtypes. Of tied weights the first name is enough.

    Args:
        where: file or folder that the tensors come from, `what`: the module's name, `advice`: the sentence's end.

    Raises:
        RunError: the first tensor that is missing, unexpected or of another shape, and how many more there are; the module is
            as it was.
    """
    own = module.state_dict(keep_vars=True)
    ids = {id(own[name]) for name in own if name in found}
    missing = [name for name, tensor in own.items() if name not in found and id(tensor) not in ids]
    unexpected = [name for name in found if name not in own]
    problems = [f"{name} is missing" for name in missing] + [f"{name} is unexpected" for name in unexpected]
    problems += [f"{name} has the shape {list(found[name].shape)}, but the configuration makes it {list(tensor.shape)}"
                 for name, tensor in own.items() if name in found and found[name].shape != tensor.shape]
    problems += [f"{name} has the dtype {found[name].dtype}, which cannot be read as {str(tensor.dtype).removeprefix('torch.')}"
                 for name, tensor in own.items() if name in found and not _plain(found[name].dtype, tensor.dtype)]
    problems += [f"{name} differs from {first}, with which it shares its weights" for name, first in _tied(own, found)
                 if not problems and not torch.equal(found[name].read(), found[first].read())]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        advice = prefixed(missing, unexpected) or advice
        raise RunError(f"The weights in {where} do not fit {what}: {problems[0]}{more}; {advice}.")
    assign(module, {name: found[name].read().to(tensor.dtype) for name, tensor in own.items() if name in found})


def _tied(own: Mapping[str, Tensor], found: Mapping[str, LazyTensor]) -> Iterator[tuple[str, str]]:
    """Give the names of tied weights that are there more than once, each with the first name that is there."""
    first: dict[int, str] = {}
    for name in (name for name in own if name in found):
        if (earlier := first.setdefault(id(own[name]), name)) != name:
            yield name, earlier


def _plain(stored: str, own: torch.dtype) -> bool:
    """Whether stored numbers mean themselves in a dtype; quantised ones mean nothing without their scales."""
    found: torch.dtype = getattr(torch, stored)
    return found.is_floating_point == own.is_floating_point and (found.itemsize > 1 or not found.is_floating_point)


def prefixed(missing: Sequence[str], unexpected: Sequence[str]) -> str:
    """Say which prefix the unexpected names have before the missing ones, if it is one for all; else nothing."""
    prefixes = {name.removesuffix(missing[0]) for name in unexpected if name.endswith(f".{missing[0]}")} if missing else set()
    for prefix in sorted(prefixes, key=len):
        if {f"{prefix}{name}" for name in missing} <= set(unexpected):
            return (f"its names begin with {prefix!r}, which a wrapper around the model wrote; save the state dict of the model"
                    " inside, without that prefix")
    return ""


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
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path} is missing; give the folder that holds it.") from error
    except ValueError as error:
        raise RunError(f"{path} is not JSON ({error}); copy it again.") from error
    if not isinstance(found, dict):
        raise RunError(f"{path} is not a mapping of keys to values; copy it again.")
    return found


def weight_map(index: Path) -> dict[str, str]:
    """Give name → file of the shard that holds it, by an index of shards; raises RunError if it does not."""
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise RunError(f"{index} has no weight_map, which names the shards; copy it again.")
    strange = [str(name) for name in named.values() if Path(str(name)).name != str(name)]
    if strange:
        raise RunError(f"{index} names the shard {strange[0]!r}, but shards lie beside their index; copy the checkpoint again.")
    return {str(name): str(shard) for name, shard in named.items()}


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
        if _is_pointer(path):
            raise RunError(f"{path} is a pointer of Git LFS, not the weights; fetch them with `git lfs pull`.") from error
        raise RunError(f"{path} is not a whole safetensors file ({error}); {advice}.") from error
    found = {}
    for name in file.keys():  # type: ignore[no-untyped-call]  # noqa: SIM118 - safe_open is no mapping and has no types
        piece = file.get_slice(name)  # type: ignore[no-untyped-call]  # safetensors has no types
        dtype = piece.get_dtype()
        found[name] = LazyTensor(name, path, tuple(piece.get_shape()), DTYPES.get(dtype, dtype), partial(file.get_tensor, name))
    return found


def _is_pointer(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER
