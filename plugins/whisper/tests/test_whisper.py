"""The Whisper encoder: against transformers' own, and rows that do not see their padding."""

import json
import re
from pathlib import Path

import pytest
import torch
from omnikit_whisper.config import Whisper
from omnikit_whisper.mel import blank
from omnikit_whisper.model import WhisperEncoder, warn_cut
from safetensors.torch import save_file
from torch.testing import assert_close
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

from omnikit import registry
from omnikit.contracts.configs import EncoderConfig
from omnikit.contracts.types import Signal
from omnikit.errors import DataError, RunError
from omnikit.recipe import presets

TINY = {"dim": 16, "layers": 2, "heads": 2, "ffn": 24, "mel_bins": 80}


def waves(*lengths: int) -> Signal:
    """Random rows; what lies beyond a row's end is loud, so that a leak shows."""
    data = 0.1 * torch.randn(len(lengths), max(lengths), generator=torch.Generator().manual_seed(0))
    for row, length in enumerate(lengths):
        data[row, length:] = 1.0
    return Signal(data, torch.tensor(lengths))


def tiny(**fields: object) -> WhisperEncoder:
    torch.manual_seed(0)
    return Whisper(**{**TINY, **fields}).build().eval()


def original(positions: int) -> WhisperModel:
    torch.manual_seed(1)
    config = WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=24, num_mel_bins=80,
        max_source_positions=positions, decoder_layers=1, decoder_ffn_dim=8, decoder_attention_heads=1, vocab_size=8,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    return WhisperModel(config).eval()


def save(model: WhisperModel, folder: Path, prefix: str = "") -> str:
    save_file({prefix + name: tensor.contiguous() for name, tensor in model.state_dict().items()},
              folder / "model.safetensors")  # fmt: skip
    return str(folder)


@pytest.mark.parametrize("prefix", ["", "model."], ids=["WhisperModel", "ForConditionalGeneration"])
def test_padded_encoder_equals_transformers(tmp_path: Path, prefix: str) -> None:
    model = original(1500)
    encoder = tiny(seconds=30.0, weights=save(model, tmp_path, prefix))
    signal = waves(9000)
    features = WhisperFeatureExtractor()(signal.data[0].numpy(), sampling_rate=16000, return_tensors="pt").input_features
    out = encoder(signal)
    with torch.no_grad():
        assert_close(out.data, model.encoder(features).last_hidden_state, atol=1e-4, rtol=0)  # float32, two mel paths
    assert (out.lengths.tolist(), out.rate) == ([1500], None)


def test_clip_that_fills_the_window_and_one_beyond_equal_transformers(tmp_path: Path) -> None:
    encoder = tiny(seconds=2.0, positions=100, weights=save(original(100), tmp_path))
    extract = WhisperFeatureExtractor(chunk_length=2)
    for samples in (32000, 40000):
        signal = waves(samples)
        expected = extract(signal.data[0].numpy(), sampling_rate=16000, return_tensors="pt").input_features
        assert_close(encoder.mel_frames(signal)[0], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("samples", [1, 150, 320, 321, 4000, 16001])
def test_true_length_is_exact(samples: int) -> None:
    encoder = tiny()
    out = encoder(waves(samples))
    assert out.lengths.tolist() == [encoder.config.length(samples)] == [out.data.shape[1]]
    assert (out.rate, out.data.shape[2]) == (encoder.config.output.rate, encoder.config.output.dim)
    assert out.data.isfinite().all()


def test_true_length_is_transformers_on_that_many_positions(tmp_path: Path) -> None:
    model = original(25)
    out = tiny(positions=25, weights=save(model, tmp_path))(waves(8000))
    features = WhisperFeatureExtractor(chunk_length=1)(waves(8000).data[0].numpy(), sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        assert_close(out.data, model.encoder(features.input_features[..., :50]).last_hidden_state, atol=1e-4, rtol=0)


def test_row_alone_equals_row_in_batch() -> None:
    encoder, lengths = tiny(), (16000, 7777, 300)
    together = encoder(waves(*lengths))
    for row, length in enumerate(lengths):
        alone = encoder(Signal(waves(*lengths).data[row : row + 1, :length], torch.tensor([length])))
        assert_close(together.data[row, : alone.lengths[0]], alone.data[0], atol=1e-5, rtol=1e-5)  # float32 noise
        assert together.lengths[row] == alone.lengths[0]


def test_row_without_samples_stays_finite() -> None:
    assert tiny()(Signal(torch.zeros(2, 800), torch.tensor([800, 0]))).data.isfinite().all()


def test_large_v3_has_the_size_of_the_original() -> None:
    with torch.device("meta"):
        encoder = Whisper(dim=1280, layers=32, heads=20, ffn=5120, mel_bins=128, weights="nowhere").build()
        config = WhisperConfig(d_model=1280, encoder_layers=32, encoder_attention_heads=20, encoder_ffn_dim=5120,
                               num_mel_bins=128, decoder_layers=1, decoder_attention_heads=20)  # fmt: skip
        theirs = {name: tensor.shape for name, tensor in WhisperModel(config).encoder.state_dict().items()}
    assert {name: tensor.shape for name, tensor in encoder.state_dict().items()} == theirs
    assert sum(p.numel() for p in encoder.parameters()) == sum(map(torch.Size.numel, theirs.values())) - 1500 * 1280


def test_every_parameter_learns_and_positions_are_none() -> None:
    encoder = tiny(dropout=0.1, time_masks=1, frequency_masks=1, gain_db=6.0).train()
    encoder(waves(9000, 5000)).data.square().mean().backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert "embed_positions.weight" in encoder.state_dict() and "embed_positions.weight" not in dict(encoder.named_parameters())


def test_augmentation_happens_in_training_only() -> None:
    encoder = tiny(time_masks=2, frequency_masks=2, gain_db=6.0)
    assert torch.equal(encoder.mel_frames(waves(8000))[0], encoder.mel_frames(waves(8000))[0])
    encoder.train()
    assert not torch.equal(encoder.mel_frames(waves(8000))[0], encoder.mel_frames(waves(8000))[0])


def test_gain_moves_the_mel_by_at_most_its_decibels() -> None:
    plain, jittered = tiny(), tiny(gain_db=6.0).train()
    difference = jittered.mel_frames(waves(8000, 8000))[0] - plain.mel_frames(waves(8000, 8000))[0]
    per_row = difference.flatten(1)
    assert per_row.abs().max() <= 6.0 / 10 / 4 + 1e-4  # decibels to log10 of power, over the scale of 4
    assert_close(per_row.std(dim=1), torch.zeros(2), atol=1e-4, rtol=0)  # one gain for the whole row
    assert (per_row[0, 0] - per_row[1, 0]).abs() > 1e-3


def test_blanked_stretches_are_no_wider_than_asked() -> None:
    torch.manual_seed(0)
    widths = (blank(torch.ones(500, 8, 30), 2, 1, 4) == 0).all(dim=1).sum(dim=1)  # zeros in each row
    assert sorted(widths.unique().tolist()) == [0, 1, 2, 3, 4]


def test_bfloat16_encoder_makes_mel_frames_in_float32() -> None:
    mel = tiny().mel_frames(waves(8000))[0]
    half = tiny().to(torch.bfloat16)
    assert torch.equal(half.mel_frames(waves(8000))[0], mel)
    assert half(waves(8000)).data.dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_equals_transformers_whose_norms_run_in_it_too(tmp_path: Path, dtype: torch.dtype) -> None:
    reference = original(50)
    reference.save_pretrained(tmp_path)
    encoder = tiny(weights=str(tmp_path), positions=50, seconds=1.0).to(dtype)
    mel, lengths = encoder.mel_frames(waves(8000))
    with torch.no_grad():
        expected = reference.encoder.to(dtype)(mel.to(dtype)).last_hidden_state
        found = encoder.encode(mel, lengths)
    assert found.dtype == dtype
    assert_close(found, expected, atol=8 * torch.finfo(dtype).eps, rtol=0)  # values of about 1, a few roundings


def test_config_keeps_the_contract() -> None:
    assert isinstance(Whisper(), EncoderConfig)
    assert (Whisper().output.rate, Whisper().output.count) == (50, None)
    assert (Whisper(seconds=30.0).output.rate, Whisper(seconds=30.0).output.count) == (None, 1500)
    assert Whisper(seconds=30.0).length(1) == 1500


def test_cut_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    warn_cut.cache_clear()
    encoder = tiny(seconds=1.0)
    for _ in range(2):
        encoder(waves(24_000))
    assert [record.getMessage() for record in caplog.records] == [
        "whisper cuts clips to 1 s, its field `seconds`; what follows is dropped."]


def test_contract_of_a_clip_that_is_cut_is_silent(recwarn: pytest.WarningsRecorder) -> None:
    assert Whisper(seconds=30.0).length(480_001) == 1500
    assert not recwarn.list


@pytest.mark.parametrize(
    ("samples", "message"), [(0, "has no samples"), (480_001, r"30\.00 s long, but whisper's 1500 positions hold 30 s")]
)
def test_clip_that_does_not_fit_is_a_sentence(samples: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Whisper().length(samples)


def test_module_refuses_more_than_its_positions() -> None:
    with pytest.raises(DataError, match="gives 26 frames, but whisper's positions end at 25"):
        tiny(positions=25)(waves(8001))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layers": 0}, "layers is 0, but must be at least 1"),
        ({"heads": 3}, "heads is 3, but must divide dim, which is 128"),
        ({"dim": 2, "heads": 1}, "dim is 2, but must be even and at least 4"),
        ({"seconds": 31.0}, "seconds is 31, but must be above 0 and at most 30"),
        ({"dropout": -0.1}, "dropout is -0.1, but must be"),
        ({"gain_db": -1.0}, "gain_db is -1.0, but must be at least 0"),
    ],
)
def test_impossible_value_is_a_sentence(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Whisper(**fields)


def test_sharded_weights_load(tmp_path: Path) -> None:
    model = original(25)
    tensors = list(model.state_dict().items())
    half = len(tensors) // 2
    save_file(dict(tensors[:half]), tmp_path / "a.safetensors")
    save_file(dict(tensors[half:]), tmp_path / "b.safetensors")
    names = {name: "a.safetensors" if i < half else "b.safetensors" for i, (name, _) in enumerate(tensors)}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    encoder = tiny(positions=25, weights=str(tmp_path))
    assert_close(encoder.state_dict(), dict(model.encoder.state_dict()), check_stride=False)


def test_weights_that_are_not_there_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=re.escape(str(tmp_path)) + " holds no weights: .* shards; whisper's field `weights`"):
        tiny(weights=str(tmp_path))


def test_weights_of_another_size_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"conv1\.weight has the shape \[16, 80, 3\], but .* \[32, 80, 3\] .* more"):
        tiny(dim=32, positions=25, weights=save(original(25), tmp_path))


def test_broken_weights_are_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"half a file")
    with pytest.raises(RunError, match=r"model\.safetensors is not a whole safetensors file"):
        tiny(weights=str(tmp_path))


@pytest.mark.parametrize(
    ("preset", "sizes"),  # width, layers, heads, mel bins: table 1 of arXiv:2212.04356; large v3 takes 128 bins
    [
        ("whisper_tiny", (384, 4, 6, 80)),
        ("whisper_base", (512, 6, 8, 80)),
        ("whisper_small", (768, 12, 12, 80)),
        ("whisper_medium", (1024, 24, 16, 80)),
        ("whisper_large_v2", (1280, 32, 20, 80)),
        ("whisper_large_v3", (1280, 32, 20, 128)),
    ],
)
def test_preset_has_the_published_size(preset: str, sizes: tuple[int, ...]) -> None:
    values = presets.preset_fields("encoder", preset)
    config = registry.component("encoder", values.pop("use"))(**values)
    assert (config.dim, config.layers, config.heads, config.mel_bins) == sizes
    assert (config.ffn, config.output.count) == (4 * config.dim, 1500)


def test_tiny_preset_keeps_true_lengths_and_augments() -> None:
    values = presets.preset_fields("encoder", "whisper_tiny_random")
    assert (values["dim"], values["layers"], values["heads"], values["seconds"]) == (128, 3, 4, None)
    assert values["time_masks"] and values["frequency_masks"] and values["gain_db"]


def test_other_steps_give_the_promised_length_and_keep_padding_out() -> None:
    config = Whisper(dim=16, layers=1, heads=2, ffn=32, hop=320, kernel=7, strides=(2, 2))
    encoder, wave = config.build().eval(), torch.randn(2, 9000, generator=torch.Generator().manual_seed(0))
    both = encoder(Signal(wave, torch.tensor([9000, 5000])))
    alone = encoder(Signal(wave[1:, :5000], torch.tensor([5000])))
    assert both.lengths.tolist() == [config.length(9000), config.length(5000)] == [8, 4]  # ceil(samples / 1280)
    torch.testing.assert_close(both.data[1, :4], alone.data[0], atol=2e-5, rtol=1e-4)  # float32 sums in another order
