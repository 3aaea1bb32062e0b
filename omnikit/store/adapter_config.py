"""adapter_config.json of PEFT: which adapters can be added to plain weights, and at which scale. Light: reads no tensor.

A key that is not named here may change what an adapter computes: it is refused by name unless it is off.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from omnikit.errors import RunError
from omnikit.recipe.model_folder import read_object

CONFIG = "adapter_config.json"
PLAIN_KEYS = frozenset({
    "peft_type", "task_type", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "peft_version", "r",
    "target_modules", "exclude_modules", "lora_alpha", "lora_dropout", "fan_in_fan_out", "bias", "use_rslora", "use_dora",
    "modules_to_save", "init_lora_weights", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern",
    "megatron_core", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size", "runtime_config",
    "ensure_weight_tying"})
"""Keys that are read here, that choose which layers have adapters (their tensors show that), or that matter in training."""

PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""init_lora_weights that leave the base as it is; the others (pissa, olora, corda, loftq, …) subtract from it first."""

MERGE = "merge the adapter with PEFT and give the whole checkpoint"
_BIASES = ("none", "all", "lora_only")
_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True)
class AdapterConfig:
    """The settings of an adapter that PEFT wrote, checked.

    Args:
        path: of the file.
        base: what it was trained on, as a path or an id; "" where nothing states it.
        dora: its layers have magnitudes.
        transposed: PEFT's fan_in_fan_out: layers hold their matrices as [in, out].
        saved: modules that the adapter holds whole.
    """

    path: Path
    alpha: float
    rank: int
    alphas: Mapping[str, float]
    ranks: Mapping[str, int]
    rslora: bool = False
    dora: bool = False
    transposed: bool = False
    base: str = ""
    saved: tuple[str, ...] = ()

    def is_of_another_base(self, folder: Path) -> bool:
        """Whether it names a base of another name than a folder, which need not be another one: folders are renamed."""
        name = self.base.rstrip("/").rpartition("/")[2].lower()
        return name not in str(folder).lower()

    def scale(self, layer: str, rank: int) -> float:
        """Give what the product of a layer's matrices is multiplied by; `rank` is that of its tensors.

        Raises:
            RunError: the settings state another rank.
        """
        stated = _matched(self.ranks, layer, self.rank)
        if stated != rank:
            raise RunError(f"{self.path} gives {layer} the rank {stated}, but its tensors have {rank}; copy the adapter again.")
        return _matched(self.alphas, layer, self.alpha) / (math.sqrt(rank) if self.rslora else rank)


def read(folder: Path) -> AdapterConfig:
    """Give the settings of an adapter's folder.

    Raises:
        RunError: the file is missing, or describes an adapter that cannot be added to plain weights.
        ConfigError: it is not a mapping in JSON.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise RunError(f"{path} is missing; give the folder that holds it.")
    values = read_object(path)
    _check_kind(values, path)
    return AdapterConfig(
        path, _alpha(values.get("lora_alpha"), "lora_alpha", path), _rank(values.get("r", 8), "r", path),
        {key: _alpha(value, f"alpha_pattern[{key!r}]", path) for key, value in _patterns(values, "alpha_pattern", path)},
        {key: _rank(value, f"rank_pattern[{key!r}]", path) for key, value in _patterns(values, "rank_pattern", path)},
        rslora=_flag(values, "use_rslora", path), dora=_flag(values, "use_dora", path),
        transposed=_flag(values, "fan_in_fan_out", path), base=str(values.get("base_model_name_or_path") or ""),
        saved=_names(values, "modules_to_save", path))


def states_tied(*folders: Path) -> bool:
    """Whether the first config.json of some folders states that the output matrix is the embedding table."""
    found = next((folder / "config.json" for folder in folders if (folder / "config.json").is_file()), None)
    return found is not None and read_object(found).get("tie_word_embeddings") is True


def _check_kind(values: Mapping[str, object], path: Path) -> None:
    """Refuse what is not LoRA as this module merges it."""
    kind = values.get("peft_type", "LORA")
    if kind != "LORA":
        raise RunError(f"{path} has peft_type {kind}, but only LORA is merged; {MERGE}.")
    start = values.get("init_lora_weights", True)
    if not any(start is plain or (isinstance(start, str) and start == plain) for plain in PLAIN_STARTS):
        raise RunError(f"{path} has init_lora_weights {start!r}, which changed the base before the training; {MERGE}, or save"
                       " it again with path_initial_model_for_weight_conversion.")
    off: tuple[object, ...] = (None, False, [], {}, "")
    unknown = sorted(key for key, value in values.items() if key not in PLAIN_KEYS and value not in off)
    if unknown:
        raise RunError(f"{path} has {unknown[0]} {str(values[unknown[0]])[:40]!r}, and an adapter with it is not merged here;"
                       f" {MERGE}.")
    if values.get("bias", "none") not in _BIASES:
        raise RunError(f"{path} has bias {values['bias']!r}, but it must be one of {', '.join(_BIASES)}; copy the adapter"
                       " again.")


def _alpha(value: object, key: str, path: Path) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value <= 0:
        raise RunError(f"{path} has {key} {value!r}, but it must be a finite number above 0; copy the adapter again.")
    return float(value)


def _rank(value: object, key: str, path: Path) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise RunError(f"{path} has {key} {value!r}, but it must be a whole number of at least 1; copy the adapter again.")
    return value


def _flag(values: Mapping[str, object], key: str, path: Path) -> bool:
    value = values.get(key)
    if value is not None and not isinstance(value, bool):
        raise RunError(f"{path} has {key} {value!r}, but it must be true or false; copy the adapter again.")
    return bool(value)


def _patterns(values: Mapping[str, object], key: str, path: Path) -> list[tuple[str, object]]:
    found = values.get(key) or {}
    if not isinstance(found, dict):
        raise RunError(f"{path} has {key} {str(found)[:40]!r}, but it must be a mapping; copy the adapter again.")
    for pattern in found:
        try:
            re.compile(pattern)
        except re.error as error:
            raise RunError(f"{path} has the pattern {pattern!r} in {key}, which is not a regular expression ({error}); copy the"
                           " adapter again.") from error
    return list(found.items())


def _names(values: Mapping[str, object], key: str, path: Path) -> tuple[str, ...]:
    found = values.get(key) or []
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise RunError(f"{path} has {key} {str(found)[:40]!r}, but it must be a list of names; copy the adapter again.")
    return tuple(found)


def _matched(patterns: Mapping[str, _Number], layer: str, default: _Number) -> _Number:
    """Give the value of a layer as PEFT finds it: patterns match the ends of names, and the first one holds."""
    return next((value for pattern, value in patterns.items() if re.fullmatch(rf"(.*\.)?({pattern})", layer)), default)
