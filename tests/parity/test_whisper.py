"""The Whisper encoder against numbers of the original code (goldens/mel_whisper, goldens/llama_omni_full)."""

import json
from pathlib import Path

import pytest
import torch
from omnikit_basics.config import StackMlp
from omnikit_whisper.config import Whisper
from safetensors.torch import load_file
from torch.testing import assert_close

from omnikit.specs import FeatureSpec
from omnikit.types import Features, Signal

GOLDENS = Path(__file__).parent / "goldens"
RENAMED = {  # openai-whisper's names to transformers'
    "attn.query": "self_attn.q_proj",
    "attn.key": "self_attn.k_proj",
    "attn.value": "self_attn.v_proj",
    "attn.out": "self_attn.out_proj",
    "attn_ln": "self_attn_layer_norm",
    "mlp.0": "fc1",
    "mlp.2": "fc2",
    "mlp_ln": "final_layer_norm",
    "blocks.": "layers.",
    "ln_post": "layer_norm",
    "positional_embedding": "embed_positions.weight",
}


@pytest.mark.parametrize("clip", [0, 1, 2])
@pytest.mark.parametrize("bins", [80, 128])
def test_log_mel_equals_the_original(clip: int, bins: int) -> None:
    outputs = load_file(GOLDENS / "mel_whisper" / "outputs.safetensors")
    selected = log_mel_of(clip, bins)[outputs[f"wav{clip}_frame_index"]]
    assert_close(selected, outputs[f"wav{clip}_mel{bins}"], atol=2e-4, rtol=0)  # the case's tolerance


@pytest.mark.parametrize("clip", [0, 1, 2])
def test_log_mel_after_the_clip_is_the_original_s_constant(clip: int) -> None:
    facts = json.loads((GOLDENS / "mel_whisper" / "case.json").read_text())["inputs"]["wavs"][clip]
    tail = log_mel_of(clip, 128)[facts["frames_before_constant_tail"] :]
    assert_close(tail, torch.full_like(tail, facts["tail_value"]), atol=2e-4, rtol=0)


def log_mel_of(clip: int, bins: int) -> torch.Tensor:
    """Give the log-mel [3000, bins] of a stored clip."""
    wave = load_file(GOLDENS / "mel_whisper" / "inputs.safetensors")[f"wav{clip}_int16"].float()[None] / 32768
    encoder = Whisper(dim=8, heads=2, layers=1, ffn=8, mel_bins=bins, seconds=30.0).build()
    return encoder.listen(Signal(wave, torch.tensor([wave.shape[1]])))[0][0].T


def test_encoder_and_projector_equal_llama_omni() -> None:
    folder = GOLDENS / "llama_omni_full"
    weights = {name: tensor.float() for name, tensor in load_file(folder / "weights.safetensors").items()}
    inputs, outputs = load_file(folder / "inputs.safetensors"), load_file(folder / "outputs.safetensors")
    config = Whisper(dim=16, heads=2, layers=2, ffn=64, mel_bins=128, positions=40, seconds=0.8)
    encoder = config.build()
    encoder.load_state_dict(behind(weights, "model.speech_encoder."))
    projector = StackMlp(stride=5, hidden=2048).build(FeatureSpec(16, count=40), 64)
    projector.load_state_dict(behind(weights, "model.speech_projector."))
    lengths = torch.tensor([40])
    hidden = encoder.encode(inputs["mel"].transpose(1, 2), lengths)
    assert_close(hidden, outputs["a_encoder_out"], atol=1e-4, rtol=0)
    assert_close(projector(Features(hidden, lengths)).data, outputs["a_projector_out"], atol=1e-4, rtol=0)


def behind(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    found = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    for old, new in RENAMED.items():
        found = {name.replace(old, new): tensor for name, tensor in found.items()}
    return found
