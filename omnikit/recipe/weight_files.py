"""Which files of a folder hold its weights, as transformers finds them, and what stands in their headers. Uses no torch.

First model.safetensors, then its shards by their index, then pytorch_model.bin and its shards. An index is the truth: a tensor
is read from the shard that it names, and what else the shards hold under such a name is ignored.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from omnikit.errors import ConfigError, RunError
from omnikit.recipe.model_folder import read_object
from omnikit.recipe.placeholders import in_place_of_weights, placeholder
from omnikit.recipe.quantised import quantised_config, quantised_tensor
from omnikit.recipe.wrappers import FIELD, advice, unmerged, wrapped

DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
          "I16": "int16", "I8": "int8", "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64", "BOOL": "bool",
          "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu"}
"""Dtypes of safetensors → torch's words."""
NAMED = "transformers_weights"  # key of a config.json: which file holds the weights
LARGEST = 100_000_000  # bytes of a header, by the format's own rule


@dataclass(frozen=True)
class WeightFiles:
    """The files that hold a folder's weights.

    Args:
        shard_of: name → file of the shard that holds it; None for one file with everything.
    """

    index: Path | None
    files: tuple[Path, ...]
    shard_of: Mapping[str, str] | None = None


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a safetensors file, by torch's word for its dtype; `begin` and `end` are bytes of the file."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def weight_files(folder: Path, otherwise: str) -> WeightFiles:
    """Find the files of a folder's weights.

    Args:
        otherwise: ends the sentence that a folder without weights is refused with.

    Raises:
        RunError: there are none, or an index names what is not there.
    """
    for single in _candidates(folder):
        index = single.with_name(f"{single.name}.index.json")
        if single.name.endswith(".index.json") and single.is_file():
            return _by_index(single)
        if single.is_file():
            return WeightFiles(None, (single,))
        if index.is_file():
            return _by_index(index)
    for file in _candidates(folder):
        if lost := placeholder(file):
            raise RunError(f"{folder} holds no weights: {file.name} {lost}.")
    instead, action = in_place_of_weights(folder) or ("", otherwise)
    raise RunError(f"{folder} holds no weights: neither model.safetensors nor pytorch_model.bin, nor their index.json for"
                   f" shards{', but ' if instead else ''}{instead}; {action}.")


def weight_map(index: Path) -> dict[str, str]:
    """Give name → file of the shard that holds it, by an index of shards; raises RunError if it does not."""
    if wrong := placeholder(index):
        raise RunError(f"{index} {wrong}.")
    try:
        named = read_object(index).get("weight_map")
    except ConfigError as error:
        raise RunError(str(error)) from error
    if not isinstance(named, dict) or not named:
        raise RunError(f"{index} has no weight_map, which names the shards; copy it again.")
    strange = [str(name) for name in named.values() if Path(str(name)).name != str(name) or name in ("", "..")]
    if strange:
        raise RunError(f"{index} names the shard {strange[0]!r}, but shards lie beside their index; copy the checkpoint again.")
    return {str(name): str(shard) for name, shard in named.items()}


def check_map(index: Path, shard_of: Mapping[str, str], held: Mapping[str, set[str]]) -> None:
    """Hold an index against what its shards hold.

    Args:
        held: file → names.

    Raises:
        RunError: a shard lacks a tensor that the index names in it, or holds one that the index does not name at all.
    """
    for name, shard in shard_of.items():
        if name not in held[shard]:
            other = next((f", which {file} holds" for file, names in held.items() if name in names), "")
            raise RunError(f"{index} names the tensor {name}{other}, but {shard} does not hold it; copy the checkpoint again.")
    for file, names in held.items():
        if unnamed := sorted(names - shard_of.keys()):
            raise RunError(f"{index.parent / file} holds the tensor {unnamed[0]}, but {index.name} does not name it; copy the"
                           " checkpoint again.")


def stored_tensors(found: WeightFiles) -> dict[str, StoredTensor]:
    """Give what the headers of a folder's safetensors files state; {} where they are torch files, which need torch.

    Raises:
        RunError: a file is damaged, or an index and its shards contradict each other.
    """
    for file in found.files:
        if wrong := placeholder(file):
            raise RunError(f"{file} {wrong}.")
    if any(file.suffix != ".safetensors" for file in found.files):
        return {}
    headers = {file.name: header(file) for file in found.files}
    if found.shard_of is None or found.index is None:
        return headers[found.files[0].name]
    check_map(found.index, found.shard_of, {file: set(names) for file, names in headers.items()})
    return {name: headers[shard][name] for name, shard in found.shard_of.items()}


def header(file: Path) -> dict[str, StoredTensor]:
    """Give name → tensor of a safetensors file's header; raises RunError if the file is not whole."""
    size = file.stat().st_size
    try:
        with file.open("rb") as content:
            length = int.from_bytes(content.read(8), "little")
            if not 2 <= length <= min(LARGEST, size - 8):
                raise ValueError(f"its header would take {length} bytes of {size}")
            named = json.loads(content.read(length))
        return _entries(file, named, 8 + length, size)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{file} is not a whole safetensors file ({str(error)[:200]}); copy it again.") from error


def check_weights(folder: Path, prefix: str, field: str = FIELD) -> dict[str, StoredTensor]:
    """Look at a folder's weights as far as JSON and headers go, before anything is trained on them; gives what they state.

    Args:
        prefix: `weights_prefix` of the component that reads them, `field`: its path, for messages.

    Raises:
        RunError: there are none, a file is a placeholder or damaged, they are quantised, or a wrapper named them.
    """
    found = stored_tensors(weight_files(folder, "give the folder of a model as transformers saves it"))
    wrong = quantised_config(config_of(folder), folder / "config.json") or quantised_tensor(
        ((name, tensor.dtype) for name, tensor in found.items()), folder) or unmerged(found, folder)
    if wrong:
        raise RunError(wrong)
    front = wrapped(found) if not prefix else ""
    if front:
        raise RunError(f"The weights in {folder} are not named as a model names them: {advice(front, field)}.")
    return found


def config_of(folder: Path) -> dict[str, object]:
    """Give the config.json beside weights, {} where there is none; raises RunError if it is not JSON."""
    try:
        return read_object(folder / "config.json")
    except ConfigError as error:
        raise RunError(str(error)) from error


def equal(one: StoredTensor, other: StoredTensor) -> bool:
    """Whether two tensors of one dtype hold the same bytes; reads no further than the first difference."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    with one.file.open("rb") as first, other.file.open("rb") as second:
        first.seek(one.begin)
        second.seek(other.begin)
        left = one.end - one.begin
        while left > 0:
            step = min(left, 2**22)
            if first.read(step) != second.read(step):
                return False
            left -= step
    return True


def _candidates(folder: Path) -> list[Path]:
    named = config_of(folder).get(NAMED) if folder.is_dir() else None
    if named is not None and (not isinstance(named, str) or Path(named).name != named):
        raise RunError(f"{folder / 'config.json'} has {NAMED} {named!r}, but the weights lie beside it; copy the file again.")
    own = [folder / str(named)] if named else []
    return [*own, folder / "model.safetensors", folder / "pytorch_model.bin"]


def _by_index(index: Path) -> WeightFiles:
    shard_of = weight_map(index)
    files = tuple(index.parent / name for name in sorted(set(shard_of.values())))
    for file in files:
        if not file.is_file():
            raise RunError(f"{index} names the shard {file.name}, but that"
                           f" {placeholder(file) or 'is missing; copy the checkpoint again'}.")
    return WeightFiles(index, files, shard_of)


def _entries(file: Path, named: Mapping[str, Mapping[str, object]], start: int, size: int) -> dict[str, StoredTensor]:
    found = {}
    for name, entry in named.items():
        if name == "__metadata__":
            continue
        dtype, shape, (begin, end) = str(entry["dtype"]), _integers(entry["shape"]), _integers(entry["data_offsets"])
        found[name] = StoredTensor(file, DTYPES.get(dtype, dtype), shape, start + begin, start + end)
    last = max((tensor.end for tensor in found.values()), default=start)
    if last != size:
        raise ValueError(f"it has {size} bytes, but its header names {last}")
    return found


def _integers(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(isinstance(each, int) for each in value):
        raise ValueError(f"its header has {value!r} where whole numbers stand")
    return tuple(value)
