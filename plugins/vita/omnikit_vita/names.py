"""What VITA's files call a tensor and what we call it. Uses no file.

Sources: the names and shapes of the weights that VITA-MLLM publishes, and of Qwen2's and Mixtral's in transformers.
"""

import re

VISION, PROJECTOR, AUDIO = "model.vision_tower.vision_tower.", "model.mm_projector.", "model.audio_encoder."
AUDIO_ENCODER, ADAPTER, PROMPTS = f"{AUDIO}encoder.", f"{AUDIO}adpter.", f"{AUDIO}prompt_embeddings.weight"
STATE = "predictor_head."
_ENCODER = (("global_cmvn.", "normalisation."), ("enc.0.core.conv.0.", "subsampling.conv1."),
            ("enc.0.core.conv.2.", "subsampling.conv2."), ("enc.0.core.out.0.", "subsampling.project."),
            ("enc.1.embed.", "embed."), ("enc.1.after_norm.", "norm."))
_LAYER = (("self_attn.linear_q.", "attention.query."), ("self_attn.linear_k.", "attention.key."),
          ("self_attn.linear_v.", "attention.value."), ("self_attn.linear_out.", "attention.out."),
          ("self_attn.linear_pos.", "attention.position."), ("self_attn.pos_bias_u", "attention.bias_u"),
          ("self_attn.pos_bias_v", "attention.bias_v"), ("feed_forward.w_1.", "ffn.0."), ("feed_forward.w_2.", "ffn.2."),
          ("norm1.", "attention_norm."), ("norm2.", "ffn_norm."), ("concat_linear.", "concat."))
_ADAPTER = (("conv1d2.", "conv."), ("bn2.", "norm."), ("project.", "project."))  # bn2 is a LayerNorm in the published weights
EXPERT = re.compile(r"model\.layers\.(\d+)\.block_sparse_moe\.experts\.(\d+)\.(w[123])\.weight")
_GATE = (".block_sparse_moe.gate.", ".mlp.gate.")


def of_checkpoint(name: str) -> tuple[str, str] | None:
    """Give part and our name of a tensor of the main checkpoint, experts apart; None if it belongs to no part."""
    if name == PROMPTS:
        return "audio.projector", "prompts"
    for prefix, part in ((VISION, "vision.encoder"), (AUDIO_ENCODER, "audio.encoder"), (ADAPTER, "audio.projector"),
                         (PROJECTOR, "vision.projector"), (STATE, "turn.head")):
        if name.startswith(prefix):
            return part, _ours(part, name.removeprefix(prefix))
    known = re.match(r"model\.(layers|embed_tokens|norm)\.|lm_head\.", name)
    return ("backbone", name.replace(*_GATE)) if known else None


def to_checkpoint(part: str, name: str) -> str:
    """Give the file's name of a tensor of ours, experts apart."""
    match part:
        case "vision.encoder":
            return VISION + name
        case "vision.projector":
            return PROJECTOR + name.removeprefix("layers.")
        case "audio.encoder":
            layer = re.match(r"layers\.(\d+)\.", name)
            if layer:
                return f"{AUDIO_ENCODER}enc.1.encoders.{layer[1]}.{_swapped(name[layer.end():], _LAYER, 1)}"
            return AUDIO_ENCODER + _swapped(name, _ENCODER, 1)
        case "audio.projector":
            return PROMPTS if name == "prompts" else ADAPTER + _swapped(name, _ADAPTER, 1)
        case "turn.head":
            return STATE + name.removeprefix("output.")
    return name.replace(*_GATE[::-1])


def linear(name: str, alone: bool) -> str:
    """Give a projector's name without a place where it is one Linear alone, which the published layout does not number."""
    return name.replace(f"{PROJECTOR}0.", PROJECTOR) if alone else name


def _ours(part: str, name: str) -> str:
    if part == "vision.projector":
        return f"layers.{name}" if name[:1].isdigit() else f"layers.0.{name}"
    if part == "audio.encoder":
        layer = re.match(r"enc\.1\.encoders\.(\d+)\.", name)
        return f"layers.{layer[1]}.{_swapped(name[layer.end():], _LAYER, 0)}" if layer else _swapped(name, _ENCODER, 0)
    if part == "audio.projector":
        return _swapped(name, _ADAPTER, 0)
    return f"output.{name}" if part == "turn.head" else name


def _swapped(name: str, pairs: tuple[tuple[str, str], ...], side: int) -> str:
    """Put the other side's beginning in place of this side's; a name that begins with none stays."""
    for pair in pairs:
        if name.startswith(pair[side]):
            return pair[1 - side] + name.removeprefix(pair[side])
    return name
