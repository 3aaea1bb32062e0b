"""Encoders of a folder: Whisper and InternViT take their sizes from its config.json."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import WhisperConfig, WhisperModel

from omnikit.contracts.types import Signal
from omnikit.errors import PlanError
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper")
    torch.manual_seed(0)
    config = WhisperConfig(vocab_size=60, d_model=24, encoder_layers=2, decoder_layers=1, encoder_attention_heads=3,
                           decoder_attention_heads=3, encoder_ffn_dim=40, decoder_ffn_dim=40, max_source_positions=200,
                           decoder_start_token_id=1, eos_token_id=2, bos_token_id=2, pad_token_id=2)
    WhisperModel(config).save_pretrained(folder)
    return folder


def test_frames_equal_those_of_transformers(whisper: Path) -> None:
    overrides = [f"audio.encoder.weights={whisper}", "audio.encoder.seconds=4.0"]
    encoder = make(compose("llama_omni/tiny", overrides)).inputs["audio"].encoder.build().eval()
    theirs = WhisperModel.from_pretrained(whisper).eval().encoder
    signal = Signal(torch.randn(1, 64000), torch.tensor([64000]))
    with torch.no_grad():
        mel, _ = encoder.mel_frames(signal)
        torch.testing.assert_close(encoder(signal).data, theirs(mel).last_hidden_state, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("override", "text"), [
    ("heads=2", r"audio\.encoder\.heads is 2, but config\.json encoder_attention_heads of .* states 3"),
    ("hop=80", r"audio\.encoder\.hop is 80, but the architecture of .* states 160")])
def test_size_that_the_folder_contradicts_names_both(whisper: Path, override: str, text: str) -> None:
    with pytest.raises(PlanError, match=text):
        compose("llama_omni/tiny", [f"audio.encoder.weights={whisper}", f"audio.encoder.{override}"])


def test_folder_of_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "wav2vec2"}')
    with pytest.raises(PlanError, match=r"model_type 'wav2vec2', but encoder whisper is built with 'whisper'"):
        compose("llama_omni/tiny", [f"audio.encoder.weights={tmp_path}"])


def test_config_that_is_not_json_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(PlanError, match=r"audio\.encoder\.weights: .*config\.json is not JSON"):
        compose("llama_omni/tiny", [f"audio.encoder.weights={tmp_path}"])


def test_published_internvit_gives_its_sizes(tmp_path: Path) -> None:
    vision = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96, "patch_size": 8,
              "image_size": 64, "norm_type": "rms_norm", "layer_norm_eps": 1e-5, "qkv_bias": False, "qk_normalization": True}
    (tmp_path / "config.json").write_text(json.dumps({"vision_config": vision}))
    save_file({"vision_model.encoder.layers.0.ls1": torch.zeros(48)}, tmp_path / "model.safetensors")  # as far as headers go
    plan = make(compose("vita_1_5/tiny", ["vision/encoder=internvit", f"vision.encoder.weights={tmp_path}"]))
    encoder = plan.inputs["vision"].encoder
    assert (encoder.dim, encoder.layers, encoder.ffn, encoder.norm, encoder.qkv_bias, encoder.qk_norm) == (
        48, 2, 96, "rms", False, True)


def test_folders_are_read_without_torch(whisper: Path) -> None:
    code = (f"import sys\nfrom omnikit.plan.plan import make\nfrom omnikit.recipe.compose import compose\n"
            f"make(compose('llama_omni/tiny', ['audio.encoder.weights={whisper}']))\n"
            "assert not {'torch', 'transformers'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True)
