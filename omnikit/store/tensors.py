"""Tensors of checkpoint files, found by name, read one by one when asked for, put into a module. Knows no layout and no model.

Torch files are opened with `weights_only`, so that they can hold data but run no code.
"""

import json
import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError

DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
          "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
"""Number formats of safetensors → torch's words."""

CODE = "{} is no torch file or holds more than tensors, so reading it could run code; save its state dict anew, as safetensors."


def in_file(path: Path) -> dict[str, LazyTensor]:
    """Give name → tensor of a safetensors file, or of a torch file that holds one mapping.

    Raises:
        RunError: the file is missing, cut short or holds something else.
    """
    return _safetensors(path) if path.suffix == ".safetensors" else mapping(torch_file(path), path)


def in_folder(folder: Path, advice: str = "give the folder of a checkpoint") -> dict[str, LazyTensor]:
    """Give name → tensor of a folder as transformers writes it: model.safetensors or pytorch_model.bin, whole or in shards.

    Args:
        advice: ends the sentence that a folder without weights is refused with.

    Raises:
        RunError: there are none, or a file of them is missing, cut short or holds something else.
    """
    for stem, suffix in (("model", "safetensors"), ("pytorch_model", "bin")):
        single, index = folder / f"{stem}.{suffix}", folder / f"{stem}.{suffix}.index.json"
        if index.is_file():
            found: dict[str, LazyTensor] = {}
            for name in sorted(set(_shards(index))):
                found |= in_file(folder / name)
            return found
        if single.is_file():
            return in_file(single)
    raise RunError(f"{folder} holds no weights: neither model.safetensors nor pytorch_model.bin, nor their index.json for"
                   f" shards; {advice}.")


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
        raise RunError(CODE.format(path)) from error
    except (OSError, RuntimeError, ValueError, EOFError, LookupError) as error:
        if "TorchScript" in str(error):
            raise RunError(CODE.format(path)) from error
        raise RunError(f"{path} is not a whole torch file ({type(error).__name__}); copy it again.") from error


def mapping(found: object, path: Path) -> dict[str, LazyTensor]:
    """Give name → tensor of what a torch file held; raises RunError if it is no mapping of names to tensors."""
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise RunError(f"{path} holds no mapping of names to tensors; save its state dict anew.")
    return {str(name): in_memory(str(name), path, tensor) for name, tensor in found.items()}


def in_memory(name: str, path: Path, tensor: Tensor) -> LazyTensor:
    """Give a tensor that is there already as one that came from a file."""
    return LazyTensor(name, path, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), lambda: tensor)


def fill(module: nn.Module, found: Mapping[str, LazyTensor], where: str, what: str, advice: str) -> None:
    """Copy tensors into a module, strictly: each name of its state dict must be there in its shape, and no other.

    Args:
        where: file or folder that the tensors come from, `what`: the module's name, `advice`: the sentence's end.

    Raises:
        RunError: the first tensor that is missing, left over or of another shape, and how many more there are; the module is
            as it was.
    """
    own = module.state_dict()
    problems = [f"{name} is missing" for name in own if name not in found]
    problems += [f"{name} is left over" for name in found if name not in own]
    problems += [f"{name} has the shape {list(found[name].shape)}, but the configuration makes it {list(tensor.shape)}"
                 for name, tensor in own.items() if name in found and found[name].shape != tensor.shape]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise RunError(f"The weights in {where} do not fit {what}: {problems[0]}{more}; {advice}.")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(found[name].read())


def read_json(path: Path) -> dict[str, object]:
    """Give a JSON file's mapping; raises RunError if it is missing or none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path} is missing; give the folder that holds it.") from error
    except ValueError as error:
        raise RunError(f"{path} is not JSON ({error}); copy it again.") from error
    if not isinstance(found, dict):
        raise RunError(f"{path} is no mapping of keys to values; copy it again.")
    return found


def _safetensors(path: Path) -> dict[str, LazyTensor]:
    if not path.is_file():
        raise RunError(f"{path} is missing; give the path of the file.")
    try:
        file = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} is not a whole safetensors file ({error}); copy it again.") from error
    found = {}
    for name in file.keys():  # type: ignore[no-untyped-call]  # noqa: SIM118 - safe_open is no mapping and has no types
        piece = file.get_slice(name)  # type: ignore[no-untyped-call]  # safetensors has no types
        dtype = piece.get_dtype()
        found[name] = LazyTensor(name, path, tuple(piece.get_shape()), DTYPES.get(dtype, dtype), partial(file.get_tensor, name))
    return found


def _shards(index: Path) -> list[str]:
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise RunError(f"{index} has no weight_map, which names the shards; copy it again.")
    strange = [str(name) for name in named.values() if Path(str(name)).name != str(name)]
    if strange:
        raise RunError(f"{index} names the shard {strange[0]!r}, but shards lie beside their index; copy the checkpoint again.")
    return [str(name) for name in named.values()]
