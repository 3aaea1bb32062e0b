"""Waves to Whisper's log-mel, padded or cut to 30 s: any number of clips, any number of mel bins."""

import re

import torch
from omnikit_whisper.config import SAMPLE_RATE, Whisper
from parity.case import Case, ReplayError
from torch import Tensor

from omnikit.contracts.types import Signal


def matches(case: Case) -> bool:
    return "mel" in case.words and any(re.fullmatch(r"wav\d+_int16", name) for name in case.inputs)


def replay(case: Case) -> None:
    atol = case.limit("atol", "atol", 2e-4)
    for facts in case.facts["inputs"]["wavs"]:
        clip = f"wav{facts['index']}"
        wave = case.inputs[f"{clip}_int16"].flatten().float().repeat(facts.get("repeat_the_stored_clip", 1)) / 32768
        if "samples" in facts and len(wave) != facts["samples"]:
            raise ReplayError(f"{clip} has {len(wave)} samples, but case.json has {facts['samples']}")
        rows = [name for name in case.outputs if re.fullmatch(rf"{clip}_mel\d+", name)]
        index = case.outputs.get(f"{clip}_frame_index")
        case.compared.add(f"{clip}_frame_index")
        for name in rows:
            mel = log_mel(wave, int(name.rpartition("mel")[2]), case)
            case.close(name, mel if index is None else mel[index], atol=atol)
        compare_facts(case, clip, facts, wave, atol)


def compare_facts(case: Case, clip: str, facts: dict[str, float], wave: Tensor, atol: float) -> None:
    """Compare what case.json holds of the whole array: its sum, extremes, and the constant behind the clip."""
    for key, value in facts.items():
        found = re.fullmatch(r"mel(\d+)_(sum|min|max)", key)
        if found:
            mel = log_mel(wave, int(found[1]), case).double()
            scale = mel.numel() if found[2] == "sum" else 1
            case.close(f"{clip}_{key}", getattr(mel, found[2])() / scale, atol=atol, expected=torch.tensor(value / scale))
    if facts.get("tail_is_constant"):
        tail = log_mel(wave, case.config.get("n_mels", 128), case)[int(facts["frames_before_constant_tail"]):]
        case.close(f"{clip}_tail", tail, atol=atol, expected=torch.full_like(tail, facts["tail_value"]))


def log_mel(wave: Tensor, bins: int, case: Case) -> Tensor:
    """Give [frames, bins] as the encoder gets it."""
    samples, hop = case.config.get("pad_to_samples", 480000), case.config.get("hop", 160)
    encoder = Whisper(dim=4, heads=1, layers=1, ffn=4, mel_bins=bins, hop=hop, seconds=samples / SAMPLE_RATE).build()
    return encoder.mel_frames(Signal(wave[None], torch.tensor([len(wave)])))[0][0].T
