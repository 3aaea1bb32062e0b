"""VITA's speech codec of any sizes, whose folder is written as published: frames, voices, codes and waves."""

import json
import re
from collections import defaultdict
from pathlib import Path

import torch
from omnikit_vita.ticodec import TiCodec
from omnikit_vita.ticodec_files import PARTS, settings, stored
from omnikit_vita.ticodec_model import TiCodecModel
from parity.case import Case, ReplayError
from torch import Tensor

from omnikit.recipe.schema import construct, plain

ROW = "quantizer.quantizer_modules_globaltokens.0.embedding.weight"


def matches(case: Case) -> bool:
    return {ROW, "generator.conv_pre.bias"} <= set(case.weights) and "model_json" in case.config


def replay(case: Case) -> None:
    codec = built(case, case.scratch)
    for name, stored_wave in case.inputs.items():
        if re.fullmatch(r"wav\d+", name):
            compare_voice(case, codec, name, stored_wave.reshape(1, -1))
        elif re.fullmatch(r"codes\d+", name):
            spoken(case, codec, name, stored_wave)


def built(case: Case, folder: Path) -> TiCodecModel:
    """Give our codec with the case's weights, from a folder as it is published."""
    whole: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in case.weights.items():
        part, _, own = name.partition(".")
        whole[part][own] = tensor
    torch.save({part: whole[part] for part in PARTS}, folder / "final.pt")
    (folder / "model.json").write_text(json.dumps(case.config["model_json"]))
    found = settings(folder, stored(folder)[0])
    values = {name: plain(value) for name, value in found.items()}
    mistakes: list[str] = []
    config = construct(TiCodec, {**values, "weights": str(folder)}, "the case's codec", mistakes)
    if config is None or mistakes:
        raise ReplayError(" ".join(mistakes))
    return TiCodecModel(config).eval()


def compare_voice(case: Case, codec: TiCodecModel, name: str, wave: Tensor) -> None:
    """Compare what becomes of a wave [1, N]."""
    atol, rtol = case.limit("features", "atol", 2e-4), case.limit("features", "rtol", 1e-3)
    frames, voice = codec.encoder(wave)
    codes, tokens = codec.code(wave)
    case.close(f"{name}_encoder_out", frames, atol=atol, rtol=rtol)
    case.close(f"{name}_global_features", voice, atol=atol, rtol=rtol)
    _equal(case, f"{name}_codes", codes)
    _equal(case, f"{name}_global_tokens", tokens)
    case.close(f"{name}_decoded", codec.speak(codes, tokens)[:, None], atol=case.limit("decoded_atol", "atol", 2e-5))


def spoken(case: Case, codec: TiCodecModel, name: str, codes: Tensor) -> None:
    """Compare what becomes of codes [B, T, Q]."""
    atol, rtol = case.limit("features", "atol", 2e-4), case.limit("features", "rtol", 1e-3)
    tokens = case.inputs[f"{name}_global_tokens"].flatten(1)
    case.close(f"{name}_quantized", codec.quantizer.embed_frames(codes), atol=atol, rtol=rtol)
    case.close(f"{name}_global_embedding", codec.quantizer.embed_voice(tokens), atol=atol, rtol=rtol)
    case.close(f"{name}_decoded", codec.speak(codes, tokens)[:, None], atol=case.limit("decoded_atol", "atol", 2e-5))


def _equal(case: Case, output: str, found: Tensor) -> None:
    if output in case.outputs:
        expected = case.outputs[output]
        case.equal(output, found.reshape(expected.shape) if found.numel() == expected.numel() else found, expected)


