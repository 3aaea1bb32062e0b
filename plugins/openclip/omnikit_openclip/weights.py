"""The image tower of a checkpoint of open_clip, strictly. Reads files and names, not layers."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError
from omnikit.recipe.wrappers import advice
from omnikit.store.tensors import fill, in_file, mapping, readable, torch_file
from omnikit_openclip.config import OpenClip

PREFIX = "visual."
POOLING = ("proj", "ln_post.weight", "ln_post.bias")  # behind the chosen layer, like the layers that follow it


def load_weights(module: nn.Module, source: str, config: OpenClip) -> None:
    """Copy a checkpoint's tower into `module`.

    Raises:
        RunError: the file is missing or unreadable, or a tensor is missing, left over or of another shape.
    """
    own = module.state_dict()
    found = {name: tensor for name, tensor in read_tower(Path(source).expanduser(), config.weights_prefix).items()
             if name in own or not _behind(name, config.depth)}
    fill(module, found, source, config.model, "set openclip's field `model` to the checkpoint's")


def read_tower(file: Path, prefix: str = "") -> dict[str, LazyTensor]:
    """Give the image tower's tensors by their names behind the prefix, as they are for a training checkpoint too."""
    if not file.is_file():
        raise RunError(f"{file} does not exist, but openclip's field `weights` must name a local checkpoint of open_clip, "
                       "or be null for random weights.")
    names = {name.removeprefix("module."): tensor for name, tensor in _read(file, prefix).items()}
    tower = {name.removeprefix(PREFIX): tensor for name, tensor in names.items() if name.startswith(PREFIX)}
    if not tower:
        around = next((name[:name.index(PREFIX)] for name in names if f".{PREFIX}" in name), "")
        raise RunError(f"{file} has no tensor whose name begins with {PREFIX!r}; "
                       f"{advice(around) if around else 'it is no checkpoint of open_clip'}.")
    return tower


def _read(file: Path, prefix: str) -> dict[str, LazyTensor]:
    if file.suffix == ".safetensors":
        return in_file(file, prefix)
    found = torch_file(file)
    inner = found.get("state_dict") if isinstance(found, Mapping) else None
    return readable(mapping(inner if isinstance(inner, Mapping) else found, file), file, prefix)


def _behind(name: str, depth: int) -> bool:
    """Whether a tensor stands behind the chosen layer."""
    words = name.split(".")
    return name in POOLING or (name.startswith("transformer.resblocks.") and words[2].isdigit() and int(words[2]) >= depth)
