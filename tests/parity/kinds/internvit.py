"""Normalised pixels to InternViT's hidden vectors, shuffled features and what VITA's projector makes of them."""

import re

import torch
from omnikit_basics.config import Linear, Mlp
from omnikit_internvit.config import InternVit
from omnikit_internvit.model import InternVitEncoder, fit_positions, pixel_shuffle
from parity.case import Case, ReplayError
from torch import nn

from omnikit.contracts.types import Features, Signal

TOWER, PROJECTOR = "model.vision_tower.vision_tower.", "model.mm_projector."
NORMS = {"layer_norm": "layer", "rms_norm": "rms"}


def matches(case: Case) -> bool:
    return "internvit" in case.words and "pixel_values" in case.inputs


def replay(case: Case) -> None:
    atol, rtol = case.limit("atol", "atol", 2e-5), case.limit("rtol", "rtol", 1e-4)
    encoder, pixels = tower(case), case.inputs["pixel_values"]
    hidden = encoder.embeddings(pixels)
    case.close("embeddings", hidden, atol=atol, rtol=rtol)
    chosen = hidden
    for index, layer in enumerate(encoder.encoder.layers):
        hidden = layer(hidden)
        case.close(f"hidden_after_layer_{index}", hidden, atol=atol, rtol=rtol)
        if index + 1 == depth(case):
            chosen = hidden
    case.close("last_hidden_state", hidden, atol=atol, rtol=rtol)
    case.close("pooler_output", hidden[:, 0], atol=atol, rtol=rtol)
    case.close("features_selected", chosen[:, 1:], atol=atol, rtol=rtol)
    case.close("pixel_shuffled", encoder.joined(chosen), atol=atol, rtol=rtol)
    shuffled = shortened(encoder, depth(case))(Signal(pixels, torch.ones(len(pixels), dtype=torch.int64)))
    case.close("pixel_shuffled", shuffled.data, atol=atol, rtol=rtol)
    case.close("visual_tokens", projected(case, shuffled).data, atol=atol, rtol=rtol)
    if "pixel_shuffle_ramp_in" in case.outputs:
        case.compared.add("pixel_shuffle_ramp_in")
        ramp = pixel_shuffle(case.outputs["pixel_shuffle_ramp_in"])
        case.equal("pixel_shuffle_ramp_out", ramp, case.outputs["pixel_shuffle_ramp_out"])


def tower(case: Case) -> InternVitEncoder:
    """Build every layer with the case's weights, at the size of its pixels."""
    config, (high, wide) = case.config, case.inputs["pixel_values"].shape[2:]
    if config.get("hidden_act", "gelu") != "gelu" or high != wide:
        raise ReplayError(f"internvit has squares and exact GELU, but the case has {high} x {wide} and {config['hidden_act']}")
    encoder = InternVit(
        size=high, patch=config["patch_size"], dim=config["hidden_size"], layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"], ffn=config["intermediate_size"], norm=NORMS[config["norm_type"]],
        eps=config["layer_norm_eps"], qkv_bias=config["qkv_bias"], qk_norm=config["qk_normalization"],
        gain=config["scale_pix_shuffle"],
    ).build()  # fmt: skip
    weights = {name.removeprefix(TOWER): tensor for name, tensor in case.weights.items() if name.startswith(TOWER)}
    side = encoder.config.grid
    weights["embeddings.position_embedding"] = fit_positions(weights["embeddings.position_embedding"], (side, side))
    encoder.load_state_dict(weights)
    return encoder.eval()


def depth(case: Case) -> int:
    """Give how many layers the features have passed; `select_layer` counts the embeddings as the first."""
    chosen, layers = int(case.config["select_layer"]), int(case.config["num_hidden_layers"])
    return chosen if chosen >= 0 else layers + 1 + chosen


def shortened(encoder: InternVitEncoder, layers: int) -> InternVitEncoder:
    """Leave out the layers behind the chosen one, as the encoder's own field `layer` does."""
    encoder.encoder.layers = nn.ModuleList(list(encoder.encoder.layers)[:layers])
    return encoder


def projected(case: Case, features: Features) -> Features:
    """Give what a projector with the case's weights makes of the features."""
    weights = {name.removeprefix(PROJECTOR): tensor for name, tensor in case.weights.items() if name.startswith(PROJECTOR)}
    kind = str(case.config.get("mm_projector_type", "mlp2x_gelu"))
    depth = re.fullmatch(r"mlp(\d+)x_gelu", kind)
    if depth is None and kind != "linear":
        raise ReplayError(f"its mm_projector_type is {kind!r}, but layout vita has linear and mlp<N>x_gelu")
    count = int(depth[1]) if depth else 1
    named = {(name if name[:1].isdigit() else f"0.{name}"): tensor for name, tensor in weights.items()}
    numbers = sorted({int(name.partition(".")[0]) for name in named})
    if numbers != [2 * index for index in range(count)]:
        raise ReplayError(f"its mm_projector_type is {kind!r}, but its weights have the layers {numbers}")
    wide = named["0.weight"].shape[0]
    sizes = {"mm_hidden_size": features.data.shape[2], "llm_hidden_size": named[f"{2 * count - 2}.weight"].shape[0]}
    for key, size in sizes.items():
        if case.config.get(key, size) != size:
            raise ReplayError(f"its {key} is {case.config[key]}, but its weights and features have {size}")
    output = InternVit(dim=features.data.shape[2] // 4, heads=1).output
    projector = Linear().build(output, wide) if count == 1 else Mlp(hidden=0, depth=count).build(output, wide)
    projector.load_state_dict({f"layers.{name}": tensor for name, tensor in named.items()})
    found: Features = projector.eval()(features)
    return found
