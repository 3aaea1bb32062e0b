"""LLaMA-Omni's published files, read: every layout gives the same model."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import llama_omni_checkpoint as original
import pytest
import torch
from llama_omni_checkpoint import assert_same
from omnikit_llama_omni.layout import LlamaOmni
from omnikit_llama_omni.vocoder import UnitVocoder
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import WhisperConfig, WhisperModel

from omnikit.errors import OmnikitError, RunError
from omnikit.plan.plan import Plan, make
from omnikit.recipe.recipe import parse

BASE = Path("base")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with checkpoint/, whisper.pt and vocoder/."""
    monkeypatch.chdir(tmp_path)
    original.write(tmp_path / "checkpoint")
    return tmp_path


def source(folder: str = "checkpoint", **files: str) -> LlamaOmni:
    return LlamaOmni(folder, **{"vocoder": "vocoder/g_00500000", "whisper": "whisper.pt", **files})


def tensors(of: LlamaOmni) -> dict[str, dict[str, Tensor]]:
    return {part: {name: tensor.read() for name, tensor in named.items()} for part, named in of.open().tensors.items()}


def plan_of(of: LlamaOmni) -> Plan:
    return make(parse(of.recipe(), "published"))


# ---- layouts ---------------------------------------------------------------------------------------------------------


def sharded(folder: Path, suffix: str, save: Callable[[dict[str, Tensor], Path], None]) -> None:
    """Cut a checkpoint's one file in two, as transformers does."""
    whole, stem = load_file(folder / "model.safetensors"), "model" if suffix == "safetensors" else "pytorch_model"
    (folder / "model.safetensors").unlink()
    halves = [sorted(whole)[::2], sorted(whole)[1::2]]
    files = [f"{stem}-0000{number}-of-00002.{suffix}" for number in (1, 2)]
    for half, file in zip(halves, files, strict=True):
        save({name: whole[name] for name in half}, folder / file)
    index = {"weight_map": {name: file for half, file in zip(halves, files, strict=True) for name in half}}
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(("suffix", "save"), [("safetensors", save_file), ("bin", torch.save)], ids=["safetensors", "bin"])
def test_shards_are_one_checkpoint(folder: Path, suffix: str, save: Callable[[dict[str, Tensor], Path], None]) -> None:
    whole = tensors(source())
    sharded(folder / "checkpoint", suffix, save)
    assert_same(tensors(source()), whole)


def test_one_torch_file_is_a_checkpoint(folder: Path) -> None:
    whole = tensors(source())
    torch.save(load_file("checkpoint/model.safetensors"), "checkpoint/pytorch_model.bin")
    Path("checkpoint/model.safetensors").unlink()
    assert_same(tensors(source()), whole)


def test_an_old_torch_file_is_read_without_mapping(folder: Path) -> None:
    torch.save({"generator": original.vocoder()}, "old", _use_new_zipfile_serialization=False)
    assert_same(tensors(source(vocoder="old")), tensors(source(vocoder="vocoder/g_00500000")))


@pytest.mark.parametrize("prefix", ["", "model."])
def test_a_projector_alone_lies_over_its_base(folder: Path, prefix: str) -> None:
    whole = tensors(source())
    Path("checkpoint").rename(BASE)
    projector = {name: tensor for name, tensor in original.speech_parts(9).items() if "projector" in name}
    Path("projector").mkdir()
    original.write_config(Path("projector"))
    torch.save({prefix + name.removeprefix("model."): tensor for name, tensor in projector.items()},
               "projector/speech_projector.bin")
    expected = {**whole, "audio.projector": {name.split("projector.")[1]: tensor for name, tensor in projector.items()}}
    assert_same(tensors(source("projector", base="base")), expected)


def adapter(rank: int, **settings: object) -> dict[str, Tensor]:
    """Write an adapter on q_proj of layer 1, and a projector trained beside it; give A and B."""
    Path("adapter").mkdir()
    original.write_config(Path("adapter"))
    generator = torch.Generator().manual_seed(4)
    pair = {"A": torch.randn(rank, 32, generator=generator), "B": torch.randn(32, rank, generator=generator)}
    stem = "base_model.model.model.layers.1.self_attn.q_proj"
    save_file({f"{stem}.lora_{word}.weight": tensor for word, tensor in pair.items()}, "adapter/adapter_model.safetensors")
    Path("adapter/adapter_config.json").write_text(json.dumps({"r": rank, "lora_alpha": 16, **settings}))
    beside = {name: tensor for name, tensor in original.speech_parts(9).items() if "projector" in name}
    torch.save({f"base_model.model.{name}": tensor for name, tensor in beside.items()}, "adapter/non_lora_trainables.bin")
    return pair


@pytest.mark.parametrize(("settings", "scale"), [
    ({}, 16 / 4), ({"use_rslora": True}, 16 / math.sqrt(4)), ({"alpha_pattern": {"q_proj": 8}}, 8 / 4),
    ({"alpha_pattern": {"k_proj": 2, "layers.1.self_attn.q_proj": 8, "q_proj": 32}}, 8 / 4)],
    ids=["lora", "rslora", "alpha_pattern", "first pattern"])
def test_an_adapter_is_merged(folder: Path, settings: dict[str, object], scale: float) -> None:
    Path("checkpoint").rename(BASE)
    pair, base = adapter(4, **settings), load_file("base/model.safetensors")
    found, name = tensors(source("adapter", base="base")), "model.layers.1.self_attn.q_proj.weight"
    torch.testing.assert_close(found["backbone"][name], base[name] + scale * pair["B"] @ pair["A"])
    assert torch.equal(found["backbone"]["model.layers.0.self_attn.q_proj.weight"], base[name.replace("1", "0")])
    beside = original.speech_parts(9)["model.speech_projector.linear1.bias"]
    assert torch.equal(found["audio.projector"]["linear1.bias"], beside)


@pytest.mark.parametrize(("of", "message"), [
    (LlamaOmni("nowhere"), r"nowhere is not a folder"),
    (LlamaOmni("adapter", whisper="whisper.pt"), r"holds a LoRA adapter; give the folder .* with --base"),
    (LlamaOmni("checkpoint", base="checkpoint"), r"base is given, but checkpoint holds neither an adapter nor a projector"),
    (LlamaOmni("checkpoint"), r"checkpoint has no Whisper: .* with --whisper"),
    (LlamaOmni("checkpoint", whisper="vocoder/g_00500000"), r"is not a Whisper file of openai: it lacks dims"),
    (LlamaOmni("checkpoint", whisper="checkpoint"), r"is not of a Whisper: it lacks one of num_mel_bins"),
    (LlamaOmni("checkpoint", whisper="whisper.pt", vocoder="whisper.pt"), r"whisper.pt holds no mapping of names to tensors"),
], ids=["folder", "base", "no base", "whisper", "no whisper", "other folder", "vocoder"])
def test_what_cannot_be_opened_is_one_sentence(folder: Path, of: LlamaOmni, message: str) -> None:
    adapter(4)
    with pytest.raises(RunError, match=message):
        of.open()


def test_files_are_those_that_are_read(folder: Path) -> None:
    Path("whisper.pt").rename("elsewhere.pt")
    Path("checkpoint/tokenizer.json").rename("words.json")
    Path("vocoder").rename("checkpoint/vocoder")
    original.write_config(Path("checkpoint"), speech_encoder=str(folder / "elsewhere.pt"))
    Path("checkpoint/later").mkdir()
    Path("checkpoint/later/model.safetensors").touch()
    found = LlamaOmni("checkpoint", tokenizer="words.json")
    inside = ("config.json", "model.safetensors", "vocoder/config.json", "vocoder/g_00500000")
    assert set(found.files()) == {*(Path("checkpoint") / name for name in inside), folder / "elsewhere.pt", Path("words.json")}
    assert LlamaOmni("checkpoint", whisper="other.pt").files() == tuple(sorted(Path("checkpoint") / name for name in inside))


# ---- what config.json states -----------------------------------------------------------------------------------------


def test_sizes_are_the_files(folder: Path) -> None:
    plan = plan_of(source())
    backbone, head, codec, encoder = (plan.parts()[p] for p in ("backbone", "speech.head", "speech.codec", "audio.encoder"))
    assert (backbone.dim, backbone.layers, backbone.kv_heads, backbone.ffn, backbone.vocabulary) == (32, 2, 2, 48, 50)
    assert (head.layers, head.dim, head.heads, head.ffn, head.factor) == (2, 16, 2, 24, 5)
    assert (codec.units, codec.channels, codec.block_kernels, codec.duration_dim) == (12, 32, (3, 7), 6)
    assert (encoder.window, encoder.mel_bins, encoder.heads, plan.inputs["audio"].length(1)) == (40, 80, 2, 8)


def test_the_heads_positions_are_the_language_models(folder: Path) -> None:
    plan = plan_of(source())
    for key in ("rope_theta", "rope_factor", "rope_low", "rope_high", "rope_original", "rms_eps"):
        assert getattr(plan.parts()["speech.head"], key) == getattr(plan.backbone, key)
    assert plan.parts()["speech.head"].rope_factor == 8.0


def test_the_newer_transformers_names_of_rotary_settings_are_known(folder: Path) -> None:
    before = plan_of(source()).backbone
    rope = {"rope_theta": 500000.0, **original.CONFIG["rope_scaling"]}  # type: ignore[dict-item]  # a mapping, as written there
    original.write_config(Path("checkpoint"), rope_parameters=rope, rope_scaling=None, rope_theta=None)
    assert plan_of(source()).backbone == before


def test_the_width_of_heads_is_the_heads_own(folder: Path) -> None:
    original.write_config(Path("checkpoint"), head_dim=8)  # as in a Llama 3.2; the unit head has 16 / 2 by its own width
    assert plan_of(source()).parts()["speech.head"].dim == 16


@pytest.mark.parametrize(("eos", "ends"), [([46, 9, 49], (46, 9, 49)), (49, (49,)), (None, ()), (-1, ())], ids=str)
def test_answers_end_at_any_of_the_ids_that_the_config_names(folder: Path, eos: object, ends: tuple[int, ...]) -> None:
    Path("checkpoint/config.json").write_text(json.dumps({**original.CONFIG, "eos_token_id": eos}))
    assert plan_of(source()).backbone.ends == ends


def test_tied_embeddings_need_no_output_matrix(folder: Path) -> None:
    weights = original.language_model() | original.speech_parts()
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, "checkpoint/model.safetensors")
    original.write_config(Path("checkpoint"), tie_word_embeddings=True)
    assert "lm_head.weight" not in tensors(source())["backbone"]
    assert [tensor.name for tensor in source().open().ignored["backbone"]] == ["lm_head.weight"]


def test_an_output_matrix_beside_a_tied_config_is_read_where_it_differs(folder: Path) -> None:
    original.write_config(Path("checkpoint"), tie_word_embeddings=True)
    assert torch.equal(tensors(source())["backbone"]["lm_head.weight"], original.language_model()["lm_head.weight"])
    assert not plan_of(source()).backbone.tie_embeddings


def test_a_checkpoint_without_generator_only_writes(folder: Path) -> None:
    weights = {name: tensor for name, tensor in load_file("checkpoint/model.safetensors").items() if "generator" not in name}
    save_file(weights, "checkpoint/model.safetensors")
    original.write_config(Path("checkpoint"), ctc_decoder_config=None, model_type="omni_speech_llama")
    assert "speech" not in plan_of(LlamaOmni("checkpoint", whisper="whisper.pt")).outputs
    with pytest.raises(RunError, match="no speech generator whose units it could speak; leave the vocoder out"):
        source().recipe()


@pytest.mark.parametrize(("changes", "message"), [
    ({"ctc_decoder_config": "(2,16,2)"}, r"ctc_decoder_config '\(2,16,2\)', but it must be four numbers"),
    ({"ctc_decoder_config": "__import__('os')"}, r"but it must be four numbers"),
    ({"ctc_upsample_factor": None}, r"has ctc_upsample_factor None, but it must be a whole number, which nothing else states"),
    ({"speech_generator_type": "ar"}, r"speech_generator_type 'ar', but layout llama_omni has 'ctc' only"),
    ({"model_type": "omni2_speech2s_qwen2"}, r"but layout llama_omni holds a Llama"),
    ({"eos_token_id": [2, "3"]}, r"has eos_token_id \[2, '3'\], but it must be the id of a token, or a list of ids"),
    ({"hidden_act": "gelu"}, r"has hidden_act 'gelu', but layout llama_omni has 'silu' only"),
    ({"hidden_size": True}, r"has hidden_size True, but it must be a whole number"),
    ({"rms_norm_eps": float("nan")}, r"has rms_norm_eps nan, but it must be a finite number above 0"),
    ({"sliding_window": 4}, r"has sliding_window 4, but language models are imported without one"),
    ({"attention_bias": True}, r"has attention_bias True, but language models are imported with False alone"),
    ({"head_dim": 16}, r"has head_dim 16, but backbone hf has heads of hidden_size / num_attention_heads \(8\)"),
    ({"rope_scaling": {"type": "dynamic"}}, r"rotary positions of type 'dynamic'"),
], ids=["three numbers", "code", "factor", "generator", "qwen2", "ends", "hidden_act", "true", "nan", "window",
        "bias", "head_dim", "rope"])
def test_a_config_that_states_something_else_is_refused(folder: Path, changes: dict[str, object], message: str) -> None:
    original.write_config(Path("checkpoint"), **changes)
    with pytest.raises(OmnikitError, match=message):
        source().recipe()


@pytest.mark.parametrize("ours", [
    {"keys": {"backbone": 3}}, {"keys": {"generate": {}, "stages": {}}}, {"keys": 3}, {"parts": {"backbone": None}},
    {"parts": {"backbone": 3}}, {"parts": {"speech.head": {"dim": 3}}}, {"parts": {"speech": {"use": "lm"}}},
    {"parts": {"stages.head": {"use": "lm"}}}, {"parts": {"speech.voice": None}}, {"more": {}}, 3], ids=str)
def test_what_export_did_not_write_is_refused(folder: Path, ours: object) -> None:
    original.write_config(Path("checkpoint"), omnikit=ours)
    with pytest.raises(RunError, match=r"config.json has omnikit .*, which `omnikit export` did not write; remove it"):
        source().recipe()


# ---- whisper ---------------------------------------------------------------------------------------------------------


def whisper() -> WhisperModel:
    """Give transformers' Whisper with the tensors of original.encoder."""
    config = WhisperConfig(num_mel_bins=80, max_source_positions=40, d_model=16, encoder_layers=1, encoder_attention_heads=2,
                           encoder_ffn_dim=64, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=8, vocab_size=60,
                           max_target_positions=8, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1)
    model = WhisperModel(config).eval()
    ours = {"attn.query": "self_attn.q_proj", "attn.key": "self_attn.k_proj", "attn.value": "self_attn.v_proj",
            "attn.out": "self_attn.out_proj", "attn_ln": "self_attn_layer_norm", "mlp.0": "fc1", "mlp.2": "fc2",
            "mlp_ln": "final_layer_norm"}
    state = {}
    for name, tensor in original.encoder().items():
        stem, _, kind = name.rpartition(".")
        inside = f"layers.0.{ours[stem.removeprefix('blocks.0.')]}.{kind}" if stem.startswith("blocks") else name
        state[inside.replace("ln_post", "layer_norm").replace("positional_embedding", "embed_positions.weight")] = tensor
    model.encoder.load_state_dict(state)
    return model


def test_openais_file_and_transformers_folder_are_one_encoder(folder: Path) -> None:
    whisper().save_pretrained("whisper_folder")
    assert plan_of(source(whisper="whisper_folder")).parts()["audio.encoder"] == plan_of(source()).parts()["audio.encoder"]
    assert_same(tensors(source(whisper="whisper_folder")), tensors(source()))


def test_the_encoder_gives_what_transformers_gives(folder: Path) -> None:
    encoder = plan_of(source()).parts()["audio.encoder"].build().eval()
    encoder.load_state_dict(tensors(source())["audio.encoder"])
    mel = torch.randn(1, 80, 80, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        ours, theirs = encoder.encode(mel, torch.tensor([40])), whisper().encoder(mel).last_hidden_state
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)  # float32, one layer


def test_the_encoder_inside_the_checkpoint_is_used_where_there_is_no_file(folder: Path) -> None:
    inside = {f"model.speech_encoder.{name}": tensor for name, tensor in original.encoder().items()}
    save_file(load_file("checkpoint/model.safetensors") | inside, "checkpoint/model.safetensors")
    alone = LlamaOmni("checkpoint", vocoder="vocoder/g_00500000")
    assert_same(tensors(alone), tensors(source()))
    assert len(source().open().ignored["audio.encoder"]) == len(inside) + 1  # with a file: the copy, and the file's decoder


# ---- vocoder ---------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")  # the old one is what it is compared with
def test_legacy_weight_norm_gives_torchs_own_weights(folder: Path) -> None:
    vocoder = UnitVocoder(plan_of(source()).parts()["speech.codec"])
    vocoder.load_state_dict(tensors(source())["speech.codec"])
    legacy = nn.utils.weight_norm(nn.ConvTranspose1d(32, 16, 11, 5, padding=3))  # deprecated, and what the file was made with
    legacy.load_state_dict({name.removeprefix("ups.0."): t for name, t in original.vocoder().items() if "ups.0." in name})
    x = torch.randn(1, 32, 7, generator=torch.Generator().manual_seed(6))
    torch.testing.assert_close(vocoder.ups[0](x), legacy(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_present_names_of_weight_norm_are_the_same_vocoder(folder: Path, suffix: str) -> None:
    present = {name.replace("weight_g", "parametrizations.weight.original0").replace(
        "weight_v", "parametrizations.weight.original1"): tensor for name, tensor in original.vocoder().items()}
    save_file(present, "present.safetensors") if suffix == "safetensors" else torch.save(present, "present.pt")
    assert_same(tensors(source(vocoder=f"present.{suffix}")), tensors(source()))


def with_speakers(**more: Tensor) -> dict[str, Tensor]:
    weights = original.vocoder()
    weights["conv_pre.weight_v"] = torch.cat([weights["conv_pre.weight_v"]] * 2, dim=1)
    return {**weights, "spkr.weight": torch.randn(5, 8, generator=torch.Generator().manual_seed(1)), **more}


def test_vocoder_of_several_speakers_is_imported_with_all_of_them(folder: Path) -> None:
    torch.save({"generator": with_speakers()}, "many")
    codec = plan_of(source(vocoder="many")).parts()["speech.codec"]
    assert (codec.speakers, codec.speaker) == (5, 0)
    vocoder = UnitVocoder(replace(codec, speaker=4)).eval()
    vocoder.load_state_dict(tensors(source(vocoder="many"))["speech.codec"])
    assert vocoder.decode(torch.tensor([[1], [2]])).isfinite().all()


def test_vocoder_behind_a_speaker_encoder_is_a_sentence(folder: Path) -> None:
    torch.save({"generator": with_speakers(**{"spkr.bias": torch.zeros(8)})}, "many")
    with pytest.raises(RunError, match=r"many takes the embedding of a speaker encoder .* by number alone"):
        source(vocoder="many").recipe()


def test_kernels_without_known_rates_ask_for_the_config(folder: Path) -> None:
    weights = original.vocoder()
    weights["ups.4.weight_v"] = torch.zeros(2, 1, 6)
    torch.save({"generator": weights}, "odd")
    with pytest.raises(RunError, match=r"kernels \[11, 8, 8, 4, 6\], which do not determine the rates; put its config.json"):
        source(vocoder="odd").recipe()
