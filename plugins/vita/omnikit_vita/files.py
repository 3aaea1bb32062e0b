"""VITA's files opened: the checkpoint in each of its published forms, the encoders' folders. Reads no tensor yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError
from omnikit.store.adapter_config import states_tied
from omnikit.store.adapters import CONFIG, adapted
from omnikit.store.layouts import read_extras, tokenizer_in
from omnikit.store.tensors import in_file, in_folder, mapping, read_json, torch_file
from omnikit_vita import names, speech_files
from omnikit_vita.audio_settings import read_settings, statistics
from omnikit_vita.layout import STATISTICS, Vita

ALONE = {"mm_projector.bin": "mm_projector.", "audio_adpter.bin": "audio_encoder.adpter."}  # file: what its names contain
NEEDED = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")


@dataclass(frozen=True)
class Opened:
    """Everything that a source names.

    Args:
        config_file: the config.json.
        model: every tensor by the main checkpoint's names, wherever it lies.
        audio: settings of train.yaml; empty for a model without audio input.
        statistics: of the filter bank, under our names; empty where the checkpoint has them.
        speech: the folder of speech decoder and codec; None for a model without speech output.
        vision: InternViT's config.json; empty where there is none.
    """

    config_file: Path
    config: dict[str, object]
    model: dict[str, LazyTensor]
    audio: dict[str, object]
    train_yaml: Path
    statistics: dict[str, LazyTensor]
    vision: dict[str, object]
    extras: dict[str, LazyTensor]
    tokenizer: Path
    speech: Path | None
    template: str | None


def opened(source: Vita) -> Opened:
    """Open the files of a source; raises RunError for the first that is missing, unreadable or of another kind."""
    folder = Path(source.folder).expanduser()
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder; give the one with VITA's config.json and weights.")
    base = Path(source.base).expanduser() if source.base else None
    home = folder / "config.json" if (folder / "config.json").is_file() or base is None else base / "config.json"
    model, config = _checkpoint(folder, base, source.weights_prefix or ""), read_json(home)
    missing = [key for key in NEEDED if config.get(key) is None]
    if missing:
        raise RunError(f"{home} lacks {', '.join(missing)}, which nothing else states; give the config.json of a VITA.")
    audio, vision = _audio_home(source, folder, config), _vision_home(source, folder, config)
    if vision and not _any(model, names.VISION) and (vision / "model.safetensors").is_file():
        model |= {names.VISION + name: tensor for name, tensor in in_folder(vision).items()}
    settings: dict[str, object] = {}
    found: dict[str, LazyTensor] = {}
    if audio or _any(model, names.AUDIO):
        if audio is None:
            raise RunError(f"{folder} has an audio encoder but no train.yaml, which alone has its chunk sizes; give the folder"
                           " of the audio encoder with --audio.")
        settings = read_settings(audio / "train.yaml")
        model = _with_audio_weights(model, audio)
        if not _any(model, f"{names.AUDIO_ENCODER}global_cmvn.") and (audio / STATISTICS).is_file():
            found = statistics(audio / STATISTICS)
    extras = read_extras(folder)
    sizes = read_json(vision / "config.json") if vision and (vision / "config.json").is_file() else {}
    return Opened(home, config, model, settings, (audio or folder) / "train.yaml", found, sizes, extras,
                  tokenizer_in(source.tokenizer, folder, base), _speech_home(source, folder), source.template)


def _checkpoint(folder: Path, base: Path | None, prefix: str) -> dict[str, LazyTensor]:
    """Give the checkpoint's tensors: a folder's own, or a base's with projectors or an adapter laid over them."""
    if (folder / CONFIG).is_file():
        below = _adapted_base(folder, base)
        return adapted(in_folder(below, prefix=prefix), folder, tied=states_tied(folder, below))
    whole = any(folder.glob("model*.safetensors*")) or any(folder.glob("pytorch_model*.bin*"))
    alone = [name for name in ALONE if (folder / name).is_file()]
    if whole or not alone:
        if base is not None:
            raise RunError(f"base is given, but {folder} holds no projectors alone ({', '.join(ALONE)}) that would need one;"
                           " leave it out.")
        return in_folder(folder, prefix=prefix)
    if base is None:
        raise RunError(f"{folder} holds projectors alone ({', '.join(alone)}); give the folder of the language model that they"
                       " were trained on with --base.")
    if not base.is_dir():
        raise RunError(f"base is {base}, which is not a folder; give the language model's.")
    model = in_folder(base, prefix=prefix)
    for file in alone:
        found = {name: tensor for name, tensor in in_file(folder / file).items() if ALONE[file] in name}
        if not found:
            raise RunError(f"{folder / file} holds no tensor named {ALONE[file]}*; copy it again.")
        model |= {f"model.{name[name.index(ALONE[file]):]}": tensor for name, tensor in found.items()}
    return model


def _adapted_base(folder: Path, base: Path | None) -> Path:
    if base is None or not base.is_dir():
        raise RunError(f"{folder} holds a LoRA adapter, but base is {base}, which is not a folder; give the folder of the model"
                       " that it was trained on with --base.")
    return base


def _with_audio_weights(model: dict[str, LazyTensor], folder: Path) -> dict[str, LazyTensor]:
    """Add what the checkpoint lacks of encoder or projector from final.pt, which the original reads only to build them."""
    wanted = [prefix for prefix in (names.AUDIO_ENCODER, names.ADAPTER) if not _any(model, prefix)]
    path = folder / "final.pt"
    if not wanted or not path.is_file():
        return model
    found = torch_file(path)
    inner = found.get("model") if isinstance(found, Mapping) else None
    tensors = mapping(inner if isinstance(inner, Mapping) else found, path)
    return model | {names.AUDIO + name: tensor for name, tensor in tensors.items()
                    if any((names.AUDIO + name).startswith(prefix) for prefix in wanted)}


def _audio_home(source: Vita, folder: Path, config: Mapping[str, object]) -> Path | None:
    """Give the folder with a train.yaml: the given one, the one that config.json names, or the only one inside."""
    if source.audio:
        return Path(source.audio).expanduser()
    named = folder / str(config.get("mm_audio_encoder") or "?")
    if (named / "train.yaml").is_file():
        return named
    inside = sorted(path.parent for path in folder.glob("*/train.yaml"))
    if len(inside) > 1:
        raise RunError(f"{folder} has {len(inside)} folders with a train.yaml ({', '.join(path.name for path in inside)}); name"
                       " one with --audio.")
    return inside[0] if inside else None


def _vision_home(source: Vita, folder: Path, config: Mapping[str, object]) -> Path | None:
    if source.vision:
        path = Path(source.vision).expanduser()
        if not (path / "config.json").is_file():
            raise RunError(f"vision is {path}, which has no config.json; give InternViT's folder.")
        return path
    named = folder / str(config.get("mm_vision_tower") or "?")
    return named if (named / "config.json").is_file() else None


def _speech_home(source: Vita, folder: Path) -> Path | None:
    path = Path(source.speech).expanduser() if source.speech else folder / speech_files.HOME
    if source.speech and not path.is_dir():
        raise RunError(f"speech is {path}, which is not a folder; give the one that holds decoder and codec.")
    return path if path.is_dir() else None


def _any(model: Mapping[str, LazyTensor], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in model)
