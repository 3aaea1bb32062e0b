"""A published InternViT's folder as fields of the encoder, from its config.json. Reads JSON only."""

from collections.abc import Mapping

from omnikit.contracts.folders import FolderValue
from omnikit.errors import ConfigError
from omnikit.recipe.model_folder import model_folder, read_object

# our field → the published name, in a file of the vision model alone or under vision_config
NAMES = {"dim": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads", "ffn": "intermediate_size",
         "patch": "patch_size", "eps": "layer_norm_eps", "qkv_bias": "qkv_bias", "qk_norm": "qk_normalization"}
NORMS = {"layer_norm": "layer", "rms_norm": "rms"}


def folder_fields(fields: Mapping[str, object]) -> dict[str, FolderValue]:
    """Give what the folder or id in `weights` states for the encoder's fields; nothing where there is no config.json.

    Raises:
        ConfigError: its config.json cannot be read, or is not that of an InternViT.
    """
    folder = model_folder(str(fields["weights"]))
    if folder is None or not (folder / "config.json").is_file():
        return {}
    path = folder / "config.json"
    content = read_object(path)
    inner = content.get("vision_config")
    content = inner if isinstance(inner, dict) else content
    found = {ours: FolderValue(_number(content[theirs], theirs, str(path)), f"config.json {theirs}")
             for ours, theirs in NAMES.items() if theirs in content}
    if "norm_type" in content:
        if content["norm_type"] not in NORMS:
            raise ConfigError(f"{path} has norm_type {content['norm_type']!r}, but encoder internvit has {', '.join(NORMS)};"
                              " give the folder of an InternViT.")
        found["norm"] = FolderValue(NORMS[str(content["norm_type"])], "config.json norm_type")
    if isinstance(size := content.get("image_size"), int):  # learned positions are stretched to another one
        found["size"] = FolderValue(size, "config.json image_size", fixed=False)
    return found | {"stem": FolderValue((), "the architecture")}


def _number(value: object, name: str, path: str) -> object:
    if isinstance(value, int | float) and (isinstance(value, bool) or value > 0):
        return value
    raise ConfigError(f"{path} has {name} {value!r}, but it must be a number above 0; copy the file again.")
