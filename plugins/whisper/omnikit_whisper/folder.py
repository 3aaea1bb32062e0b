"""A folder of transformers' Whisper as fields of the encoder, from its config.json. Reads JSON only."""

from collections.abc import Mapping
from pathlib import Path

from omnikit.contracts.folders import FolderValue
from omnikit.errors import ConfigError
from omnikit.recipe.model_folder import model_folder, read_object

# our field → transformers' name and its default (configuration_whisper.py of transformers 5.23)
NAMES = {"dim": ("d_model", 384), "layers": ("encoder_layers", 4), "heads": ("encoder_attention_heads", 6),
         "ffn": ("encoder_ffn_dim", 1536), "mel_bins": ("num_mel_bins", 80), "positions": ("max_source_positions", 1500)}
BUILT = {"hop": 160, "kernel": 3, "strides": (1, 2)}  # of every Whisper: openai-whisper model.py and audio.py
ALIKE = {"model_type": "whisper", "activation_function": "gelu", "scale_embedding": False}  # what the encoder is built as


def folder_fields(fields: Mapping[str, object]) -> dict[str, FolderValue]:
    """Give what the folder or id in `weights` states for the encoder's fields; nothing where there is no such folder.

    Raises:
        ConfigError: its config.json cannot be read, or is not that of a Whisper.
    """
    folder = model_folder(str(fields["weights"]))
    if folder is None or not (folder / "config.json").is_file():
        return {}
    path = folder / "config.json"
    content = read_object(path)
    for key, expected in ALIKE.items():
        if content.get(key, expected) != expected:
            raise ConfigError(f"{path} has {key} {content[key]!r}, but encoder whisper is built with {expected!r}; give the"
                              " folder of a Whisper model of transformers.")
    found = {ours: _size(content, path, *theirs) for ours, theirs in NAMES.items()}
    return found | {ours: FolderValue(value, "the architecture") for ours, value in BUILT.items()}


def _size(content: Mapping[str, object], path: Path, name: str, default: int) -> FolderValue:
    value = content.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{path} has {name} {value!r}, but it must be a whole number above 0; copy the file again.")
    return FolderValue(value, f"config.json {name}")
