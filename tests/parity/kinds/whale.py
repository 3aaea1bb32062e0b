"""What the kinds of VITA's audio encoder share: its published settings and names as ours."""

import re
from typing import Any

import torch
from omnikit_basics.config import StridedConv
from omnikit_mel_cnn.config import MelCnn
from omnikit_vita.audio_settings import POSITIONS
from parity.case import Case, ReplayError, refuse_others
from torch import Tensor, nn

ENCODER = {"global_cmvn": "normalisation", "enc.0.core.conv.0": "subsampling.conv1", "enc.0.core.conv.2": "subsampling.conv2",
           "enc.0.core.out.0": "subsampling.project", "enc.1.embed": "embed", "enc.1.after_norm": "norm"}
ONLY: dict[str, tuple[object, ...]] = {  # settings that our encoder and adapter are built with
    "subsampling-rate": (4,), "transformer-input-layer": ("linear",), "transformer-normalize-before": (True,),
    "transformer-positionwise-layer-type": ("linear",), "adpter_type": ("subsampling",),
    "add_audio_bos_eos": (False, None), "two_conv_variant": (False, None), "transformer-dynamic-chunks": (False,),
    "transformer-pos-enc-class": tuple(POSITIONS)}
LAYER = {"self_attn.linear_q": "attention.query", "self_attn.linear_k": "attention.key",
         "self_attn.linear_v": "attention.value", "self_attn.linear_out": "attention.out",
         "self_attn.linear_pos": "attention.position",
         "self_attn.pos_bias_u": "attention.bias_u", "self_attn.pos_bias_v": "attention.bias_v", "norm1": "attention_norm",
         "norm2": "ffn_norm", "feed_forward.w_1": "ffn.0", "feed_forward.w_2": "ffn.2", "concat_linear": "concat"}
PROJECTOR = {"adpter.conv1d2": "conv", "adpter.bn2": "norm", "adpter.project": "project",
             "prompt_embeddings.weight": "prompts"}


def settings(case: Case, parts: dict[str, dict[str, Any]], **more: Any) -> MelCnn:
    """Give our configuration for the original's `subsampling` and `transformer` settings and the weights' sizes."""
    refuse_others(parts["subsampling"] | parts["transformer"], ONLY)  # dynamic chunks are drawn by chance
    weights, inner = case.weights, {k.removeprefix("transformer-"): v for k, v in parts["transformer"].items()}
    chunk, left = inner.get("chunk_size", -1), inner.get("left_chunks", -1)
    channels = next(tensor for name, tensor in weights.items() if name.endswith("enc.0.core.conv.0.weight")).shape[0]
    bins = parts["subsampling"]["subsampling-input-dim"]
    positions = POSITIONS[inner.get("pos-enc-class", "rel-enc")]
    fields: dict[str, Any] = {
        "dim": inner["attention-dim"], "layers": inner["num-blocks"], "heads": inner["attention-heads"],
        "ffn": inner["linear-units"], "channels": channels, "mel_bins": bins, "scale": 32768.0, "normalisation": "fixed",
        "embed": True, "positions": positions, "concat": inner.get("concat-after", False),
        "chunk_size": chunk if chunk > 0 else None, "left_chunks": left if chunk > 0 and left >= 0 else None}
    return MelCnn(**{**fields, **more})


def adapter(case: Case, parts: dict[str, Any], *, causal: bool) -> StridedConv:
    """Give the projector for the original's settings; raises ReplayError for one of another build than its weights or ours."""
    refuse_others(parts, ONLY)
    kernel = next((tensor for name, tensor in case.weights.items() if name.endswith("adpter.conv1d2.weight")), None)
    if kernel is None or parts.get("kernel_size", kernel.shape[2]) != kernel.shape[2]:
        raise ReplayError(f"its kernel_size is {parts.get('kernel_size')}, but its weights have"
                          f" {'no adpter.conv1d2' if kernel is None else kernel.shape[2]}")
    prompts = int(parts.get("audio_prompt_num") or 0) if parts.get("audio_prompt_finetune") else 0
    return StridedConv(kernel=kernel.shape[2], stride=2, hidden=kernel.shape[0], causal=causal, norm=parts["norm"],
                       activation=parts["activation_func"], prompts=prompts)


def load(module: nn.Module, case: Case, names: dict[str, str], prefix: str) -> None:
    """Fill a module with the case's weights behind a prefix, strictly: nothing may be missing or left over."""
    found: dict[str, Tensor] = {}
    inside = {name: tensor for name, tensor in case.weights.items() if name.startswith(prefix)}
    for theirs, tensor in inside.items():
        if names is not PROJECTOR or theirs.removeprefix(prefix).startswith(("adpter.", "prompt_embeddings.")):
            name = theirs.removeprefix(prefix)
            layer = re.match(r"enc\.1\.encoders\.(\d+)\.", name)
            ours = names if layer is None else LAYER
            head, name = (f"layers.{layer[1]}.", name[layer.end():]) if layer else ("", name)
            key = next((key for key in ours if name.startswith(key)), None)
            if key is None:
                raise ReplayError(f"its weights have {theirs}, which no part of ours has")
            found[f"{head}{ours[key]}{name[len(key):]}"] = tensor
    wrong = sorted(found.keys() ^ module.state_dict().keys())
    if wrong:
        raise ReplayError(f"its configuration and its weights do not agree: {wrong[0]} is in one of them alone")
    module.load_state_dict(found)
    module.eval()


def same(case: Case, output: str, found: Tensor) -> None:
    """Compare floats within the case's tolerance."""
    case.close(output, found, atol=case.limit("atol", "atol", 5e-5), rtol=case.limit("rtol", "rtol", 2e-4))


def mask(lengths: Tensor, width: int) -> Tensor:
    return (torch.arange(width) < lengths[:, None]).to(torch.uint8)
