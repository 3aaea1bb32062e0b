"""Waves of any rate and number of channels to VITA's filter bank, and how many positions they take in the language model."""

import re

import torch
from omnikit_basics.config import StridedConv
from omnikit_mel_cnn.config import MelCnn
from parity.case import Case, refuse_others
from torch import Tensor
from torchaudio.transforms import Resample

from omnikit.contracts.types import Signal
from omnikit.errors import DataError

ONLY: dict[str, tuple[object, ...]] = {  # of Kaldi's settings
    "dither": (0.0,), "energy_floor": (0.0,), "window": ("povey",), "preemphasis": (0.97,), "remove_dc_offset": (True,),
    "low_freq": (20.0,), "high_freq": (0.0,), "snip_edges": (True,), "round_to_power_of_two": (True,), "use_power": (True,),
    "use_log_fbank": (True,)}
IDENTITY = ([0.0], [1.0])  # mean and inverse deviation


def matches(case: Case) -> bool:
    return {"num_mel_bins", "frame_length", "frame_shift"} <= case.config.keys() and "wavs" in case.facts.get("inputs", {})


def replay(case: Case) -> None:
    refuse_others(case.config, ONLY)
    config, bins = case.config, case.config["num_mel_bins"]
    encoder = MelCnn(dim=4, heads=1, layers=1, ffn=4, channels=1, mel_bins=bins, frame_length_ms=config["frame_length"],
                     frame_shift_ms=config["frame_shift"], scale=float(config.get("waveform_scale", 32768)),
                     normalisation="fixed", positions="relative")
    module = encoder.build().eval()
    for buffer, value in zip((module.normalisation.mean, module.normalisation.istd), IDENTITY, strict=True):
        buffer.fill_(value[0])
    for name, stored in case.inputs.items():
        found = re.fullmatch(r"wav(\d+)", name)
        if not found:
            continue
        facts = next(facts for facts in case.facts["inputs"]["wavs"] if facts["index"] == int(found[1]))
        wave = stored[:1]  # the first channel, as the original
        if facts["sample_rate"] != config["resample_rate"]:
            wave = Resample(facts["sample_rate"], config["resample_rate"])(wave)  # the loader's work, by the original's means
        if facts.get("error"):
            case.raises(f"frames of {name}", lambda samples=wave.shape[1]: encoder.length(samples))
            continue
        mel, frames = module.mel_frames(Signal(wave, torch.tensor([wave.shape[1]])))
        stored = case.outputs.get(f"fbank{found[1]}", mel[0])
        case.close(f"fbank{found[1]}", mel[0], atol=case.limit("atol", "atol", 2e-3) + rounding(stored),
                   rtol=case.limit("rtol", "rtol", 1e-4))
        case.equal(f"frames of {name}", int(frames), facts["n_frames"])
        case.equal(f"positions of {name}", positions(encoder, wave.shape[1]), facts["audio_tokens_for_llm"])


def rounding(expected: Tensor) -> Tensor:
    """Give what the rounding of a float32 FFT does to log energies [T, bins], by those that are expected.

    It shifts each amplitude by about epsilon times the frame's, and the logarithm of an energy by twice the share of its
    amplitude: 2e-7 in the loudest band, 0.005 in one that is 20 below it. In such bands torchaudio's own filter bank, on an
    AMD EPYC with AVX-512, is 0.0044 from the stored numbers, and the same formulas in float64 are 0.0051 from them.
    """
    energies = expected.double().exp()
    return 2 * torch.finfo(torch.float32).eps * (energies.sum(1, keepdim=True) / energies).sqrt()


def positions(encoder: MelCnn, samples: int) -> int:
    """Give the positions in the language model; none where our encoder refuses the clip as too short."""
    try:
        return StridedConv().length(encoder.length(samples))
    except DataError:
        return 0
