"""A published InternViT into the encoder, strictly. Knows the files and names of checkpoints, not the layers."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from omnikit.errors import RunError
from omnikit_internvit.config import InternVit

PREFIXES = ("model.vision_tower.vision_tower.", "vision_model.")  # VITA, InternVL; InternViT's own repositories have none
POSITIONS = "embeddings.position_embedding"
HIDDEN = {"num_attention_heads": "heads", "layer_norm_eps": "eps", "num_hidden_layers": "layers"}  # no shape tells them


def load_weights(module: nn.Module, source: str, config: InternVit) -> None:
    """Copy a checkpoint's tower into `module`, positions stretched to its grid; on the meta device nothing is read.

    Raises:
        RunError: a file is missing or unreadable, its config.json says otherwise than ours, or a tensor is missing, left over
            or of another shape.
    """
    from omnikit_internvit.model import fit_positions

    own = module.state_dict()
    if any(tensor.is_meta for tensor in own.values()):
        return
    folder = Path(source).expanduser()
    refuse_other_settings(folder, config)
    found = {name: tensor for name, tensor in read_tensors(folder).items() if not _behind(name, config)}
    positions = found.get(POSITIONS)
    if positions is not None and positions.dim() == 3 and positions.shape[2] == own[POSITIONS].shape[2]:
        side = round((own[POSITIONS].shape[1] - 1) ** 0.5)
        found[POSITIONS] = fit_positions(positions, (side, side))
    problems = [f"{name} is missing" for name in own if name not in found]
    problems += [f"{name} is left over" for name in found if name not in own]
    problems += [
        f"{name} has the shape {list(found[name].shape)}, but the configuration makes it {list(own[name].shape)}"
        for name in own
        if name in found and found[name].shape != own[name].shape
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise RunError(f"The weights in {source} do not fit internvit: {problems[0]}{more}; choose the preset of that size.")
    module.load_state_dict(found)


def refuse_other_settings(folder: Path, config: InternVit) -> None:
    """Raise RunError if the folder's config.json has other numbers than ours where no tensor's shape would show it."""
    file = folder / "config.json"
    if not file.is_file():
        return
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{file} cannot be read as JSON ({error}); copy it again.") from None
    said = said.get("vision_config", said)
    for name, field in HIDDEN.items():
        if said.get(name, getattr(config, field)) != getattr(config, field):
            raise RunError(f"{file} has {name} {said[name]}, but internvit's field `{field}` is {getattr(config, field)}; "
                           "choose the preset of that size or set the field.")


def read_tensors(source: Path) -> dict[str, Tensor]:
    """Give the tower's tensors by their names behind a known prefix; where none has one, all tensors."""
    found: dict[str, Tensor] = {}
    for file in weight_files(source):
        found.update(_read(file))
    for prefix in PREFIXES:
        tower = {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}
        if tower:
            return tower
    return found


def weight_files(source: Path) -> list[Path]:
    """Give the file itself, the folder's one file, or the files that its index names."""
    if source.is_file():
        return [source]
    for name in ("model.safetensors", "pytorch_model.bin"):
        single, index = source / name, source / f"{name}.index.json"
        if single.is_file():
            return [single]
        if index.is_file():
            return [source / file for file in sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))]
    raise RunError(f"{source} has no model.safetensors, but internvit's field `weights` must name a published InternViT (its "
                   "folder or a file of it), or be null for random weights.")


def _read(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        raise RunError(f"{file} cannot be read as weights ({str(error).splitlines()[0]}); copy it again.") from None
    except Exception as error:  # pickle's own, by which weights_only refuses what is no tensor
        raise RunError(f"{file} holds more than weights ({type(error).__name__}); only files of tensors are loaded.") from None
    return {str(name): tensor for name, tensor in loaded.items() if isinstance(tensor, Tensor)}


def _behind(name: str, config: InternVit) -> bool:
    """Whether a tensor is of a layer behind the chosen one, which is not built."""
    number = name.removeprefix("encoder.layers.").partition(".")[0]
    return name.startswith("encoder.layers.") and number.isdigit() and config.depth <= int(number) < config.layers
