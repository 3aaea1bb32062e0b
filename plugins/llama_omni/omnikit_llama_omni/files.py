"""LLaMA-Omni's files opened: the checkpoint in each of its published forms, Whisper and the vocoder. Reads no tensor yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError
from omnikit.store.adapter_config import states_tied
from omnikit.store.adapters import CONFIG, adapted
from omnikit.store.layouts import read_extras, tokenizer_in
from omnikit.store.tensors import in_file, in_folder, mapping, read_json, torch_file
from omnikit_llama_omni import names
from omnikit_llama_omni.layout import VOCODER, LlamaOmni
from omnikit_llama_omni.vocoder import stored

NEEDED = (
    "model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "speech_encoder_ds_rate")
_DIMS = ("n_mels", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer")


@dataclass(frozen=True)
class Encoder:
    """Whisper's encoder: openai's sizes, tensors by our names, those left out, and a name's form in its file."""

    source: str
    sizes: dict[str, int]
    tensors: dict[str, LazyTensor]
    ignored: list[LazyTensor] = field(default_factory=list)
    original: Callable[[str], str] = names.to_openai


@dataclass(frozen=True)
class Opened:
    """Everything that a source names; `model` is the checkpoint with adapters merged, by its own names."""

    folder: Path
    config_file: Path
    config: dict[str, object]
    model: dict[str, LazyTensor]
    encoder: Encoder
    vocoder: dict[str, LazyTensor] | None
    vocoder_config: Mapping[str, object]
    vocoder_source: str
    extras: dict[str, LazyTensor]
    tokenizer: Path
    template: str | None


def opened(source: LlamaOmni) -> Opened:
    """Open the files of a source; raises RunError for the first that is missing, unreadable or of another kind."""
    folder = Path(source.folder).expanduser()
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder; give the one with LLaMA-Omni's config.json and weights.")
    base = Path(source.base).expanduser() if source.base else None
    at = folder if (folder / "config.json").is_file() or base is None else base
    config, model = read_json(at / "config.json"), _checkpoint(folder, base, source.weights_prefix or "")
    missing = [key for key in NEEDED if config.get(key) is None]
    if missing:
        raise RunError(f"{at / 'config.json'} lacks {', '.join(missing)}, which nothing else states; give the config.json of a"
                       " LLaMA-Omni.")
    vocoder = _vocoder_path(source, folder)
    beside = read_json(vocoder.parent / "config.json") if vocoder and (vocoder.parent / "config.json").is_file() else {}
    extras = read_extras(folder)
    return Opened(folder, at / "config.json", config, model, _encoder(source, folder, config, model),
                  stored(vocoder) if vocoder else None,
                  beside if "upsample_rates" in beside else {},
                  str(vocoder) if vocoder else f"{folder}, which has no {VOCODER} (give the vocoder's file with --vocoder)",
                  extras, tokenizer_in(source.tokenizer, folder, base), source.template)


def _checkpoint(folder: Path, base: Path | None, prefix: str) -> dict[str, LazyTensor]:
    """Give the checkpoint's tensors: a folder's own, or a base's with a projector or an adapter laid over them."""
    adapter, projector = folder / CONFIG, folder / "speech_projector.bin"
    whole = any(folder.glob("model*.safetensors*")) or any(folder.glob("pytorch_model*.bin*"))
    if base is not None and not base.is_dir():
        raise RunError(f"base is {base}, which is not a folder; give the language model's.")
    if not adapter.is_file() and (whole or not projector.is_file()):
        if base is not None:
            raise RunError(f"base is given, but {folder} holds neither an adapter nor a projector alone that would need one;"
                           " leave it out.")
        return in_folder(folder, prefix=prefix)
    if base is None:
        what = "a LoRA adapter" if adapter.is_file() else "a projector alone"
        raise RunError(f"{folder} holds {what}; give the folder of the language model that it was trained on with --base.")
    if adapter.is_file():
        return adapted(in_folder(base, prefix=prefix), folder, tied=states_tied(folder, base))
    return in_folder(base, prefix=prefix) | {f"model.{name[name.index('speech_projector'):]}": tensor for name, tensor in
                              in_file(projector).items() if "speech_projector" in name}


def _encoder(source: LlamaOmni, folder: Path, config: Mapping[str, object], model: Mapping[str, LazyTensor]) -> Encoder:
    if source.whisper:
        path = Path(source.whisper).expanduser()
        return _transformers_encoder(path) if path.is_dir() else _openai_encoder(path)
    named = folder / str(config.get("speech_encoder") or "?")
    if named.is_file():
        return _openai_encoder(named)
    inside = {name.removeprefix(names.ENCODER): tensor for name, tensor in model.items() if name.startswith(names.ENCODER)}
    if not inside:
        raise RunError(f"{folder} has no Whisper: neither {named} nor tensors {names.ENCODER}*; give openai's file or a"
                       " folder of transformers with --whisper.")
    return Encoder(f"{folder}", _sizes(inside, folder), {names.from_openai(name): tensor for name, tensor in inside.items()},
                   [], lambda name: names.ENCODER + names.to_openai(name))


def _openai_encoder(path: Path) -> Encoder:
    found = torch_file(path)
    dims = found.get("dims") if isinstance(found, Mapping) else None
    if not (isinstance(found, Mapping) and isinstance(dims, Mapping) and all(isinstance(dims.get(k), int) for k in _DIMS)
            and "model_state_dict" in found):
        raise RunError(f"{path} is not a Whisper file of openai: it lacks dims ({', '.join(_DIMS)}) or model_state_dict; give"
                       " such a file, or a folder of transformers.")
    tensors = mapping(found["model_state_dict"], path)
    own = {names.from_openai(name.removeprefix("encoder.")): tensor for name, tensor in tensors.items()
           if name.startswith("encoder.")}
    return Encoder(str(path), {key: int(dims[key]) for key in _DIMS}, own,
                   [tensor for name, tensor in tensors.items() if not name.startswith("encoder.")],
                   lambda name: f"encoder.{names.to_openai(name)}")


def _transformers_encoder(folder: Path) -> Encoder:
    config, tensors = read_json(folder / "config.json"), in_folder(folder)
    keys = ("num_mel_bins", "max_source_positions", "d_model", "encoder_attention_heads", "encoder_layers")
    if not all(isinstance(config.get(key), int) for key in keys):
        raise RunError(f"{folder / 'config.json'} is not of a Whisper: it lacks one of {', '.join(keys)}; give another folder"
                       " with --whisper.")
    prefix = "model.encoder." if any(name.startswith("model.encoder.") for name in tensors) else "encoder."
    sizes = {ours: int(str(config[theirs])) for ours, theirs in zip(_DIMS, keys, strict=True)}
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return Encoder(str(folder), sizes, own, [tensor for name, tensor in tensors.items() if not name.startswith(prefix)],
                   lambda name: prefix + name)


def _sizes(inside: Mapping[str, LazyTensor], folder: Path) -> dict[str, int]:
    """Read openai's sizes off the shapes; heads have width 64 in every published Whisper."""
    try:
        dim, mels, _ = inside["conv1.weight"].shape
        positions = inside["positional_embedding"].shape[0]
    except (KeyError, ValueError) as error:
        raise RunError(f"{folder}: the encoder inside the checkpoint lacks {names.ENCODER}conv1.weight or"
                       f" {names.ENCODER}positional_embedding; give Whisper's own file with --whisper.") from error
    layers = len({name.split(".")[1] for name in inside if name.startswith("blocks.")})
    return dict(zip(_DIMS, (mels, positions, dim, max(1, dim // 64), layers), strict=True))


def _vocoder_path(source: LlamaOmni, folder: Path) -> Path | None:
    if source.vocoder:
        return Path(source.vocoder).expanduser()
    return folder / VOCODER if (folder / VOCODER).is_file() else None
