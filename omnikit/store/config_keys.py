"""Which key of a config.json decides on the size or the presence of a tensor, by transformers' names. Reads no file."""

import re
from collections import Counter
from collections.abc import Sequence

SIZES = (
    (r"(k|v)_proj\.(weight|bias)", "num_key_value_heads"), (r"(q|o)_proj\.(weight|bias)", "num_attention_heads"),
    (r"(gate|up|down)_proj\.(weight|bias)|fc[12]\.(weight|bias)", "intermediate_size"),
    (r"(lm_head|embed_tokens)\.weight", "vocab_size"), (r"norm\.weight|layernorm\.weight", "hidden_size"))
PRESENCE = (
    (r"(q|k|v|o)_proj\.bias", "attention_bias"), (r"(gate|up|down)_proj\.bias", "mlp_bias"),
    (r"lm_head\.weight", "tie_word_embeddings"), (r"(q|k)_norm\.weight", "the architecture (model_type)"))
LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
COMPLETE = 5  # tensors of a layer that are missing or left over together: the layer is


def key_of(names: Sequence[str], *, sizes: bool) -> str | None:
    """Give the key that decides on the first tensors of a language model that do not fit; None where none is known.

    Args:
        sizes: they are there with another shape; else they are missing or left over.
    """
    layers = Counter(found[1] for name in names if (found := LAYER.search(name)))
    if layers and "0" not in layers and min(layers.values()) >= COMPLETE:
        return "num_hidden_layers"
    keys = SIZES if sizes else PRESENCE
    return next((key for name in names for pattern, key in keys if re.search(rf"(^|[._])({pattern})$", name)), None)
