"""A published InternViT into the encoder, strictly. Reads the files and names of checkpoints, not the layers."""

from pathlib import Path

from torch import nn

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError
from omnikit.store.tensors import fill, in_file, in_folder, in_memory, read_json
from omnikit_internvit.config import InternVit

PREFIXES = ("model.vision_tower.vision_tower.", "vision_model.")  # VITA, InternVL; InternViT's own repositories have none
ADVICE = ("internvit's field `weights` must name a published InternViT (its folder or a file of it), or be null for random"
          " weights")
POSITIONS = "embeddings.position_embedding"
HIDDEN = {"num_attention_heads": "heads", "layer_norm_eps": "eps", "num_hidden_layers": "layers"}  # no shape gives them


def load_weights(module: nn.Module, source: str, config: InternVit) -> None:
    """Copy a checkpoint's tower into `module`, positions stretched to its grid.

    Raises:
        RunError: a file is missing or unreadable, its config.json has other settings, or a tensor is missing, left over
            or of another shape.
    """
    from omnikit_internvit.model import fit_positions

    own = module.state_dict()
    folder = Path(source).expanduser()
    refuse_other_settings(folder, config)
    found = {name: tensor for name, tensor in read_tensors(folder, config.weights_prefix).items() if not _behind(name, config)}
    positions = found.get(POSITIONS)
    if positions is not None and len(positions.shape) == 3 and positions.shape[2] == own[POSITIONS].shape[2]:
        side = round((own[POSITIONS].shape[1] - 1) ** 0.5)
        found[POSITIONS] = in_memory(POSITIONS, positions.file, fit_positions(positions.read(), (side, side)))
    fill(module, found, source, "internvit", "choose the preset of that size")


def refuse_other_settings(folder: Path, config: InternVit) -> None:
    """Raise RunError if the folder's config.json has other numbers than ours where no tensor's shape would show it."""
    file = folder / "config.json"
    if not file.is_file():
        return
    settings = read_json(file)
    inner = settings.get("vision_config")
    settings = inner if isinstance(inner, dict) else settings
    for name, field in HIDDEN.items():
        if settings.get(name, getattr(config, field)) != getattr(config, field):
            raise RunError(f"{file} has {name} {settings[name]}, but internvit's field `{field}` is {getattr(config, field)}; "
                           "choose the preset of that size or set the field.")


def read_tensors(source: Path, prefix: str = "") -> dict[str, LazyTensor]:
    """Give the tower's tensors in a file or folder by their names behind a known prefix; where none has one, all tensors."""
    found = in_file(source, prefix) if source.is_file() else in_folder(source, ADVICE, prefix)
    for own in PREFIXES:
        tower = {name.removeprefix(own): tensor for name, tensor in found.items() if name.startswith(own)}
        if tower:
            return tower
    return found


def _behind(name: str, config: InternVit) -> bool:
    """Whether a tensor is of a layer behind the chosen one, which is not built."""
    number = name.removeprefix("encoder.layers.").partition(".")[0]
    return name.startswith("encoder.layers.") and number.isdigit() and config.depth <= int(number) < config.layers
