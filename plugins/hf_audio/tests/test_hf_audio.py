"""Audio encoders against transformers' own, from folders that it wrote: outputs, lengths, batches, and what is refused."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omnikit_hf_audio.config import HfAudio
from omnikit_hf_audio.families import FAMILIES, TYPES
from omnikit_hf_audio.features import pairs_of_mel, patches_of_mel, standardised
from omnikit_hf_audio.model import HfAudioEncoder, warn_cut
from omnikit_hf_audio.weights import MODELS
from transformers import (
    ASTFeatureExtractor,
    ASTForAudioClassification,
    HubertForCTC,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertForCTC,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForPreTraining,
    WavLMForCTC,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperModel,
)
from transformers.modeling_utils import PreTrainedModel

from omnikit import registry
from omnikit.contracts.configs import EncoderConfig
from omnikit.contracts.optional import without_weight_files
from omnikit.contracts.types import Features, Signal
from omnikit.errors import DataError, RunError
from omnikit.recipe import presets
from omnikit.recipe.compose import compose
from omnikit.recipe.schema import construct

SMALL = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
WAVES = {**SMALL, "conv_dim": [8] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "vocab_size": 12}
STABLE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "wav2vec2": ("wav2vec2", WAVES), "wav2vec2 large": ("wav2vec2", {**WAVES, **STABLE}),
    "hubert": ("hubert", WAVES), "hubert large": ("hubert", {**WAVES, **STABLE}),
    "wavlm": ("wavlm", {**WAVES, "num_buckets": 16, "max_bucket_distance": 40}),
    "wavlm large": ("wavlm", {**WAVES, **STABLE, "conv_bias": False}),
    "w2v_bert": ("w2v_bert", {**SMALL, "left_max_position_embeddings": 5, "right_max_position_embeddings": 3, "vocab_size": 12,
                              "conv_depthwise_kernel_size": 5}),
    "whisper": ("whisper", {"d_model": 16, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 24,
                            "decoder_layers": 1, "decoder_ffn_dim": 8, "decoder_attention_heads": 1, "vocab_size": 12,
                            "max_source_positions": 50, "num_mel_bins": 20, "pad_token_id": 0, "bos_token_id": 1,
                            "eos_token_id": 2, "decoder_start_token_id": 1}),
    "ast": ("ast", {**SMALL, "max_length": 64, "num_mel_bins": 32, "patch_size": 8}),
}
TOLERANCE = 1e-4  # of values of about 1: waveforms, mel frames and sums in another order, all float32
VARIABLE = [name for name in CASES if name not in ("whisper", "ast")]
HEADED = {"wav2vec2": Wav2Vec2ForPreTraining, "hubert": HubertForCTC, "wavlm": WavLMForCTC, "w2v_bert": Wav2Vec2BertForCTC,
          "whisper": WhisperForConditionalGeneration, "ast": ASTForAudioClassification}


def noisy(model: PreTrainedModel) -> PreTrainedModel:
    """Let no weight be zero or one."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(0.05 * torch.randn_like(parameter) if "embed_positions" not in name else 0.0)
    return model.eval()


def original(case: str, **changes: object) -> PreTrainedModel:
    family, sizes = CASES[case]
    torch.manual_seed(1)
    model = WhisperModel if family == "whisper" else MODELS[family][1]
    return noisy(model(MODELS[family][0](**{**sizes, **changes})))


def extractor(case: str) -> Any:
    family, sizes = CASES[case]
    if family == "whisper":
        return WhisperFeatureExtractor(feature_size=sizes["num_mel_bins"], chunk_length=1)
    if family == "ast":
        return ASTFeatureExtractor(num_mel_bins=sizes["num_mel_bins"], max_length=sizes["max_length"])
    return SeamlessM4TFeatureExtractor(padding_value=1) if family == "w2v_bert" else Wav2Vec2FeatureExtractor()


def saved(case: str, model: PreTrainedModel, folder: Path) -> str:
    model.save_pretrained(folder)
    extractor(case).save_pretrained(folder)
    return str(folder)


def signal(*lengths: int) -> Signal:
    """Random rows; what lies beyond a row's end is loud, so that a leak shows."""
    data = 0.1 * torch.randn(len(lengths), max(lengths), generator=torch.Generator().manual_seed(0))
    for row, length in enumerate(lengths):
        data[row, length:] = 1.0
    return Signal(data, torch.tensor(lengths))


def ours(encoder: HfAudioEncoder, rows: Signal) -> Features:
    with torch.no_grad():
        return encoder.eval()(rows)


def theirs(case: str, model: PreTrainedModel, samples: int, **options: object) -> Any:
    """What transformers gives for one clip, prepared by its own feature extractor."""
    inputs = extractor(case)(signal(samples).data[0].numpy(), sampling_rate=16000, return_tensors="pt")
    inputs = {name: value.float() if value.is_floating_point() else value for name, value in inputs.items()}
    with torch.no_grad():
        return (model.encoder if CASES[case][0] == "whisper" else model)(**inputs, **options)


@pytest.mark.parametrize("samples", [7000, 7160, 12345])
@pytest.mark.parametrize("case", CASES)
def test_features_equal_the_librarys_last_hidden_state(tmp_path: Path, case: str, samples: int) -> None:
    model = original(case)
    config = HfAudio(weights=saved(case, model, tmp_path))
    found = ours(config.build(), signal(samples))
    expected = theirs(case, model, samples).last_hidden_state
    expected = expected[:, 2 if case == "ast" else 0:][:, :config.length(samples)]
    torch.testing.assert_close(found.data, expected, atol=TOLERANCE, rtol=0)  # waveforms and mel frames in float32
    assert found.data.shape == (1, config.length(samples), config.output.dim) == (1, *expected.shape[1:])
    assert (found.lengths.tolist(), found.rate) == ([config.length(samples)], config.output.rate)


@pytest.mark.parametrize("case", CASES)
def test_features_of_the_same_inputs_are_equal_to_the_last_bit(tmp_path: Path, case: str,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    from omnikit_hf_audio import model as module

    reference = original(case)
    encoder = HfAudio(weights=saved(case, reference, tmp_path)).build()
    inputs = extractor(case)(signal(7600).data[0].numpy(), sampling_rate=16000, return_tensors="pt")
    values = torch.as_tensor(inputs["input_values"] if "input_values" in inputs else inputs["input_features"]).float()
    for name in ("standardised", "log_mel", "patches_of_mel", "pairs_of_mel"):
        monkeypatch.setattr(module, name, lambda *_: values)
    expected = theirs(case, reference, 7600).last_hidden_state[:, 2 if case == "ast" else 0:]
    assert torch.equal(ours(encoder, signal(7600)).data, expected)


@pytest.mark.parametrize("case", ["whisper", "ast"])
def test_features_of_a_waveform_are_equal_to_the_last_bit(tmp_path: Path, case: str) -> None:
    model = original(case)
    encoder = HfAudio(weights=saved(case, model, tmp_path)).build()
    expected = theirs(case, model, 7000).last_hidden_state[:, 2 if case == "ast" else 0:]
    assert torch.equal(ours(encoder, signal(7000)).data, expected)


@pytest.mark.parametrize("case", CASES)
def test_chosen_layers_equal_the_librarys_hidden_states(tmp_path: Path, case: str) -> None:
    model = original(case)
    config = HfAudio(weights=saved(case, model, tmp_path), feature_layers=(0, -2, 1), class_token=case == "ast")
    encoder = config.build()
    states = theirs(case, model, 7600, output_hidden_states=True).hidden_states
    expected = torch.cat([states[0], states[2], states[1]], dim=-1)
    torch.testing.assert_close(ours(encoder, signal(7600)).data, expected, atol=TOLERANCE, rtol=0)
    assert config.output.dim == expected.shape[2] and not any("layers.2." in name and "conv" not in name
                                                              for name in encoder.state_dict())


@pytest.mark.parametrize("case", ["wav2vec2 large", "wavlm large", "ast"])
def test_last_layer_without_the_final_norm(tmp_path: Path, case: str) -> None:
    model = original(case)
    config = HfAudio(weights=saved(case, model, tmp_path), final_norm=False)
    expected = theirs(case, model, 7600, output_hidden_states=True).hidden_states[-1][:, 2 if case == "ast" else 0:]
    torch.testing.assert_close(ours(config.build(), signal(7600)).data, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_row_alone_equals_row_in_a_batch(tmp_path: Path, case: str) -> None:
    lengths = (9000, 4567, 1200, 9000)
    encoder = HfAudio(weights=saved(case, original(case), tmp_path)).build()
    rows = signal(*lengths)
    together = ours(encoder, rows)
    assert together.lengths.tolist() == [encoder.config.length(length) for length in lengths]
    for row, length in enumerate(lengths):
        alone = ours(encoder, Signal(rows.data[row:row + 1, :length], torch.tensor([length])))
        found = together.data[row, :alone.data.shape[1]]
        torch.testing.assert_close(found, alone.data[0], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("case", VARIABLE)
@pytest.mark.parametrize("frames", [1, 2, 3, 17])
def test_length_is_exact_at_every_border(case: str, frames: int, tmp_path: Path) -> None:
    config = HfAudio(weights=saved(case, original(case), tmp_path))
    encoder = config.build()
    shortest = config.encoder.shortest + (frames - 1) * config.encoder.step
    counts = [ours(encoder, signal(samples)).data.shape[1] for samples in (shortest, shortest + config.encoder.step - 1)]
    assert counts == [frames, frames] == [config.length(shortest), config.length(shortest + config.encoder.step - 1)]


def test_length_is_the_librarys(tmp_path: Path) -> None:
    model = original("wav2vec2")
    config = HfAudio(weights=saved("wav2vec2", model, tmp_path))
    samples = torch.arange(400, 5000, 7)
    assert [config.length(count) for count in samples.tolist()] == model._get_feat_extract_output_lengths(samples).tolist()


def test_clip_without_a_feature_is_a_sentence() -> None:
    with pytest.raises(DataError, match="has 399 samples, but hf_audio's wav2vec2 needs at least 400; leave the row out"):
        HfAudio().length(399)  # kernels 10, 3, 3, 3, 3, 2, 2
    with pytest.raises(DataError, match="A clip has 0 samples, but hf_audio's ast needs at least 1"):
        HfAudio(family="ast").length(0)


@pytest.mark.parametrize("family", FAMILIES)
def test_row_without_a_feature_stays_finite(family: str) -> None:
    out = ours(HfAudio(family=family).build(), Signal(torch.randn(2, 1000), torch.tensor([1000, 0])))
    assert out.data.isfinite().all() and out.lengths[0] == HfAudio(family=family).length(1000)


def test_waveforms_are_standardised_as_by_the_library() -> None:
    rows = signal(5000, 3000)
    expected = Wav2Vec2FeatureExtractor(return_attention_mask=True)(
        [rows.data[0].numpy(), rows.data[1, :3000].numpy()], padding=True, sampling_rate=16000, return_tensors="pt")
    torch.testing.assert_close(standardised(rows.data, rows.lengths), expected["input_values"], atol=2e-6, rtol=0)


def test_mel_pairs_are_the_librarys() -> None:
    rows = signal(5000, 3170)
    clips = [rows.data[0].numpy(), rows.data[1, :3170].numpy()]
    expected = SeamlessM4TFeatureExtractor()(clips, sampling_rate=16000, return_tensors="pt")
    found = pairs_of_mel(rows.data, rows.lengths)
    mask = expected["attention_mask"].bool()[:, :found.shape[1]]  # its last one is half of padding, and masked
    assert mask.sum(dim=1).tolist() == [14, 9] and expected["attention_mask"].sum() == 23
    torch.testing.assert_close(found[mask], expected["input_features"].float()[:, :found.shape[1]][mask], atol=1e-4, rtol=0)


def test_mel_patches_are_the_librarys_to_the_last_bit() -> None:
    rows, encoder = signal(30000, 3000), HfAudio(family="ast", frames=64, mel_bins=32).encoder
    expected = ASTFeatureExtractor(num_mel_bins=32, max_length=64)([rows.data[0].numpy(), rows.data[1, :3000].numpy()],
                                                                   sampling_rate=16000, return_tensors="pt")
    assert torch.equal(patches_of_mel(rows.data, rows.lengths, encoder)[0], expected["input_values"][0])
    assert torch.equal(patches_of_mel(rows.data, rows.lengths, encoder)[1], expected["input_values"][1])


@pytest.mark.parametrize("case", ["wav2vec2", "hubert large", "wavlm", "w2v_bert", "whisper", "ast"])
def test_a_folder_of_a_larger_model_gives_its_encoder(tmp_path: Path, case: str) -> None:
    family, sizes = CASES[case]
    torch.manual_seed(0)
    model = noisy(HEADED[family](MODELS[family][0](**sizes)))
    encoder = HfAudio(weights=saved(case, model, tmp_path)).build()
    inside = model.get_encoder() if family == "whisper" else model.base_model
    inputs = extractor(case)(signal(7600).data[0].numpy(), sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        expected = inside(**{name: torch.as_tensor(value) for name, value in inputs.items()}).last_hidden_state
    expected = expected[:, 2 if case == "ast" else 0:]
    torch.testing.assert_close(ours(encoder, signal(7600)).data, expected, atol=TOLERANCE, rtol=0)


def test_weight_norm_of_old_checkpoints_loads(tmp_path: Path) -> None:
    model = original("wav2vec2")
    folder = saved("wav2vec2", model, tmp_path)
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    state = model.state_dict()
    for new, old in names.items():
        state = {name.replace(new, old): tensor for name, tensor in state.items()}
    (tmp_path / "model.safetensors").unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    torch.testing.assert_close(ours(HfAudio(weights=folder).build(), signal(7600)).data,
                               theirs("wav2vec2", model, 7600).last_hidden_state, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("case", ["whisper", "ast"])
def test_longer_clips_are_cut_as_by_the_library_and_it_is_logged(tmp_path: Path, case: str,
                                                                 caplog: pytest.LogCaptureFixture) -> None:
    warn_cut.cache_clear()
    model = original(case)
    encoder = HfAudio(weights=saved(case, model, tmp_path)).build()
    expected = theirs(case, model, 40000).last_hidden_state[:, 2 if case == "ast" else 0:]
    assert torch.equal(ours(encoder, signal(40000)).data, expected)
    assert re.search(rf"hf_audio's {case} cuts clips to [\d.]+ s", caplog.text)


@pytest.mark.parametrize(("case", "changes", "fields", "words"), [
    ("wav2vec2", {}, {"dim": 32}, "dim is 32, but config.json of .* states 16; leave dim out or give another folder"),
    ("wav2vec2", {"model_type": "data2vec-audio"}, {}, "has model_type 'data2vec-audio', but hf_audio builds wav2vec2, hubert"),
    ("wav2vec2", {"add_adapter": True}, {}, "has add_adapter True, but hf_audio builds encoders with False alone"),
    ("w2v_bert", {"position_embeddings_type": "rotary"}, {}, "position_embeddings_type 'rotary', but .* 'relative_key' alone"),
    ("wavlm", {"conv_stride": [5, 2]}, {}, r"strides \[5, 2\], but each needs one number of at least 1 for each convolution"),
    ("hubert", {"do_stable_layer_norm": 1}, {}, "has do_stable_layer_norm 1, but it must be like False"),
    ("hubert", {"layer_norm_eps": float("inf")}, {}, "has layer_norm_eps inf, but it must be a finite number above 0"),
    ("ast", {"num_attention_heads": 5}, {}, "heads is 5, but must divide dim, which is 16"),
])
def test_what_a_config_json_cannot_be_is_a_sentence(tmp_path: Path, case: str, changes: dict[str, object],
                                                    fields: dict[str, Any], words: str) -> None:
    folder, path = saved(case, original(case), tmp_path), tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ValueError, match=words):
        HfAudio(weights=folder, **fields)


@pytest.mark.parametrize(("case", "changes", "words"), [
    ("wav2vec2", {"sampling_rate": 8000}, "has sampling_rate 8000, but waveforms are prepared for this encoder with 16000"),
    ("whisper", {"chunk_length": 30}, "has chunk_length 30, but waveforms are prepared for this encoder with 1.0"),
    ("w2v_bert", {"stride": 1}, "has stride 1, but waveforms are prepared for this encoder with 2"),
    ("ast", {"max_length": 1024}, "has max_length 1024, but waveforms are prepared for this encoder with 64"),
])
def test_other_preparations_are_refused(tmp_path: Path, case: str, changes: dict[str, object], words: str) -> None:
    folder, path = saved(case, original(case), tmp_path), tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ValueError, match=words):
        HfAudio(weights=folder)


def test_a_folder_states_whether_waveforms_are_standardised(tmp_path: Path) -> None:
    original("wavlm").save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path)
    assert HfAudio(weights=str(tmp_path)).normalize is False


@pytest.mark.parametrize(("fields", "words"), [
    ({"feature_layers": (3,)}, "feature_layers is [3], but must be from 1 to 2, or from -2 to -1"),
    ({"feature_layers": ()}, "must name at least one layer"),
    ({"class_token": True}, "class_token is true, but encoders of family wav2vec2 have none"),
    ({"positions": 100}, "positions is 100, but only encoders of whisper have it, and this one is wav2vec2"),
    ({"family": "whisper", "normalize": True}, "but only encoders of wav2vec2 and hubert and wavlm have it"),
    ({"conv_norm": "batch"}, "conv_norm is 'batch', but must be group or layer"),
    ({"position_groups": 3}, "position_groups is 3, but must divide dim, which is 64"),
    ({"family": "ast", "frames": 8}, "patch is 16, but must be at most mel_bins, 32, and frames, 8"),
    ({"family": "w2v_bert", "depthwise_kernel": 4}, "depthwise_kernel is 4, but must be odd"),
    ({"dropout": 1.0}, "dropout is 1.0, but must be at least 0 and below 1"),
])
def test_settings_that_cannot_be_are_a_sentence(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        HfAudio(**fields)


@pytest.mark.parametrize(("key", "shape", "words"), [
    ("encoder.layers.0.attention.q_proj.bias", None, "encoder.layers.0.attention.q_proj.bias is missing; give a complete"),
    ("encoder.layers.9.attention.q_proj.bias", (16,), "encoder.layers.9.attention.q_proj.bias is unexpected"),
    ("feature_projection.projection.bias", (3,), "feature_projection.projection.bias has the shape [3], but the configuration"),
])
def test_weights_that_do_not_fit_are_a_sentence(tmp_path: Path, key: str, shape: tuple[int, ...] | None, words: str) -> None:
    model = original("wav2vec2")
    folder, state = saved("wav2vec2", model, tmp_path), model.state_dict()
    state.pop(key, None)
    (tmp_path / "model.safetensors").unlink()
    torch.save({**state, **({key: torch.zeros(shape)} if shape else {})}, tmp_path / "pytorch_model.bin")
    with pytest.raises(RunError, match=re.escape(words)):
        HfAudio(weights=folder).build()


@pytest.mark.parametrize("case", CASES)
def test_settled_fields_build_the_encoder_without_the_folder(tmp_path: Path, case: str) -> None:
    config = HfAudio(weights=saved(case, original(case), tmp_path))
    alone = without_weight_files(config)
    encoder, reference = alone.build(), config.build()
    assert alone.encoder == config.encoder
    encoder.load_state_dict(reference.state_dict())
    assert torch.equal(ours(encoder, signal(7600)).data, ours(reference, signal(7600)).data)


TINY = ["wav2vec2_tiny_random", "hubert_tiny_random", "wavlm_tiny_random", "w2v_bert_tiny_random", "hf_whisper_tiny_random",
        "ast_tiny_random"]
PUBLISHED = {  # parameters in millions: papers and model cards, without quantisers, heads and decoders
    "wav2vec2_base": (768, 94), "wav2vec2_large_lv60": (1024, 316), "hubert_base": (768, 94), "hubert_xlarge": (1280, 962),
    "wavlm_base_plus": (768, 94), "wavlm_large": (1024, 316), "w2v_bert_2": (1024, 580), "hf_whisper_large_v3": (1280, 637),
    "ast_audioset_10_10": (768, 86)}


def preset(name: str) -> HfAudio:
    values = presets.preset_fields("encoder", name)
    config = registry.component("encoder", values.pop("use"))(**values)
    assert isinstance(config, HfAudio) and isinstance(config, EncoderConfig)
    return config


@pytest.mark.parametrize("name", [*TINY, *PUBLISHED])
def test_footprint_counts_every_parameter(name: str) -> None:
    config = preset(name)
    with torch.device("meta"):
        encoder = config.build()
    assert config.footprint().parameters == sum(parameter.numel() for parameter in encoder.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_preset_has_the_published_size(name: str) -> None:
    config, (width, millions) = preset(name), PUBLISHED[name]
    assert config.output.dim == width
    assert config.footprint().parameters / 1e6 == pytest.approx(millions, rel=0.02)


@pytest.mark.parametrize("name", TINY)
def test_every_parameter_of_a_tiny_encoder_learns(name: str) -> None:
    torch.manual_seed(0)
    encoder = preset(name).build().train()
    out = encoder(signal(16000, 9000))
    valid = torch.arange(out.data.shape[1]) < out.lengths[:, None]
    (out.data.square().mul(torch.arange(64)).mean(dim=2) * valid).sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_encoder_gives_bfloat16(family: str) -> None:
    assert ours(HfAudio(family=family).build().to(torch.bfloat16), signal(8000)).data.dtype == torch.bfloat16


@pytest.mark.parametrize("kind", TYPES)
def test_defaults_are_the_librarys(kind: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    config, built = HfAudio(weights=str(tmp_path)), MODELS[TYPES[kind]][0]()
    names = FAMILIES[TYPES[kind]]
    found = {theirs: np.array(getattr(config, ours)).tolist() for ours, (theirs, _) in names.items()}
    assert found == {theirs: np.array(getattr(built, theirs)).tolist() for theirs, _ in names.values()}


def test_a_folder_replaces_the_sizes_of_a_preset_and_a_run_holds_them(tmp_path: Path) -> None:
    folder = saved("w2v_bert", original("w2v_bert"), tmp_path)
    recipe = compose("llama_omni/tiny", ["audio/encoder=wav2vec2_base", f"audio.encoder.weights={folder}"])
    fields = recipe.branches["audio"]["encoder"].fields
    assert (fields["family"], fields["dim"], fields["depthwise_kernel"], fields["conv_dim"]) == ("w2v_bert", 16, 5, None)
    errors: list[str] = []
    moved = construct(HfAudio, {**fields, "weights": "/gone"}, "audio.encoder", errors)
    assert errors == [] and moved is not None and moved.encoder == HfAudio(weights=folder).encoder


def test_an_encoder_is_built_after_one_without_weights_in_a_new_process() -> None:
    code = ("import torch; from omnikit.contracts.types import Signal;"
            " from omnikit_hf_audio.config import HfAudio; config = HfAudio(family='ast');"
            " torch.device('meta').__enter__(); config.build(); torch.device('cpu').__enter__();"
            " signal = Signal(torch.ones(1, 16000), torch.tensor([16000])); print(config.build().eval()(signal).data.device)")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "cpu", found.stderr
