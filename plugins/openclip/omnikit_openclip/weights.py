"""The image tower of a checkpoint of open_clip, strictly. Knows the files and names, not the layers."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from omnikit.errors import RunError
from omnikit_openclip.config import OpenClip

PREFIX = "visual."
POOLING = ("proj", "ln_post.weight", "ln_post.bias")  # behind the chosen layer, like the layers that follow it


def load_weights(module: nn.Module, source: str, config: OpenClip) -> None:
    """Copy a checkpoint's tower into `module`; a module on the meta device is left as it is.

    Raises:
        RunError: the file is missing or unreadable, or a tensor is missing, left over or of another shape.
    """
    own = module.state_dict()
    if any(tensor.is_meta for tensor in own.values()):
        return
    found = {name: tensor for name, tensor in read_tower(Path(source).expanduser()).items()
             if name in own or not _behind(name, config.depth)}
    problems = [f"{name} is missing" for name in own if name not in found]
    problems += [f"{name} is left over" for name in found if name not in own]
    problems += [
        f"{name} has the shape {list(found[name].shape)}, but {config.model} makes it {list(own[name].shape)}"
        for name in own
        if name in found and found[name].shape != own[name].shape
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise RunError(f"The weights in {source} do not fit {config.model}: {problems[0]}{more}; "
                       "set openclip's field `model` to the checkpoint's.")
    module.load_state_dict(found)


def read_tower(file: Path) -> dict[str, Tensor]:
    """Give the image tower's tensors by their names behind the prefix, as they are for a training checkpoint too."""
    if not file.is_file():
        raise RunError(f"{file} does not exist, but openclip's field `pretrained` must name a local checkpoint of open_clip, "
                       "or be null for random weights.")
    loaded = _read(file)
    inner = loaded.get("state_dict")
    tensors = inner if isinstance(inner, dict) else loaded
    names = {str(name).removeprefix("module."): tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
    tower = {name.removeprefix(PREFIX): tensor for name, tensor in names.items() if name.startswith(PREFIX)}
    if not tower:
        raise RunError(f"{file} has no tensor whose name begins with {PREFIX!r}; it is no checkpoint of open_clip.")
    return tower


def _read(file: Path) -> dict[str, object]:
    try:
        if file.suffix == ".safetensors":
            return dict(load_file(file))
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError) as error:
        raise RunError(f"{file} cannot be read as weights ({str(error).splitlines()[0]}); copy it again.") from None
    except Exception as error:  # pickle's own, by which weights_only refuses what is no tensor
        raise RunError(f"{file} holds more than tensors ({type(error).__name__}), and only files of tensors are loaded; "
                       "save its state dict as safetensors.") from None
    return loaded if isinstance(loaded, dict) else {}


def _behind(name: str, depth: int) -> bool:
    """Whether a tensor stands behind the chosen layer."""
    words = name.split(".")
    return name in POOLING or (name.startswith("transformer.resblocks.") and words[2].isdigit() and int(words[2]) >= depth)
