"""The numbers of a causal language model's config.json in range, whoever builds it from them. Light.

What is wrong is a ConfigError of one sentence with the file and the key. A key that is absent or null is left to whoever has
its default.
"""

import math
from collections.abc import Mapping

from omnikit.errors import ConfigError
from omnikit.recipe.model_config import Values

COUNTS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size", "vocab_size",
          "max_position_embeddings", "head_dim", "sliding_window", "num_local_experts", "num_experts_per_tok", "n_embd",
          "n_layer", "n_head", "n_positions", "n_inner")
NUMBERS = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "rope_theta", "initializer_range")
FLAGS = ("tie_word_embeddings", "use_sliding_window")
ROPE_NEEDS: dict[str, tuple[str, ...]] = {
    "default": (), "linear": ("factor",), "dynamic": ("factor",), "yarn": ("factor",), "proportional": (),
    "longrope": ("short_factor", "long_factor"),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")}
"""Kinds of rotary positions, as transformers 5.23 has them → keys that a kind cannot do without."""

ROPE_NUMBERS = ("rope_theta", "factor", "low_freq_factor", "high_freq_factor", "attention_factor", "beta_fast", "beta_slow",
                "original_max_position_embeddings", "partial_rotary_factor")
ROPE_LISTS = ("short_factor", "long_factor")
_AGAIN = "copy the file again"


def check_causal(config: Values, where: str) -> None:
    """Raise ConfigError for the first number that is out of range, of another type, or contradicts another one.

    Args:
        where: the file.
    """
    for key in COUNTS:
        _whole(config.get(key), key, where)
    for key in NUMBERS:
        positive_number(config.get(key), key, where)
    for key in FLAGS:
        if config.get(key) is not None and not isinstance(config[key], bool):
            raise ConfigError(f"{where} has {key} {config[key]!r}, but it must be true or false; {_AGAIN}.")
    for key, value in config.items():
        if key.endswith(("dropout", "_pdrop")) and not _is_fraction(value):
            raise ConfigError(f"{where} has {key} {value!r}, but it must be a number from 0 to 1; {_AGAIN}.")
    _check_heads(config, where)
    _check_layer_types(config, where)
    check_ids(config, where, config.get("vocab_size"))
    _check_rope(config, where)


def check_plain(config: Values, where: str, activation: str = "silu") -> None:
    """Raise ConfigError for what a plain Llama, Qwen2, Mistral or Mixtral has not: its keys would be read by nobody.

    Args:
        activation: the only one.
    """
    check_causal(config, where)
    kinds = config.get("layer_types")
    others = {"hidden_act": activation, "use_sliding_window": False, "attention_bias": False, "mlp_bias": False}
    for key, only in others.items():
        if config.get(key) not in (None, only):
            raise ConfigError(f"{where} has {key} {config[key]!r}, but language models are imported with {only!r} alone; give"
                              " another checkpoint.")
    window, context = config.get("sliding_window"), config.get("max_position_embeddings")
    shorter = isinstance(window, int) and not (isinstance(context, int) and window >= context)
    if shorter and "qwen" not in str(config.get("model_type")).lower():  # whose flag was looked at above
        raise ConfigError(f"{where} has sliding_window {window}, but language models are imported without one; give another"
                          " checkpoint.")
    if isinstance(kinds, list) and set(kinds) - {"full_attention"}:
        raise ConfigError(f"{where} has layer_types with {min(set(kinds) - {'full_attention'})!r}, but language models are"
                          " imported with 'full_attention' alone; give another checkpoint.")


def check_ids(config: Values, where: str, vocabulary: object) -> None:
    """Raise ConfigError where a token of a config.json or generation_config.json is outside the embedding table."""
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = config.get(key)
        for one in value if isinstance(value, list) else [value]:
            if one is None or (one == -1 and not isinstance(one, float)):  # -1: none, as the first Llama has it
                continue
            if not isinstance(one, int) or isinstance(one, bool):
                raise ConfigError(f"{where} has {key} {_short(value)}, but it must be the id of a token, or a list of ids;"
                                  f" {_AGAIN}.")
            if not 0 <= one < (vocabulary if isinstance(vocabulary, int) else math.inf):
                raise ConfigError(f"{where} has {key} {one!r}, but ids are from 0 to {vocabulary} - 1; {_AGAIN}.")


def positive_number(value: object, key: str, where: str) -> None:
    """Raise ConfigError unless a value is a finite number above 0, or None."""
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0 or not math.isfinite(value):
        raise ConfigError(f"{where} has {key} {_short(value)}, but it must be a finite number above 0; {_AGAIN}.")


def _whole(value: object, key: str, where: str) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ConfigError(f"{where} has {key} {_short(value)}, but it must be a whole number of at least 1; {_AGAIN}.")


def _is_fraction(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1)


def _check_heads(config: Values, where: str) -> None:
    dim, heads, head = (config.get(key) for key in ("hidden_size", "num_attention_heads", "head_dim"))
    if isinstance(head, int):
        if head % 2:
            raise ConfigError(f"{where} has head_dim {head}, but it must be even for rotary positions; {_AGAIN}.")
    elif isinstance(dim, int) and isinstance(heads, int) and dim % heads:
        raise ConfigError(f"{where} has num_attention_heads {heads}, but it must divide hidden_size, which is {dim}; {_AGAIN}.")
    shared = config.get("num_key_value_heads")
    if isinstance(shared, int) and isinstance(heads, int) and heads % shared:
        raise ConfigError(f"{where} has num_key_value_heads {shared}, but it must divide num_attention_heads, which is {heads};"
                          f" {_AGAIN}.")


def _check_layer_types(config: Values, where: str) -> None:
    kinds, layers = config.get("layer_types"), config.get("num_hidden_layers")
    if kinds is None:
        return
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        raise ConfigError(f"{where} has layer_types {_short(kinds)}, but it must be a list of names; {_AGAIN}.")
    if isinstance(layers, int) and len(kinds) != layers:
        raise ConfigError(f"{where} has layer_types of {len(kinds)} layers, but num_hidden_layers {layers}; {_AGAIN}.")


def _check_rope(config: Values, where: str) -> None:
    """Check the rotary positions under both of their names, and, where the kinds of layers differ in them, each."""
    both = [key for key in ("rope_parameters", "rope_scaling") if config.get(key)]
    if len(both) == 2 and config["rope_parameters"] != config["rope_scaling"]:
        raise ConfigError(f"{where} has rope_parameters and rope_scaling, its former name, which differ; remove one of them.")
    for key in both:
        found = config[key]
        if not isinstance(found, Mapping):
            raise ConfigError(f"{where} has {key} {_short(found)}, but it must be a mapping; {_AGAIN}.")
        inner = {name: value for name, value in found.items() if isinstance(value, Mapping)}
        for name, values in (inner or {"": found}).items():
            _check_rope_values(values, f"{key}.{name}" if name else key, where, config)


def _check_rope_values(values: Values, key: str, where: str, config: Values) -> None:
    kind = values.get("rope_type", values.get("type", "default"))
    if not isinstance(kind, str) or kind not in ROPE_NEEDS:
        raise ConfigError(f"{where} has {key} of type {kind!r}, but it must be one of {', '.join(ROPE_NEEDS)};"
                          f" {'longrope is what su is called now' if kind == 'su' else 'give another checkpoint'}.")
    missing = [name for name in ROPE_NEEDS[kind] if values.get(name) is None]
    if missing:
        raise ConfigError(f"{where} has {key} of type {kind!r} without {', '.join(missing)}; {_AGAIN}.")
    for name in ROPE_NUMBERS:
        positive_number(values.get(name), f"{key}.{name}", where)
    theta = config.get("rope_theta")
    if None not in (theta, values.get("rope_theta")) and theta != values["rope_theta"]:
        raise ConfigError(f"{where} has rope_theta {theta}, but {key}.rope_theta {values['rope_theta']}; remove one of them.")
    pairs = _rotated(values, config)
    for name in ROPE_LISTS:
        factors = values.get(name)
        if factors is None:
            continue
        if not isinstance(factors, list) or (pairs is not None and len(factors) != pairs):
            raise ConfigError(f"{where} has {key}.{name} {_short(factors)}, but it must be a list of {pairs} numbers, one for"
                              f" each pair of a head's rotated features; {_AGAIN}.")
        for factor in factors:
            positive_number(factor, f"{key}.{name}", where)


def _rotated(values: Values, config: Values) -> int | None:
    """Give how many pairs of a head's features are rotated; None where the file does not state it."""
    dim, heads, head = (config.get(key) for key in ("hidden_size", "num_attention_heads", "head_dim"))
    if not isinstance(head, int):
        if not isinstance(dim, int) or not isinstance(heads, int):
            return None
        head = dim // heads
    part = values.get("partial_rotary_factor", config.get("partial_rotary_factor"))
    return int(head * part) // 2 if isinstance(part, int | float) else head // 2


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
