"""Units to waves, with durations and without, by a vocoder of any sizes whose file is written as published."""

import re
from dataclasses import replace

import torch
from omnikit_llama_omni.config import UnitHiFiGAN
from parity.case import Case, ReplayError
from torch import Tensor

ONLY = {"resblock": ("1", 1), "f0": (None, False), "embedder_params": (None,)}  # what our generator is built like


def matches(case: Case) -> bool:
    return "model_cfg" in case.config and {"dict.weight", "conv_pre.bias"} <= set(case.weights)


def replay(case: Case) -> None:
    file = case.scratch / "g_00500000"
    torch.save({"generator": case.weights}, file)  # as fairseq's checkpoints are; loading is strict
    vocoder = config(case, str(file)).build().eval()
    atol = case.limit("wav_atol", "atol", 2e-5)
    for name, stored in case.inputs.items():
        found = re.fullmatch(r"(seq\d+)_code", name)
        if not found:
            continue
        stem, units = found[1], stored.flatten()
        valid = units[units >= 0]
        vocoder.config = replace(vocoder.config, speaker=speaker(case, stem))
        whole = torch.ones(1, len(valid), dtype=torch.bool)
        outputs: dict[str, Tensor] = {}
        if vocoder.dur_predictor is not None:
            outputs[f"{stem}_log_duration"] = vocoder.log_durations(valid[None, :, None], whole)
            outputs[f"{stem}_duration"] = vocoder.durations(valid)[None]
            outputs[f"{stem}_wav_dur"] = vocoder.decode(units[:, None])
        outputs[f"{stem}_wav_nodur"] = vocoder.generate(valid[None, :, None])
        for output, tensor in outputs.items():
            expected = case.outputs.get(output)
            if expected is not None and output.endswith("_duration") and not expected.is_floating_point():
                case.equal(output, tensor.flatten().tolist(), expected.flatten().tolist())
            elif expected is not None:
                case.close(output, tensor.view(expected.shape) if tensor.numel() == expected.numel() else tensor, atol=atol)


def speaker(case: Case, stem: str) -> int:
    """Give the number of the speaker that a sequence, or the case, is spoken by."""
    named = [tensor for name, tensor in case.inputs.items() if re.fullmatch(rf"({stem}_)?sp(ea)?ke?r\w*", name)]
    return int(named[0].flatten()[0]) if named else int(case.config.get("speaker", case.config.get("spkr", 0)))


def config(case: Case, weights: str) -> UnitHiFiGAN:
    """Give our configuration for fairseq's; raises ReplayError for a generator of another build."""
    theirs, weight = case.config["model_cfg"], case.weights
    for key, values in ONLY.items():
        if key in theirs and theirs[key] not in values:
            raise ReplayError(f"its {key} is {theirs[key]!r}, but codec unit_hifigan has {values[0]!r} alone")
    kernel = (theirs.get("dur_predictor_params") or {}).get("var_pred_kernel_size", 3)
    speakers, wide = (weight["spkr.weight"].shape[0] if "spkr.weight" in weight else 0), theirs["embedding_dim"]
    if kernel != 3 or theirs.get("model_in_dim", wide) != (2 * wide if speakers else wide):
        raise ReplayError(f"its var_pred_kernel_size is {kernel} and model_in_dim {theirs.get('model_in_dim')}, but codec"
                          f" unit_hifigan has 3 and {2 * wide if speakers else wide}")
    dilations = tuple(tuple(block) for block in theirs["resblock_dilation_sizes"])
    durations = theirs.get("dur_predictor_params") if any(k.startswith("dur_predictor.") for k in weight) else None
    return UnitHiFiGAN(
        units=theirs["num_embeddings"], dim=theirs["embedding_dim"], channels=theirs["upsample_initial_channel"],
        rates=tuple(theirs["upsample_rates"]), kernels=tuple(theirs["upsample_kernel_sizes"]),
        block_kernels=tuple(theirs["resblock_kernel_sizes"]), block_dilations=dilations,
        duration_dim=durations["var_pred_hidden_dim"] if durations else None,
        sample_rate=theirs.get("sampling_rate", 16000), weights=weights, speakers=speakers)
