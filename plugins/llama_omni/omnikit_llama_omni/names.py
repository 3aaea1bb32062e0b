"""What LLaMA-Omni's files call a tensor and what we call it. Uses no file.

Sources: openai-whisper's, transformers' and fairseq's names of their modules' tensors.
"""

import re

from omnikit.store.layouts import to_legacy_weight_norm

PROJECTOR, HEAD, ENCODER = "model.speech_projector.", "speech_generator.", "model.speech_encoder."
_OPENAI = (("positional_embedding", "embed_positions.weight"), ("ln_post.", "layer_norm."), ("blocks.", "layers."),
           (".attn.query.", ".self_attn.q_proj."), (".attn.key.", ".self_attn.k_proj."), (".attn.value.", ".self_attn.v_proj."),
           (".attn.out.", ".self_attn.out_proj."), (".attn_ln.", ".self_attn_layer_norm."), (".mlp.0.", ".fc1."),
           (".mlp.2.", ".fc2."), (".mlp_ln.", ".final_layer_norm."))  # openai-whisper → transformers


def of_checkpoint(name: str) -> tuple[str, str] | None:
    """Give part and our name of a tensor of the main checkpoint; None if it belongs to no part."""
    name = re.sub(r"^model\.(?=speech_generator\.)", "", name)  # where OpenOmniNexus keeps it
    for prefix, part in ((PROJECTOR, "audio.projector"), (HEAD, "speech.head"), (ENCODER, "audio.encoder")):
        if name.startswith(prefix):
            own = name.removeprefix(prefix)
            return part, from_openai(own) if part == "audio.encoder" else own
    known = re.match(r"model\.(layers|embed_tokens|norm)\.|lm_head\.", name)
    return ("backbone", name) if known else None


def to_checkpoint(part: str, name: str) -> str:
    """Give the file's name of a tensor of ours."""
    if part == "audio.encoder":
        return f"encoder.{to_openai(name)}"
    if part == "speech.codec":
        return to_legacy_weight_norm(name)
    return {"audio.projector": PROJECTOR, "speech.head": HEAD}.get(part, "") + name


def from_openai(name: str) -> str:
    """Give our (transformers') name of a tensor of openai's encoder."""
    for theirs, ours in _OPENAI:
        name = name.replace(theirs, ours)
    return name


def to_openai(name: str) -> str:
    """Give openai's name of a tensor of our encoder."""
    name = name.replace("layer_norm.", "ln_post.") if name.startswith("layer_norm.") else name
    for theirs, ours in _OPENAI:
        name = name.replace(ours, theirs) if ours != "layer_norm." else name
    return name
