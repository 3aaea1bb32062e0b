"""Runs made of published checkpoints: the import report, what is refused, what goes on from there."""

import json
from pathlib import Path

import llama_omni_checkpoint as original
import pytest
import torch
from safetensors.torch import load_file, save_file

from omnikit import registry
from omnikit.cli import main
from omnikit.contracts.specs import Template
from omnikit.errors import RunError
from omnikit.inference.session import load
from omnikit.recipe.presets import read_mapping
from omnikit.recipe.schema import construct, plain
from omnikit.store.checkpoint import hashes
from omnikit.store.hashes import weights_hash
from omnikit.store.imports import held
from omnikit.store.runs import load_plan

ROW = json.dumps({"messages": [{"role": "user", "content": [{"type": "text", "text": "w1 w2"}]},
                               {"role": "assistant", "content": "w3 w4"}]})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that holds checkpoint/, whisper.pt and vocoder/."""
    monkeypatch.chdir(tmp_path)
    original.write(tmp_path / "checkpoint")
    return tmp_path


def imported(*more: str, out: str = "run", checkpoint: str = "checkpoint") -> int:
    return main(["import", "llama_omni", checkpoint, "--vocoder", "vocoder/g_00500000", "--whisper", "whisper.pt",
                 "--out", out, *more])


def rename(path: Path, old: str, new: str) -> None:
    weights = load_file(path)
    weights[new] = weights.pop(old)
    save_file(weights, path)


def test_every_tensor_of_the_run_is_the_checkpoints(folder: Path) -> None:
    assert imported() == 0
    found, files = held(load_plan(folder / "run"), folder / "run"), original.language_model() | original.speech_parts()
    files |= {f"e.{name}": tensor for name, tensor in original.encoder().items()} | original.vocoder()
    sums = sorted(float(tensor.read().double().sum()) for named in found.values() for tensor in named.values())
    assert sums == sorted(float(tensor.double().sum()) for tensor in files.values())  # the names: tests of the plugin


def test_hashes_written_piece_by_piece_are_those_of_the_modules(folder: Path) -> None:
    imported()
    parts, written = load(folder / "run").model.parts(), hashes(folder / "run/imported/weights.safetensors")[0]
    assert written == {part: weights_hash(module.cpu()) for part, module in parts.items()}


def test_import_report_counts_every_number(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported()
    shown = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    numbers = sum(t.numel() for t in (original.language_model() | original.speech_parts() | original.vocoder()).values())
    assert f"{numbers + sum(t.numel() for t in original.encoder().values()):,}".replace(",", " ") in shown["all"]
    assert shown["all"].split()[-2:] == ["100.0%", "16"]  # the decoder's norm was left out on purpose


def test_a_renamed_tensor_is_named_with_its_component(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    projector = "model.speech_projector"
    rename(folder / "checkpoint/model.safetensors", f"{projector}.linear1.weight", f"{projector}.first.weight")
    assert imported() == 2
    message = capsys.readouterr().err
    assert message.count("omnikit:") == 1
    assert "audio.projector: model.speech_projector.linear1.weight is missing from" in message
    assert "model.speech_projector.first.weight of" in message and not (folder / "run").exists()


def test_a_stray_tensor_is_refused_unless_allowed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "checkpoint/model.safetensors"
    save_file(load_file(path) | {"vision.weight": torch.ones(3)}, path)
    assert imported() == 2
    assert "other: vision.weight of" in capsys.readouterr().err
    assert imported("--allow", "other") == 0


def test_a_tensor_of_another_shape_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "checkpoint/model.safetensors"
    save_file(load_file(path) | {"model.norm.weight": torch.ones(31)}, path)
    assert imported() == 2
    message = capsys.readouterr().err
    assert "backbone: model.norm.weight of" in message and "has shape (31,), but the model has (32,)" in message


def test_an_allowed_part_starts_from_its_own_seed(folder: Path) -> None:
    for out in ("run", "again"):
        words = ["import", "llama_omni", "checkpoint", "--whisper", "whisper.pt", "--out", out, "--allow", "speech.codec"]
        assert main(words) == 0
    one, two = (hashes(folder / name / "imported/weights.safetensors")[0] for name in ("run", "again"))
    record = json.loads((folder / "run/imported/manifest.json").read_text())["import_report"]["speech.codec"]["numbers"]
    assert one == two and record["from_files"] == 0 and record["fresh"] > 0


def test_what_started_fresh_keeps_its_number_format(folder: Path) -> None:
    weights = {f"encoder.{name}": tensor.half() for name, tensor in original.encoder().items() if name != "ln_post.weight"}
    torch.save({"dims": original.DIMS, "model_state_dict": weights}, folder / "whisper.pt")
    assert imported("--allow", "audio.encoder") == 0
    encoder = held(load_plan(folder / "run"), folder / "run")["audio.encoder"]
    formats = {name: str(tensor.read().dtype).removeprefix("torch.") for name, tensor in encoder.items()}
    assert formats == {name: tensor.dtype for name, tensor in encoder.items()}
    assert {name for name, kind in formats.items() if kind == "float32"} == {"layer_norm.weight"}
    assert set(formats.values()) == {"float16", "float32"}


def test_allow_names_imported_parts_only(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert imported("--allow", "speech.hed") == 2
    assert "allow names speech.hed, which this stage does not import. Did you mean 'speech.head'?" in capsys.readouterr().err


def test_allow_may_be_given_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "checkpoint/model.safetensors"
    save_file(load_file(path) | {"odd.weight": torch.zeros(2)}, path)
    (folder / "vocoder/g_00500000").unlink()
    assert main(["import", "llama_omni", "checkpoint", "--whisper", "whisper.pt", "--out", "run",
                 "--allow", "speech.codec", "--allow", "other"]) == 0


def test_named_template_is_checked_and_wins_over_an_export_s(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads((folder / "checkpoint/config.json").read_text())
    imported()
    assert load_plan(folder / "run").template == template("llama_omni")
    saved = load_plan(folder / "run").recipe.backbone
    assert saved
    config["omnikit"] = {"parts": {"backbone": {"use": saved.use, **plain(saved.fields), "template": "llama_3"}}}
    (folder / "checkpoint/config.json").write_text(json.dumps(config))
    assert imported(out="saved") == 0 and load_plan(folder / "saved").template == template("llama_3")
    assert imported("--template", "llama_omni_one_bos", out="asked") == 0
    assert load_plan(folder / "asked").template == template("llama_omni_one_bos")
    capsys.readouterr()
    assert imported("--template", "lama_3", out="bad") == 2
    assert "template 'lama_3' is unknown. Did you mean 'llama_3'?" in capsys.readouterr().err


def template(name: str) -> Template | None:
    preset = registry.preset("template", name)
    assert preset
    return construct(Template, read_mapping(preset.path), name, [])


def test_help_lists_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["import", "llama_omni", "--help"])
    shown = capsys.readouterr().out
    assert "None" not in shown and shown.count("left out:") == 4


def test_training_goes_on_from_an_import_without_the_files(folder: Path) -> None:
    imported()
    before = (folder / "run/imported/weights.safetensors").stat().st_mtime_ns
    for name in ("checkpoint/model.safetensors", "whisper.pt", "vocoder/g_00500000"):
        (folder / name).unlink()
    (folder / "rows.jsonl").write_text(ROW + "\n")
    rows = "+data.rows={use: messages_jsonl, path: rows.jsonl, provides: [text, answer]}"
    more = "+stages.more={train: {backbone: full}, loss: {text: 1.0}, data: {rows: 1.0}, trainer: {max_steps: 1}}"
    assert main(["train", "run", rows, more]) == 0
    assert (folder / "run/imported/weights.safetensors").stat().st_mtime_ns == before
    assert load(folder / "run").plan.stages["more"].origins["backbone"] == "imported"


def test_changed_files_are_imported_again_where_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported()
    path = folder / "checkpoint/model.safetensors"
    save_file(load_file(path) | {"model.norm.weight": torch.zeros(32)}, path)
    assert load(folder / "run").model.get_parameter("backbone.model.norm.weight").any()
    assert main(["train", "run"]) == 2
    assert "model.safetensors with hash" in capsys.readouterr().err
    assert main(["train", "run", "--retrain", "imported"]) == 0
    assert not load(folder / "run").model.get_parameter("backbone.model.norm.weight").any()


def test_an_altered_run_is_not_exported(folder: Path) -> None:
    imported()
    path = folder / "run/imported/weights.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\x01\x02\x03\x04")
    with pytest.raises(RunError, match=r"has digest .* was written; the file was altered"):
        [tensor.read() for named in held(load_plan(folder / "run"), folder / "run").values() for tensor in named.values()]


def test_a_stage_that_learns_has_no_source(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported()
    assert main(["check", "run", "stages.imported.objective=heads"]) == 2
    assert "stages.imported.source is set, but only `objective: import` reads it" in capsys.readouterr().err


def test_an_import_learns_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported()
    assert main(["check", "run", "+stages.imported.loss={text: 1.0}"]) == 2
    assert "stages.imported.loss is set, but an import learns nothing" in capsys.readouterr().err


def test_a_run_that_was_moved_answers_and_goes_on(folder: Path) -> None:
    imported()
    (folder / "elsewhere").mkdir()
    (folder / "run").rename(folder / "elsewhere/moved")
    assert load(folder / "elsewhere/moved").plan.tokenizer == str(folder / "elsewhere/moved/tokenizer/tokenizer.json")
    assert main(["train", "elsewhere/moved", "generate.max_new_tokens=3"]) == 0
    assert load(folder / "elsewhere/moved").plan.recipe.generate.max_new_tokens == 3


def test_another_tokenizer_is_another_model(folder: Path) -> None:
    imported()
    path = folder / "run/tokenizer/tokenizer.json"
    path.write_text(path.read_text().replace('"w7"', '"seven"'))
    with pytest.raises(RunError, match=r"Stage imported of .* is not finished"):
        load(folder / "run")
