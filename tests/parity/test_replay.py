"""The runner of golden cases: the stored ones, variations that must pass, and alterations that must not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omnikit_llama_omni.config import UnitHiFiGAN
from parity.case import Case
from parity.generated_case import make
from parity.replay import main
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import WhisperFeatureExtractor

GOLDENS = Path(__file__).parent / "goldens"
ASKS = "<speech>\nPlease directly answer the questions in the user's speech."
CASES = (
    "dynamic_tiling", "llama_omni_full", "llama_omni_prompt", "mel_whisper", "streaming_speech_encoder", "ticodec_small",
    "unit_hifigan", "video_sampling", "vita15_slow_fast_pooling", "vita_speech_decoder", "vita_speech_decoder_prefix",
    "vita_speech_streaming", "vita_tts_text_rules", "whale_audio_encoder", "whale_fbank",
)


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    """Copy a stored case under a name without its kind."""
    return lambda name: Path(shutil.copytree(GOLDENS / name, tmp_path / "one" / "a", copy_function=shutil.copyfile))


def edit_json(path: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]  # whatever JSON holds
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def edit_tensors(path: Path, **changed: torch.Tensor) -> None:
    save_file({name: tensor.contiguous() for name, tensor in (load_file(path) | changed).items()}, path)


@pytest.mark.parametrize("name", CASES)
def test_stored_case_is_ok_and_all_of_it_compared(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(GOLDENS / name)]) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{name}  ok") and "not compared" not in line


def test_whole_model_of_other_sizes_is_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "b")
    assert main([str(tmp_path)]) == 0, capsys.readouterr().out


def test_any_of_several_ends_ends_an_answer(copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied("llama_omni_full")
    edit_json(folder / "outputs.json", lambda values: values["with_eos"].update(eos_token_id=[599, 138, 88]))  # 138 comes first
    edit_json(folder / "case.json", lambda values: values["config"]["llm"].update(eos_token_id=[2, 599]))  # none comes
    assert main([str(folder)]) == 0, capsys.readouterr().out


def test_an_altered_loss_of_a_whole_model_fails(copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied("llama_omni_full")
    outputs = load_file(folder / "outputs.safetensors")
    edit_tensors(folder / "outputs.safetensors", f_joint_loss=outputs["f_joint_loss"] * 1.002)
    assert main([str(folder)]) == 1
    assert "FAILED  llama_omni_full: 40 checks, largest error 0.072 of 0.036 allowed in f_joint_loss" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "output", "step"), [
    ("mel_whisper", "wav1_mel80", 3e-4), ("unit_hifigan", "seq0_wav_dur", 3e-5), ("unit_hifigan", "seq1_duration", 1),
    ("mel_whisper", "wav0_mel128", float("nan")),
])
def test_one_altered_value_fails(name: str, output: str, step: float, copied: Callable[[str], Path],
                                 capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied(name)
    expected = load_file(folder / "outputs.safetensors")[output]
    expected.view(-1)[5 % expected.numel()] += step
    edit_tensors(folder / "outputs.safetensors", **{output: expected})
    assert main([str(folder)]) == 1
    assert output in capsys.readouterr().out


@pytest.mark.parametrize(("found", "expected", "passes"), [
    ([0.0, 1.0], [0.0, 1.0], True), ([0.0, 1.5], [0.0, 1.0], False), ([0.0, float("nan")], [0.0, 1.0], False),
])
def test_no_tolerance_means_equal(found: list[float], expected: list[float], passes: bool, tmp_path: Path) -> None:
    case = Case(tmp_path, tmp_path)
    case.close("a", torch.tensor(found), expected=torch.tensor(expected))
    assert (case.worst.share <= 1) is passes


def test_a_tolerance_may_be_written_with_a_capital_letter(tmp_path: Path) -> None:
    (tmp_path / "case.json").write_text(json.dumps({"tolerance": {"hidden": "ATOL=2E-4, rtol 1e-3"}}))
    assert [Case(tmp_path, tmp_path).limit("hidden", kind, 9.0) for kind in ("atol", "rtol")] == [2e-4, 1e-3]


def test_an_altered_label_fails(copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied("llama_omni_prompt")
    edit_json(folder / "outputs.json", lambda values: values["training"][0]["labels"].__setitem__(-1, -100))
    assert main([str(folder)]) == 1
    assert "training[0].labels differs" in capsys.readouterr().out


def test_a_tokenizer_without_bos_gives_the_other_case(
        copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied("llama_omni_prompt")
    edit_json(folder / "tokenizer.json", lambda values: values.update(post_processor=None))
    edit_json(folder / "outputs.json", lambda values: [_without_bos(item) for kind in values.values() for item in kind])
    assert main([str(folder)]) == 0, capsys.readouterr().out


def _without_bos(item: dict[str, list[int]]) -> None:
    """One BOS less, and what stood behind each clip is lost (fact sheet 4.3)."""
    ids = item["input_ids"]
    rest = [position for position in range(1, len(ids)) if ids[position - 1] != -200]
    item["input_ids"] = [ids[position] for position in rest]
    if "labels" in item:
        item["labels"] = [item["labels"][position] for position in rest]


@pytest.mark.parametrize("adds", [True, False], ids=["bos", "no bos"])
@pytest.mark.parametrize("turns", [
    ["<speech>"], ["Listen: <speech> now. "], ["  <speech>\nAnd this?\n"], ["<speech>\n<speech>\nBoth?"],
    [ASKS, " Three. \n", "<speech>", "Four.", "Why?"], [ASKS, "Yes.", ASKS],
], ids=["alone", "amid text", "space", "two", "turns", "twice"])
def test_prompts_of_other_shapes_are_ok(turns: list[str], adds: bool, copied: Callable[[str], Path],
                                        capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied("llama_omni_prompt")
    if not adds:
        edit_json(folder / "tokenizer.json", lambda values: values.update(post_processor=None))
    system = json.loads((folder / "outputs.json").read_text())["inference"][0]["prompt"].partition("<|eot_id|>")[0]
    text = system + "<|eot_id|>" + "".join(
        f"<|start_header_id|>{('user', 'assistant')[n % 2]}<|end_header_id|>\n\n{turn.strip()}<|eot_id|>"
        for n, turn in enumerate(turns)) + "<|start_header_id|>assistant<|end_header_id|>\n\n"
    item = {"messages": turns, "prompt": text, "input_ids": _original_ids(text, folder / "tokenizer.json")}
    (folder / "outputs.json").write_text(json.dumps({"inference": [item]}))
    assert main([str(folder)]) == 0, capsys.readouterr().out


def _original_ids(text: str, file: Path) -> list[int]:
    """The rule of fact sheet 4.2: what the tokenizer gives for each piece, less its first id; BOS and clips between them."""
    tokenizer = Tokenizer.from_file(str(file))
    first, *others = (tokenizer.encode(piece).ids[1:] for piece in text.split("<speech>"))
    return [594, *first, *(i for piece in others for i in (-200, *piece))]


def test_a_clip_longer_than_the_window_is_cut(copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied("mel_whisper")
    stored = load_file(folder / "inputs.safetensors")["wav0_int16"]
    wave = stored.repeat(31).float() / 32768  # 31 s
    extractor = WhisperFeatureExtractor(feature_size=128)  # another implementation, which cuts to 30 s as well
    mel = torch.from_numpy(np.asarray(extractor(wave.numpy(), sampling_rate=16000).input_features[0])).T.contiguous()
    save_file({"wav0_int16": stored}, folder / "inputs.safetensors")
    save_file({"wav0_mel128": mel[::100].contiguous(), "wav0_frame_index": torch.arange(0, 3000, 100)},
              folder / "outputs.safetensors")
    facts = {"index": 0, "repeat_the_stored_clip": 31, "samples": len(wave), "mel128_sum": float(mel.double().sum())}
    edit_json(folder / "case.json", lambda values: values["inputs"].update(wavs=[facts]))
    assert main([str(folder)]) == 0, capsys.readouterr().out


def test_a_vocoder_without_durations_and_of_other_sizes_is_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = UnitHiFiGAN(units=7, dim=6, channels=12, rates=(4, 3), kernels=(8, 5), block_kernels=(3, 5),
                         block_dilations=((1, 2), (3, 1)), duration_dim=None, sample_rate=8000)
    vocoder, codes = config.build(), torch.tensor([[1, -1, 4, 6, 6, 0]])
    wave = vocoder.decode(codes[0][:, None])
    assert len(wave) == 5 * 12
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    weights = vocoder.state_dict()
    for ours, theirs in names.items():
        weights = {name.replace(ours, theirs): tensor for name, tensor in weights.items()}
    save_file(weights, tmp_path / "weights.safetensors")
    save_file({"seq0_code": codes}, tmp_path / "inputs.safetensors")
    save_file({"seq0_wav_nodur": wave}, tmp_path / "outputs.safetensors")
    theirs = {"num_embeddings": 7, "embedding_dim": 6, "upsample_initial_channel": 12, "upsample_rates": [4, 3],
              "upsample_kernel_sizes": [8, 5], "resblock_kernel_sizes": [3, 5], "resblock_dilation_sizes": [[1, 2], [3, 1]]}
    facts = {"system": "vocoder", "module": "CodeHiFiGANVocoder", "config": {"model_cfg": theirs}}
    (tmp_path / "case.json").write_text(json.dumps(facts))
    assert main([str(tmp_path)]) == 0, capsys.readouterr().out


def configure(folder: Path, *path: str, **values: object) -> None:
    """Change keys of a section of a case's configuration."""

    def change(facts: dict) -> None:  # type: ignore[type-arg]  # whatever JSON holds
        section = facts["config"]
        for key in path:
            section = section[key]
        section.update({key.replace("__", "-"): value for key, value in values.items()})

    edit_json(folder / "case.json", change)


@pytest.mark.parametrize(("name", "path", "values", "words"), [
    ("internvit_300m_style", (), {"mm_projector_type": "linear"}, "mm_projector_type is 'linear', but its weights have the"),
    ("internvit_300m_style", (), {"mm_projector_type": "spp"}, "mm_projector_type is 'spp', but layout vita has linear"),
    ("llama_omni_full", ("whisper_encoder",), {"state": 17}, "its state is 17, but what replays it has 16 alone"),
    ("dynamic_tiling", ("image_processor",), {"rescale_factor": 0.5}, "its rescale_factor is 0.5, but what replays it has"),
    ("internvit_300m_style", (), {"llm_hidden_size": 9}, "its llm_hidden_size is 9, but its weights and features have 48"),
    ("whale_audio_encoder", ("model_conf",), {"audio_prompt_finetune": True, "audio_prompt_num": 3}, "prompts is in"),
    ("whale_audio_encoder", ("model_conf",), {"adpter_type": "linear"}, "its adpter_type is 'linear', but what replays it has"),
    ("whale_audio_encoder", ("model_conf",), {"kernel_size": 3}, "its kernel_size is 3, but its weights have 5"),
    ("whale_audio_encoder", ("encoder_conf", "para_conf", "transformer"), {"transformer__pos__enc__class": "abs-enc"},
     "attention.bias_u is in one of them alone"),
    ("whale_fbank", (), {"window": "hanning"}, "its window is 'hanning', but what replays it has 'povey' alone"),
    ("unit_hifigan", ("model_cfg",), {"resblock": "2"}, "its resblock is '2', but codec unit_hifigan has '1' alone"),
])
def test_a_setting_changes_what_is_built_or_is_refused_by_name(
        name: str, path: tuple[str, ...], values: dict[str, object], words: str, copied: Callable[[str], Path],
        capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied(name)
    configure(folder, *path, **values)
    assert main([str(folder)]) == 1
    assert words in capsys.readouterr().out


def test_a_linear_projector_and_prompts_are_built(copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Its one Linear applied by hand to the recorded features."""
    folder = copied("internvit_300m_style")
    weights, outputs = (load_file(folder / f"{name}.safetensors") for name in ("weights", "outputs"))
    linear = torch.randn(48, outputs["pixel_shuffled"].shape[2], generator=torch.Generator().manual_seed(0))
    others = {name: tensor for name, tensor in weights.items() if "mm_projector" not in name}
    save_file({**others, "model.mm_projector.weight": linear, "model.mm_projector.bias": torch.ones(48)},
              folder / "weights.safetensors")
    edit_tensors(folder / "outputs.safetensors", visual_tokens=outputs["pixel_shuffled"].float() @ linear.T + 1)
    configure(folder, mm_projector_type="linear")
    assert main([str(folder)]) == 0, capsys.readouterr().out


def test_learned_prompts_stand_before_the_audio(copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied("whale_audio_encoder")
    prompts = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    edit_tensors(folder / "weights.safetensors", **{"model.audio_encoder.prompt_embeddings.weight": prompts})
    outputs = load_file(folder / "outputs.safetensors")
    embedded = {name: tensor for name, tensor in outputs.items() if name.endswith("inputs_embeds")}
    changed = {name: torch.cat([prompts.expand(*tensor.shape[:-2], 3, 40), tensor], dim=-2)
               for name, tensor in embedded.items()}
    masks = {name: torch.cat([torch.ones(*tensor.shape[:-1], 3, dtype=tensor.dtype), tensor], dim=-1)
             for name, tensor in outputs.items() if name.endswith("attention_mask")}
    edit_tensors(folder / "outputs.safetensors", **changed, **masks)
    configure(folder, "model_conf", audio_prompt_finetune=True, audio_prompt_num=3)
    assert main([str(folder)]) == 0, capsys.readouterr().out


def test_where_the_original_raises_ours_refuses_or_the_difference_is_named(
        copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied("dynamic_tiling")

    def change(values: dict) -> None:  # type: ignore[type-arg]  # whatever JSON holds
        values["table"][0] = {**values["table"][0], "min_num": 5, "max_num": 2, "error": "ValueError"}
        values["table"][1] = {**values["table"][1], "error": "ValueError"}

    edit_json(folder / "outputs.json", change)
    assert main([str(folder)]) == 0, capsys.readouterr().out
    assert "; table 1 has a result here, where the original raises" in capsys.readouterr().out


def test_a_vocoder_of_several_speakers_is_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = UnitHiFiGAN(units=7, dim=6, channels=12, rates=(4, 3), kernels=(8, 5), block_kernels=(3,), dilations=(1, 2),
                         duration_dim=None, sample_rate=8000, speakers=4, speaker=2)
    vocoder, codes = config.build(), torch.tensor([[1, 4, 6, 0]])
    save_file(vocoder.state_dict(), tmp_path / "weights.safetensors")
    save_file({"seq0_code": codes, "seq0_spkr": torch.tensor([[2]])}, tmp_path / "inputs.safetensors")
    save_file({"seq0_wav_nodur": vocoder.decode(codes[0][:, None])}, tmp_path / "outputs.safetensors")
    theirs = {"num_embeddings": 7, "embedding_dim": 6, "model_in_dim": 12, "upsample_initial_channel": 12, "multispkr": "_",
              "upsample_rates": [4, 3], "upsample_kernel_sizes": [8, 5], "resblock_kernel_sizes": [3],
              "resblock_dilation_sizes": [[1, 2]], "num_speakers": 4}
    facts = {"system": "vocoder", "module": "CodeHiFiGANVocoder", "config": {"model_cfg": theirs}}
    (tmp_path / "case.json").write_text(json.dumps(facts))
    assert main([str(tmp_path)]) == 0, capsys.readouterr().out


def test_a_case_that_is_not_there_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "unit_hifigan,nothing", str(GOLDENS)]) == 1
    assert "no case nothing in" in capsys.readouterr().out


def test_a_case_of_no_known_kind_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "case.json").write_text(json.dumps({"system": "another", "module": "a nose"}))
    assert main([str(tmp_path)]) == 1
    assert "FAILED  cannot be replayed: no kind replays 'a nose' of 'another'" in capsys.readouterr().out


def test_an_empty_root_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith("no case at all in")


def test_a_case_without_its_weights_fails_and_the_others_are_replayed(
        copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied("unit_hifigan")
    (folder / "inputs.safetensors").unlink()
    assert main([str(folder.parent), str(GOLDENS / "llama_omni_prompt")]) == 1
    printed = capsys.readouterr().out
    assert "it holds no output that its kind compares" in printed and printed.endswith("1 of 2 cases ok\n")
