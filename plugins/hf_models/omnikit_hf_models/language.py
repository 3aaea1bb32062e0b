"""A text_config of transformers as the backbone `hf`, and back. What no field of `hf` holds goes into its `config_keys`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from transformers.configuration_utils import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

NAMES = {"dim": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads",
         "kv_heads": "num_key_value_heads", "ffn": "intermediate_size", "vocabulary": "vocab_size",
         "rms_eps": "rms_norm_eps", "context": "max_position_embeddings", "head_dim": "head_dim"}
EXPERTS = {"experts": "num_local_experts", "experts_per_token": "num_experts_per_tok"}
ROPE = {"rope_factor": "factor", "rope_low": "low_freq_factor", "rope_high": "high_freq_factor",
        "rope_original": "original_max_position_embeddings"}
ELSEWHERE = ("architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path", "bos_token_id", "eos_token_id",
             "pad_token_id", "use_cache", "tie_word_embeddings")
"""Keys that the tokenizer, the files' dtype or the tensors state, or that change no number."""


@dataclass(frozen=True)
class Language:
    """A kind of language model inside the classes of transformers.

    Args:
        backbone: takes its configuration, and as `tied` whether its output matrix is the embedding table; gives a backbone's
            fields.
        text_config: takes these fields; gives its configuration as transformers writes it.
        table: how the name of the embedding table ends, in the backbone.
    """

    backbone: Callable[..., dict[str, object]]
    text_config: Callable[[Mapping[str, object]], dict[str, object]]
    table: str


def backbone(facts: PreTrainedConfig, *, tied: bool) -> dict[str, object]:
    """Give the fields of `hf` that a language model's configuration states.

    Args:
        tied: whether the output matrix is the embedding table.
    """
    found: dict[str, object] = {ours: value for ours, theirs in (NAMES | EXPERTS).items()
                                if (value := getattr(facts, theirs, None)) is not None}
    found.setdefault("kv_heads", found["heads"])
    found.setdefault("ffn", getattr(facts, "ffn_dim", None) or 4 * int(str(found["dim"])))
    if found.get("head_dim") == int(str(found["dim"])) // int(str(found["heads"])):
        del found["head_dim"]
    found |= {"model_type": facts.model_type, "tie_embeddings": tied, **_rope(facts)}
    keys = _beyond(facts, found)
    return {"use": "hf", **found, **({"config_keys": keys} if keys else {})}


def text_config(fields: Mapping[str, object]) -> dict[str, object]:
    """Give the text_config of a backbone `hf` whose fields these are, as transformers writes it."""
    config = CONFIG_MAPPING[str(fields["model_type"])].from_dict(_arguments(fields))
    found: dict[str, object] = config.to_dict()
    common = PreTrainedConfig().to_dict()
    return {key: value for key, value in found.items() if key not in ELSEWHERE and common.get(key, found) != value}


def _rope(facts: PreTrainedConfig) -> dict[str, object]:
    """Give the rotary positions where they are of a kind that fields of `hf` hold."""
    found = getattr(facts, "rope_parameters", None)
    if not isinstance(found, dict) or found.get("rope_type", "default") not in ("default", "llama3"):
        return {}
    theta: dict[str, object] = {"rope_theta": float(found.get("rope_theta", 10000.0))}
    if found.get("rope_type", "default") == "default":
        return theta
    return theta | {ours: int(found[theirs]) if ours == "rope_original" else float(found[theirs])
                    for ours, theirs in ROPE.items()}


def _beyond(facts: PreTrainedConfig, fields: Mapping[str, object]) -> dict[str, object]:
    """Give the keys whose values the fields alone would not give."""
    stated: dict[str, object] = facts.to_dict()
    given: dict[str, object] = CONFIG_MAPPING[facts.model_type].from_dict(_arguments(fields)).to_dict()
    return {key: value for key, value in stated.items() if key not in ELSEWHERE and given.get(key) != value}


def _arguments(fields: Mapping[str, object]) -> dict[str, object]:
    """Give transformers' names for fields of `hf`, as the backbone itself gives them."""
    rope: dict[str, object] = {"rope_type": "default", "rope_theta": fields.get("rope_theta", 10000.0)}
    if fields.get("rope_factor") is not None:
        rope |= {"rope_type": "llama3"} | {theirs: fields[ours] for ours, theirs in ROPE.items()}
    sizes = {theirs: fields[ours] for ours, theirs in NAMES.items() if fields.get(ours) is not None}
    if fields.get("experts"):
        sizes |= {theirs: fields[ours] for ours, theirs in EXPERTS.items()}
    keys = fields.get("config_keys")
    return sizes | {"rope_parameters": rope, "tie_word_embeddings": fields["tie_embeddings"]} | (
        dict(keys) if isinstance(keys, Mapping) else {})


CAUSAL = Language(backbone, text_config, "embed_tokens.weight")
