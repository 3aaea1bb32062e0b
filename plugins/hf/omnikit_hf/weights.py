"""A checkpoint of transformers into a causal language model, strictly. Reads its files and names, not what the model is for.

transformers itself fills what a checkpoint lacks with random numbers; here every tensor is read by us, and what is missing,
unexpected, of another shape or quantised is one sentence.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers.configuration_utils import PreTrainedConfig
from transformers.conversion_mapping import get_checkpoint_conversion_mapping
from transformers.modeling_utils import PreTrainedModel
from transformers.models.auto.configuration_auto import AutoConfig
from transformers.models.auto.modeling_auto import AutoModelForCausalLM
from transformers.utils.hub import cached_file

from omnikit.contracts.types import LazyTensor
from omnikit.errors import ConfigError, RunError
from omnikit.ops.empty import empty_weights
from omnikit.recipe.wrappers import FIELD
from omnikit.store import adapter_config
from omnikit.store.adapters import peft_adapter
from omnikit.store.config_keys import key_of
from omnikit.store.pretrained import Report, check_report
from omnikit.store.tensors import fill, in_folder
from omnikit_hf.config import HF
from omnikit_hf.folder import HEAD

log = logging.getLogger(__name__)
# our field → transformers' name, for what a checkpoint's own config must agree with
NAMES = {"dim": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads",
         "kv_heads": "num_key_value_heads", "ffn": "intermediate_size", "vocabulary": "vocab_size",
         "tie_embeddings": "tie_word_embeddings"}
ROPE = {"rope_theta": "rope_theta", "rope_factor": "factor", "rope_low": "low_freq_factor", "rope_high": "high_freq_factor",
        "rope_original": "original_max_position_embeddings"}
NOT_UNDERSTOOD = (LookupError, TypeError, AttributeError, ArithmeticError, AssertionError, RuntimeError, StrictDataclassError)
COMPUTED = ("rotary_emb.inv_freq", "attn.bias", "attn.masked_bias")  # ends of names that old versions saved and all compute
logger = logging.getLogger(__name__)
OF_THIS_MACHINE = ("_name_or_path", "transformers_version")  # keys of a config.json that say nothing of the model


def load(config: HF) -> PreTrainedModel:
    """Give the model of the folder `weights`, or of an id in the local cache.

    Raises:
        ConfigError: there is none, it is of other sizes than ours, or a tensor is missing, unexpected or of another shape.
    """
    try:
        folder = folder_of(config)
        with _understood(folder):
            facts = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        _compare(config, facts)
        return _filled(config, folder, facts)
    except RunError as error:
        raise ConfigError(f"backbone.weights: {error}") from error
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(f"backbone.weights {config.weights!r} cannot be loaded as a causal language model: it must be"
                          f" a folder with config.json and safetensors, or a model id in the local cache"
                          f" ({' '.join(str(error).split())[:200]}).") from error


@contextmanager
def _understood(folder: Path) -> Iterator[None]:
    """Turn what transformers raises for numbers that it cannot build from into one sentence; OSError and ValueError pass."""
    try:
        yield
    except NOT_UNDERSTOOD as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{folder / 'config.json'} describes nothing that transformers can build ({type(error).__name__}:"
                          f" {reason}); copy the file again.") from error


def model_of(config: HF, facts: PreTrainedConfig) -> PreTrainedModel:
    """Give the causal language model of a configuration of transformers, with fresh weights."""
    return cast(PreTrainedModel, AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]  # transformers has none here
        facts, dtype=getattr(torch, config.dtype), attn_implementation=config.attention, trust_remote_code=False))


def settings_of(model: PreTrainedModel) -> dict[str, object]:
    """Give what a checkpoint's config.json holds, so that the model can be built again without it."""
    found: dict[str, object] = json.loads(model.config.to_json_string(use_diff=True))
    return {key: value for key, value in found.items() if key not in OF_THIS_MACHINE}


def folder_of(config: HF) -> Path:
    """Give the folder that a checkpoint lies in; raises OSError if there is none."""
    return Path(str(cached_file(str(Path(str(config.weights)).expanduser()) if Path(str(config.weights)).expanduser().is_dir()
                                else str(config.weights), "config.json", local_files_only=True))).parent


def tensors_of(folder: Path, model: PreTrainedModel, prefix: str = "") -> dict[str, LazyTensor]:
    """Give the tensors of a checkpoint by the model's names, without those that every version computes."""
    found = in_folder(folder, "give the folder of a checkpoint with config.json and safetensors", prefix)
    ignored = tuple(cast(Iterable[str], model._keys_to_ignore_on_load_unexpected or ()))
    found = {name: tensor for name, tensor in found.items()
             if not name.endswith(COMPUTED) and not any(re.search(pattern, name) for pattern in ignored)}
    base, own = f"{model.base_model_prefix}.", model.state_dict()
    if not any(name.startswith(base) for name in found):  # of the base model alone, as GPT-2 is published
        found = {f"{base}{name}" if f"{base}{name}" in own else name: tensor for name, tensor in found.items()}
    return found


def with_adapter(config: HF, found: dict[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Give a checkpoint's tensors with those of the adapter added, where one is named; raises RunError if it does not fit."""
    if not config.adapter:
        return found
    folder = Path(config.adapter).expanduser()
    facts = adapter_config.read(folder)
    if facts.is_of_another_base(Path(str(config.weights)).expanduser()):
        log.warning("%s was trained on %s, and is added to %s.", folder, facts.base, config.weights)
    return peft_adapter(folder).merged(found, tied=config.tie_embeddings)


def _filled(config: HF, folder: Path, facts: PreTrainedConfig) -> PreTrainedModel:
    """Build the model without weights and put those of the files in, or let transformers do so where it must convert them."""
    if facts.tie_word_embeddings and not config.tie_embeddings:
        logger.warning("%s states tie_word_embeddings, but the output matrix is one of its own: both are read, as transformers"
                       " does.", folder / "config.json")
        facts.tie_word_embeddings = False
    with empty_weights(), _understood(folder):
        model = model_of(config, facts)
    found = with_adapter(config, tensors_of(folder, model, config.weights_prefix))
    if model.state_dict().keys() - found.keys() and _is_converted(facts):
        if config.adapter:
            raise RunError(f"adapter is {config.adapter}, but transformers stores the experts of {folder} otherwise than the"
                           " model has them, so that it cannot be added; merge the adapter with PEFT and give the"
                           " whole checkpoint.")
        return _converted(config, folder, model, found)
    fill(model, found, str(folder), f"a {config.model_type} of these sizes", _otherwise(config, model, found),
         field=f"backbone.{FIELD}")
    return model


def _otherwise(config: HF, model: PreTrainedModel, found: Mapping[str, LazyTensor]) -> str:
    """Give what to do where tensors do not fit and no prefix explains it."""
    own = model.state_dict()
    misshapen = [name for name in own if name in found and found[name].shape != own[name].shape]
    unmatched = [name for name in {**own, **found} if (name in own) != (name in found)]
    key = key_of(misshapen, sizes=True) if misshapen else key_of(unmatched, sizes=False)
    if key:
        return f"{key} in config.json decides on that: copy the config.json of these weights"
    untied = config.tie_embeddings and HEAD in found
    return "set backbone.tie_embeddings=false to read both, as transformers does" if untied else "give a complete checkpoint"


def _is_converted(facts: PreTrainedConfig) -> bool:
    """Whether transformers stores the tensors of an architecture otherwise than the model has them: experts one by one."""
    return bool(get_checkpoint_conversion_mapping(facts.model_type))  # type: ignore[no-untyped-call]  # transformers has none here


def _converted(config: HF, folder: Path, empty: PreTrainedModel, found: Mapping[str, LazyTensor]) -> PreTrainedModel:
    """Let transformers convert and fill, and refuse what it would have drawn or left out."""
    state = {name: tensor.read() for name, tensor in found.items()}
    loaded: object = type(empty).from_pretrained(
        None, config=empty.config, state_dict=state, dtype=getattr(torch, config.dtype),
        attn_implementation=config.attention, output_loading_info=True, ignore_mismatched_sizes=True)
    model, report = cast(tuple[PreTrainedModel, Report], loaded)  # with output_loading_info
    check_report(report, model.state_dict(), found, f"The weights in {folder} do not fit a {config.model_type} of these sizes:"
                                                    " {}; give a complete checkpoint")
    return model


def _compare(config: HF, facts: PreTrainedConfig) -> None:
    """Refuse a checkpoint whose sizes are not the ones the plan was made with, naming all of them."""
    pairs = {ours: getattr(facts, theirs, None) for ours, theirs in {**NAMES, "model_type": "model_type"}.items()}
    pairs |= {"rms_eps": getattr(facts, "rms_norm_eps", None)} | _rope(facts)
    wrong = [f"backbone.{ours} is {getattr(config, ours)}, but {config.weights} has {found}; set backbone.{ours}={found}."
             for ours, found in pairs.items() if found is not None and found != getattr(config, ours)
             and (ours, found) != ("tie_embeddings", True)]  # where its head is not the table, both are read
    wrong += [f"{config.weights} has {ours} {found}, which is not a finite number; copy its config.json again."
              for ours, found in pairs.items() if isinstance(found, float) and not math.isfinite(found)]
    reach = getattr(facts, "max_position_embeddings", None)
    if isinstance(reach, int) and config.context > reach:
        wrong.append(f"backbone.context is {config.context}, but {config.weights} has {reach} positions; set"
                     f" backbone.context={reach} or less.")
    if wrong:
        raise ConfigError(*wrong)


def _rope(facts: PreTrainedConfig) -> dict[str, object]:
    """Give our field → value of the rotary positions, where they are of a kind that our fields can hold."""
    found = getattr(facts, "rope_parameters", None)
    if not isinstance(found, dict) or found.get("rope_type", "default") not in ("default", "llama3"):
        return {}
    scaled = found.get("rope_type") == "llama3"
    return {ours: found.get(theirs) for ours, theirs in ROPE.items() if scaled or ours == "rope_theta"}
