"""The audio encoder's own folder: its train.yaml as settings of ours, and the statistics of its filter bank."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import sqrt
from pathlib import Path

import torch

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError
from omnikit.store.tensors import in_memory

FLOOR = 1e-20  # of a variance, as in VITA's encoder
LAYERS = "subsampling-transformer"
POSITIONS = {"rel-enc": "relative", "abs-enc": "absolute_scaled"}  # pos-enc-class → positions of mel_cnn


def read_settings(path: Path) -> dict[str, object]:
    """Give the settings of a train.yaml, flat: keys of its sections by their own names with underscores; no code is run."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # that of 1.0 has 364 kB
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), loader)
    except OSError as error:
        raise RunError(f"{path} is missing; give the folder of the audio encoder with --audio.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise RunError(f"{path} is not plain YAML ({' '.join(str(error).split())[:150]}); copy it again.") from error
    if not isinstance(found, Mapping):
        raise RunError(f"{path} is not a mapping of keys to values; copy it again.")
    inner = _section(found, "encoder_conf")
    flat = {**_section(inner, "overview_conf"), **_section(_section(inner, "para_conf"), "subsampling"),
            **_section(_section(inner, "para_conf"), "transformer"), **_section(found, "model_conf"),
            **_section(_section(found, "dataset_conf"), "fbank_conf"),
            **_section(_section(found, "dataset_conf"), "resample_conf")}
    settings = {str(key).replace("-", "_"): value for key, value in flat.items()}
    _check(settings, path)
    return settings


def encoder(settings: Mapping[str, object]) -> dict[str, object]:
    """Give what shapes do not say of the encoder: chunks and the filter bank.

    With dynamic chunks the original draws them while it answers, too; ours draws while training only and answers with the whole
    clip.
    """
    dynamic = bool(settings.get("transformer_dynamic_chunks", True))  # the original's default
    chunk, left = (_whole(settings, f"transformer_{key}", -1) for key in ("chunk_size", "left_chunks"))
    static = chunk > 0 and not dynamic
    positions = POSITIONS[str(settings.get("transformer_pos_enc_class", "rel-enc"))]
    return {"positions": positions, "chunk_size": chunk if static else None,
            "left_chunks": left if static and left >= 0 else None,
            "dynamic": "training" if dynamic else "never", "dropout": float(str(settings.get("transformer_dropout_rate", 0.1))),
            "frame_length_ms": _whole(settings, "frame_length", 25), "frame_shift_ms": _whole(settings, "frame_shift", 10),
            "dither": float(str(settings.get("dither", 0.0)))}


def compare(settings: Mapping[str, object], path: Path, found: Mapping[str, object]) -> None:
    """Raise RunError where a setting is not what the tensors have; the original's build would not take them."""
    for key, value in found.items():
        if settings.get(key) is not None and settings[key] != value:
            raise RunError(f"{path} has {key.replace('_', '-')} {settings[key]!r}, but the checkpoint's tensors have {value};"
                           " give the train.yaml of this checkpoint.")


def check_prompts(settings: Mapping[str, object], path: Path, count: int) -> None:
    """Raise RunError where the learned prompts that train.yaml states are not those of the checkpoint, `count`."""
    asked = settings.get("audio_prompt_finetune")
    number = settings.get("audio_prompt_num") if asked else 0
    if asked is not None and (number or 0) != count:
        raise RunError(f"{path} has audio_prompt_finetune {asked!r} and audio_prompt_num {settings.get('audio_prompt_num')!r},"
                       f" but the checkpoint has {count} learned prompts; give the train.yaml of this checkpoint.")


def adapter(settings: Mapping[str, object], path: Path) -> dict[str, object]:
    """Give what shapes do not say of the projector: its norm and its activation."""
    norm, activation = str(settings.get("norm", "layer")), str(settings.get("activation_func", "gelu"))
    if norm not in ("layer", "batch") or activation not in ("gelu", "relu"):
        raise RunError(f"{path} has norm {norm!r} and activation_func {activation!r}, but layout vita has layer or batch, and"
                       " gelu or relu.")
    return {"norm": norm, "activation": activation}


def statistics(path: Path) -> dict[str, LazyTensor]:
    """Give mean and inverse deviation of a global_cmvn: JSON or Kaldi's text; raises RunError if it is neither."""
    content = path.read_bytes()
    if b"\0B" in content[:200]:
        raise RunError(f"{path} is a binary file of Kaldi; write it as text with `copy-matrix --binary=false`.")
    try:
        sums, squares, frames = _numbers(content.decode("utf-8"))
        means = [value / frames for value in sums]
        variances = [value / frames - mean * mean for value, mean in zip(squares, means, strict=True)]
    except (ValueError, LookupError, TypeError, ZeroDivisionError) as error:
        raise RunError(f"{path} holds no statistics: neither JSON with mean_stat, var_stat and frame_num nor Kaldi's text; copy"
                       " it again.") from error
    found = {"mean": means, "istd": [1.0 / sqrt(max(value, FLOOR)) for value in variances]}
    return {f"normalisation.{name}": in_memory(f"{path.name} {name}", path, torch.tensor(values))
            for name, values in found.items()}


def _numbers(text: str) -> tuple[list[float], list[float], float]:
    """Give sums, sums of squares and frames."""
    if text.lstrip().startswith("{"):
        found = json.loads(text)
        return [float(v) for v in found["mean_stat"]], [float(v) for v in found["var_stat"]], float(found["frame_num"])
    words = text.split()
    if words[0] != "[" or words[-1] != "]" or len(words) % 2 or len(words) < 6:
        raise ValueError("no matrix of two rows in [ ]")
    values = [float(word) for word in words[1:-1]]
    width = len(values) // 2
    return values[:width - 1], values[width:-1], values[width - 1]


def _section(found: Mapping[object, object], key: str) -> Mapping[object, object]:
    section = found.get(key)
    return section if isinstance(section, Mapping) else {}


def _whole(settings: Mapping[str, object], key: str, default: int) -> int:
    value = settings.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise RunError(f"train.yaml has {key} {value!r}, but it must be a whole number; copy it again.")
    return value


def _check(settings: Mapping[str, object], path: Path) -> None:
    """Refuse an encoder of another build than the published one."""
    known = {"encoder_layer_config": LAYERS, "transformer_input_layer": "linear",
             "transformer_normalize_before": True, "transformer_positionwise_layer_type": "linear", "subsampling_rate": 4,
             "adpter_type": "subsampling", "resample_rate": 16000,
             "add_audio_bos_eos": False}
    for key, value in known.items():
        if settings.get(key, value) != value:
            raise RunError(f"{path} has {key.replace('_', '-')} {settings[key]!r}, but layout vita has {value!r} only.")
    kind = settings.get("transformer_pos_enc_class", "rel-enc")
    if kind not in POSITIONS:
        raise RunError(f"{path} has transformer-pos-enc-class {kind!r}, but layout vita has {' and '.join(POSITIONS)} only.")
