"""A text_config of a T5 or a FLAN-T5 as the backbone `hf_encoder_decoder`, and back."""

from __future__ import annotations

from collections.abc import Mapping

from transformers.configuration_utils import PreTrainedConfig

from omnikit.errors import RunError
from omnikit_hf_models.language import Language

NAMES = {"dim": "d_model", "layers": "num_layers", "decoder_layers": "num_decoder_layers", "heads": "num_heads",
         "head_dim": "d_kv", "ffn": "d_ff", "vocabulary": "vocab_size"}
FIXED = {"model_type": "t5", "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
         "layer_norm_epsilon": 1e-6}
"""Keys that the backbone has one value of."""
FEED_FORWARD = {"gated-gelu": True, "relu": False}  # feed_forward_proj → gated


def backbone(facts: PreTrainedConfig, *, tied: bool) -> dict[str, object]:
    """Give the fields of `hf_encoder_decoder` that a configuration states.

    Raises:
        RunError: it is not a T5, or one with other positions, norms or activations.
    """
    only = {key: (value,) for key, value in FIXED.items()} | {"feed_forward_proj": tuple(FEED_FORWARD)}
    for key, values in only.items():
        if (found := getattr(facts, key, None)) not in values:
            raise RunError(f"text_config has {key} {found!r}, but backbone hf_encoder_decoder has"
                           f" {' or '.join(map(repr, values))}; such a model cannot be imported.")
    start = getattr(facts, "decoder_start_token_id", None)
    return {"use": "hf_encoder_decoder", "model_type": "t5", **{ours: getattr(facts, theirs) for ours, theirs in NAMES.items()},
            "gated": FEED_FORWARD[facts.feed_forward_proj], "scaled": facts.scale_decoder_outputs, "start": start or 0,
            "tie_embeddings": tied}


def text_config(fields: Mapping[str, object]) -> dict[str, object]:
    """Give the text_config of a backbone whose fields these are; `tie_word_embeddings` is what T5 scales its outputs by."""
    proj = next(name for name, gated in FEED_FORWARD.items() if gated == fields["gated"])
    return {**FIXED, **{theirs: fields[ours] for ours, theirs in NAMES.items()}, "feed_forward_proj": proj,
            "is_encoder_decoder": True, "decoder_start_token_id": fields["start"], "pad_token_id": 0,
            "tie_word_embeddings": fields["scaled"]}


T5 = Language(backbone, text_config, "shared.weight")
