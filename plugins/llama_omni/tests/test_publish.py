"""LLaMA-Omni's published files written: what was imported comes out as it was, and what the layout has no words for travels."""

import json
import shutil
from pathlib import Path

import llama_omni_checkpoint as original
import numpy as np
import pytest
import torch
from llama_omni_checkpoint import assert_same
from omnikit_llama_omni.layout import LlamaOmni
from omnikit_llama_omni.names import from_openai, to_checkpoint, to_openai
from safetensors.torch import load_file
from torch import Tensor

from omnikit.cli import main
from omnikit.errors import RunError
from omnikit.inference.session import load
from omnikit.store.imports import held
from omnikit.store.layouts import from_legacy_weight_norm, to_legacy_weight_norm
from omnikit.store.runs import load_plan


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with checkpoint/, whisper.pt and vocoder/."""
    monkeypatch.chdir(tmp_path)
    original.write(tmp_path / "checkpoint")
    return tmp_path


def tensors(of: LlamaOmni) -> dict[str, dict[str, Tensor]]:
    return {part: {name: tensor.read() for name, tensor in named.items()} for part, named in of.open().tensors.items()}


def test_names_go_there_and_back() -> None:
    assert all(to_openai(from_openai(name)) == name for name in original.encoder())
    assert all(to_legacy_weight_norm(from_legacy_weight_norm(name)) == name for name in original.vocoder())
    assert to_checkpoint("speech.head", "layers.0.mlp.up_proj.weight") == "speech_generator.layers.0.mlp.up_proj.weight"


def exchanged(folder: Path) -> None:
    words = ["--vocoder", "vocoder/g_00500000", "--whisper", "whisper.pt", "--out", "run"]
    assert main(["import", "llama_omni", "checkpoint", *words]) == 0
    assert main(["export", "llama_omni", "run", "--out", "exported"]) == 0


def test_export_gives_the_original_files_back(folder: Path) -> None:
    exchanged(folder)
    model, whisper_file = load_file("exported/model.safetensors"), torch.load("exported/models/speech_encoder/whisper.pt")
    speech = torch.load("exported/vocoder/g_00500000")["generator"]
    assert_same({"": model}, {"": load_file("checkpoint/model.safetensors")})
    assert_same({"": speech}, {"": original.vocoder()})
    assert_same({"": whisper_file["model_state_dict"]}, {"": {f"encoder.{n}": t for n, t in original.encoder().items()}})
    assert whisper_file["dims"] == original.DIMS


def test_a_model_of_the_original_gets_nothing_of_ours(folder: Path) -> None:
    exchanged(folder)
    config = json.loads(Path("exported/config.json").read_text())
    assert "omnikit" not in config and not Path("exported/omnikit.safetensors").exists()
    differing = {key for key, value in original.CONFIG.items() if config.get(key) != value}
    assert differing == {"speech_encoder"}  # the file's new place


@pytest.mark.parametrize("ends", [[46, 9, 49], 9, 49], ids=str)
def test_ids_that_end_an_answer_are_written_back(folder: Path, ends: object) -> None:
    original.write_config(Path("checkpoint"), eos_token_id=ends)
    exchanged(folder)
    config = json.loads(Path("exported/config.json").read_text())
    assert config["eos_token_id"] == ends and "omnikit" not in config


def test_large_models_are_exported_in_shards(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnikit.store.safetensors_writer.SHARD", 20_000)  # bytes
    exchanged(folder)
    shards = sorted(Path("exported").glob("model-*.safetensors"))
    whole = {name: tensor for shard in shards for name, tensor in load_file(shard).items()}
    assert len(shards) > 3 and not Path("exported/model.safetensors").exists()
    assert all(sum(t.nbytes for t in load_file(shard).values()) <= 20_000 for shard in shards)
    assert_same({"": whole}, {"": load_file("checkpoint/model.safetensors")})
    assert_same(tensors(LlamaOmni("exported")), tensors(LlamaOmni("checkpoint", "vocoder/g_00500000", "whisper.pt")))


def test_half_precision_is_exported_as_such(folder: Path) -> None:
    state = {f"encoder.{name}": tensor.half() for name, tensor in original.encoder().items()}
    torch.save({"dims": original.DIMS, "model_state_dict": state}, "whisper.pt")
    exchanged(folder)
    exported = torch.load("exported/models/speech_encoder/whisper.pt")["model_state_dict"]
    assert_same({"": exported}, {"": state})


def test_what_the_original_has_no_words_for_travels_too(folder: Path) -> None:
    Path("ours.yaml").write_text(OURS)
    assert main(["train", "ours.yaml", "run=run"]) == 0
    assert main(["export", "llama_omni", "run", "--out", "exported"]) == 0
    assert main(["import", "llama_omni", "exported", "--out", "again"]) == 0
    before, after = (load_plan(Path(name)) for name in ("run", "again"))
    assert {p: c for p, c in before.parts().items() if p != "backbone"} == {
        p: c for p, c in after.parts().items() if p != "backbone"}
    assert (after.template, after.recipe.generate) == (before.template, before.recipe.generate)
    one, two = ({part: {name: t.read() for name, t in named.items()} for part, named in held(plan, folder / name).items()}
                for plan, name in ((before, "run"), (after, "again")))
    assert_same(one, two)
    answers = [load(name).answer(text="one plus two") for name in ("run", "again")]
    assert answers[0].text == answers[1].text and answers[0].codes == answers[1].codes
    assert np.array_equal(answers[0].waveform, answers[1].waveform)


@pytest.mark.parametrize(("key", "value", "field"), [
    ("eos_token_id", [1, 2], "backbone.ends"), ("rope_theta", 5e5, "backbone.rope_theta"),
    ("speech_encoder_ds_rate", 4, "audio.projector.stride")])
def test_a_key_edited_beside_ours_is_refused(
        edited: Path, key: str, value: object, field: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads((edited / "config.json").read_text())
    (edited / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(RunError, match=rf"has omnikit.parts.{field} .*, but its own keys state .* by now; write .* in both"):
        LlamaOmni(str(edited)).recipe()


def test_a_key_edited_with_ours_is_read(edited: Path) -> None:
    config = json.loads((edited / "config.json").read_text())
    config["omnikit"]["parts"]["backbone"]["ends"] = config["eos_token_id"] = [1, 2]
    (edited / "config.json").write_text(json.dumps(config))
    backbone = LlamaOmni(str(edited)).recipe()["backbone"]
    assert isinstance(backbone, dict) and backbone["ends"] == [1, 2]


@pytest.fixture
def edited(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "edited"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of a model beyond the original's words."""
    home = tmp_path_factory.mktemp("ours")
    write_rows(home)
    (home / "ours.yaml").write_text(OURS.replace("rows.jsonl", str(home / "rows.jsonl")))
    assert main(["train", str(home / "ours.yaml"), f"run={home / 'run'}"]) == 0
    assert main(["export", "llama_omni", str(home / "run"), "--out", str(home / "exported")]) == 0
    return home / "exported"


def test_files_that_cannot_be_read_back_are_no_export(
        folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def save(whole: object, path: Path) -> None:
        path.write_bytes(b"cut short")

    monkeypatch.setattr(torch, "save", save)
    assert main(["import", "llama_omni", "checkpoint", "--vocoder", "vocoder/g_00500000", "--whisper", "whisper.pt",
                 "--out", "run"]) == 0
    assert main(["export", "llama_omni", "run", "--out", "exported"]) == 2
    assert "whisper.pt is not a torch file" in capsys.readouterr().err and not Path("exported").exists()


def test_other_components_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("ours.yaml").write_text(OURS.replace("whisper_tiny_random", "mel_cnn"))
    assert main(["train", "ours.yaml", "run=run"]) == 0
    assert main(["export", "llama_omni", "run", "--out", "exported"]) == 2
    assert "audio.encoder of this run is mel_cnn, but layout llama_omni holds whisper there" in capsys.readouterr().err
    assert not Path("exported").exists()


OURS = """\
# A model beyond the original's words: a seven-wide kernel, a place inside repeats, a transcript head, its own prompt.
defaults:
  - /recipe
  - /audio/encoder: whisper_tiny_random
  - /audio/projector: stack_mlp_2x256
  - /backbone: llama_tiny_random
  - /text/head: lm
  - /speech/head: ctc_units_tiny_random
  - /speech/codec: unit_hifigan
  - /transcript/head: ctc_text_stacked
  - /data/rows: messages_jsonl
  - _self_
system: Be brief.
backbone: {layers: 1}
audio: {encoder: {layers: 1}}
data: {rows: {path: rows.jsonl, provides: [text, answer]}}
stages:
  only:
    train: {backbone: full}
    loss: {text: 1.0}
    data: {rows: 1.0}
    trainer: {max_steps: 1, batch_size: 1}
generate: {max_new_tokens: 5}
"""


@pytest.fixture(autouse=True)
def rows(tmp_path: Path) -> None:
    write_rows(tmp_path)


def write_rows(folder: Path) -> None:
    asked = {"role": "user", "content": [{"type": "text", "text": "two"}]}
    (folder / "rows.jsonl").write_text(json.dumps({"messages": [asked, {"role": "assistant", "content": "two"}]}) + "\n")
