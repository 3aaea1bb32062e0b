"""A transformers checkpoint of Whisper into the encoder, strictly. Knows safetensors, not the encoder."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from omnikit.errors import RunError

PREFIXES = ("model.encoder.", "encoder.")  # WhisperForConditionalGeneration, WhisperModel


def load_weights(module: nn.Module, folder: str) -> None:
    """Copy the encoder's tensors of a checkpoint into `module`; a module on the meta device is left as it is.

    Raises:
        RunError: the folder or a file is missing or unreadable, or a tensor is missing, left over or of another shape.
    """
    own = module.state_dict()
    if any(tensor.is_meta for tensor in own.values()):
        return
    found = read_tensors(Path(folder).expanduser())
    problems = [f"{name} is missing" for name in own if name not in found]
    problems += [f"{name} is left over" for name in found if name not in own]
    problems += [
        f"{name} has the shape {list(found[name].shape)}, but the configuration makes it {list(own[name].shape)}"
        for name in own
        if name in found and found[name].shape != own[name].shape
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise RunError(f"The weights in {folder} do not fit whisper: {problems[0]}{more}; "
                       "choose the preset of that size.")
    module.load_state_dict(found)


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Give the encoder's tensors by their names behind the prefix."""
    found: dict[str, Tensor] = {}
    for file in weight_files(folder):
        try:
            with safe_open(file, framework="pt") as tensors:
                for key in tensors.keys():  # noqa: SIM118 - safe_open is no mapping
                    prefix = next((p for p in PREFIXES if key.startswith(p)), None)
                    if prefix is not None:
                        found[key.removeprefix(prefix)] = tensors.get_tensor(key)
        except (SafetensorError, OSError) as error:
            raise RunError(f"{file} cannot be read as safetensors ({error}); copy it again.") from None
    return found


def weight_files(folder: Path) -> list[Path]:
    """Give the one file, or the files that the index names."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        return [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
    raise RunError(f"{folder} has no model.safetensors, but whisper's field `weights` must name a folder with a "
                   "Whisper model of transformers, or be null for random weights.")
