"""Checkpoints that an import reads with an option, refuses, or reads as transformers does."""

import json
from collections.abc import Callable
from pathlib import Path

import llama_omni_checkpoint as original
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from omnikit.cli import main
from omnikit.store.imports import held
from omnikit.store.runs import load_plan

Tensors = dict[str, Tensor]
UP = "model.layers.0.mlp.up_proj.weight"
HEAD, TABLE = "lm_head.weight", "model.embed_tokens.weight"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that holds checkpoint/, whisper.pt and vocoder/."""
    monkeypatch.chdir(tmp_path)
    original.write(tmp_path / "checkpoint")
    return tmp_path


def imported(*more: str, out: str = "run") -> int:
    return main(["import", "llama_omni", "checkpoint", "--vocoder", "vocoder/g_00500000", "--whisper", "whisper.pt",
                 "--out", out, *more])


def change(tensors: Callable[[Tensors], Tensors]) -> None:
    path = Path("checkpoint/model.safetensors")
    save_file(tensors(load_file(path)), path)


def configure(**keys: object) -> None:
    path = Path("checkpoint/config.json")
    config = {**json.loads(path.read_text()), **keys}
    path.write_text(json.dumps({key: value for key, value in config.items() if value != "absent"}))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "base_model.model.", "language_model."])
def test_a_prefix_is_named_and_left_out_where_it_is_given(
        folder: Path, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert imported(out="plain") == 0
    change(lambda tensors: {f"{prefix}{name}": tensor for name, tensor in tensors.items()})
    assert imported() == 2
    message = capsys.readouterr().err
    assert f"its names begin with {prefix!r}" in message and f"--weights_prefix {prefix} (source.weights_prefix" in message
    assert message.count("omnikit:") == 1 and "--allow" not in message
    assert imported("--weights_prefix", prefix) == 0
    found, plain = (held(load_plan(folder / run), folder / run) for run in ("run", "plain"))
    assert all(torch.equal(tensor.read(), plain[part][name].read()) for part, named in found.items()
               for name, tensor in named.items())


REFUSED: dict[str, tuple[Callable[[Tensors], Tensors], dict[str, object], str]] = {
    "int8": (lambda t: {**t, UP: t[UP].to(torch.int8)}, {}, f"{UP} in int8, which means nothing without the scales"),
    "fp8": (lambda t: {**t, UP: t[UP].to(torch.float8_e4m3fn), f"{UP}_scale": torch.ones(1)}, {}, f"holds {UP}_scale"),
    "config": (lambda t: t, {"quantization_config": {"quant_method": "awq", "bits": 4}}, "quantization_config (awq, 4 bits)"),
    "no key": (lambda t: t, {"num_key_value_heads": "absent"}, "fix the files: num_key_value_heads in config.json"),
    "resized": (lambda t: {**t, HEAD: torch.ones(52, 32)}, {}, "has shape (52, 32), but the model has (50, 32); fix the files"),
    "layers": (lambda t: t, {"num_hidden_layers": 3}, "(9 such tensors); fix the files: num_hidden_layers in config.json"),
    "bias": (lambda t: {**t, UP.replace("weight", "bias"): torch.ones(48)}, {}, "fix the files: mlp_bias in config.json"),
    "no head": (lambda t: {name: one for name, one in t.items() if name != HEAD}, {}, f"{HEAD} is missing from"),
}


@pytest.mark.parametrize(("tensors", "keys", "words"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_without_offering_random_weights(
        folder: Path, tensors: Callable[[Tensors], Tensors], keys: dict[str, object], words: str,
        capsys: pytest.CaptureFixture[str]) -> None:
    change(tensors)
    configure(**keys)
    assert imported() == 2
    message = capsys.readouterr().err
    assert words in message and "--allow" not in message


@pytest.mark.parametrize("name", [UP, "model.speech_projector.linear1.bias"])
def test_numbers_without_their_scales_are_never_allowed_away(
        folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    change(lambda tensors: {**tensors, name: tensors[name].to(torch.int8)})
    assert imported("--allow", "backbone", "audio.projector", "other") == 2
    assert f"{name} " in capsys.readouterr().err


def test_a_part_that_is_not_there_may_start_from_random_weights(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(lambda tensors: {name: tensor for name, tensor in tensors.items() if "projector" not in name})
    assert imported() == 2
    assert "all of its 4 tensors are missing" in (message := capsys.readouterr().err)
    assert "let it start from random weights with --allow audio.projector" in message
    assert imported("--allow", "audio.projector") == 0


def test_an_output_matrix_beside_tied_embeddings_is_read_where_it_differs(folder: Path) -> None:
    configure(tie_word_embeddings=True)
    assert imported() == 0
    plan = load_plan(folder / "run")
    backbone = held(plan, folder / "run")["backbone"]
    assert not plan.backbone.tie_embeddings
    assert torch.equal(backbone[HEAD].read(), original.language_model()[HEAD])


@pytest.mark.parametrize("left", [HEAD, TABLE])
def test_one_of_two_tied_matrices_is_enough(folder: Path, left: str) -> None:
    configure(tie_word_embeddings=True)
    change(lambda tensors: {name: tensor for name, tensor in tensors.items() if name not in {HEAD, TABLE} - {left}})
    assert imported() == 0
    backbone = held(load_plan(folder / "run"), folder / "run")["backbone"]
    assert HEAD not in backbone and torch.equal(backbone[TABLE].read(), original.language_model()[left])


def test_a_download_cache_names_its_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "cache/snapshots").mkdir(parents=True)
    Path("checkpoint").rename("cache/snapshots/abc")
    Path("cache").rename("checkpoint")
    assert imported() == 2
    assert "give the folder that holds it, " in (message := capsys.readouterr().err) and "snapshots/abc" in message
