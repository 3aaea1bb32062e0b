"""A run needs no checkpoint for what it holds; a bundle needs nothing else at all."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from omnikit_hf.config import HF
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import omnikit
from omnikit.cli import main
from omnikit.errors import RunError
from omnikit.registry import conf_file
from omnikit.store.lineage import BUNDLED
from omnikit.store.runs import WEIGHTS

SIZES = {"dim": 32, "heads": 4, "kv_heads": 2, "layers": 1, "ffn": 32}
RECIPE = """# @package _global_
defaults:
  - /recipe
  - /backbone: llama_tiny_random
  - /audio/encoder: whisper_tiny_random
  - /audio/projector: stack_mlp_2x256
  - /text/head: lm
  - /data/rows: messages_jsonl
  - _self_
"""


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    """A checkpoint of a language model with its tokenizer, and rows to learn from."""
    folder = tmp_path / "base"
    settings = HF(model_type="llama", **SIZES).build().model.config
    settings.update({"attention_bias": True})  # what no field of ours holds
    AutoModelForCausalLM.from_config(settings).save_pretrained(folder)
    tiny = conf_file("tokenizer", "tiny.json")
    assert tiny
    shutil.copyfile(tiny, folder / "tokenizer.json")
    yield folder


def trained(tmp_path: Path, base: Path, train: dict[str, object]) -> Path:
    rows = tmp_path / "rows.jsonl"
    soundfile.write(tmp_path / "q.wav", np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    question = {"role": "user", "content": [{"type": "audio", "path": "q.wav"}]}
    row = {"messages": [question, {"role": "assistant", "content": "two"}]}
    rows.write_text(f"{json.dumps(row)}\n" * 4)
    values = {
        "backbone": {"weights": str(base), "tokenizer": str(base / "tokenizer.json"), **SIZES},
        "audio": {"encoder": {"dim": 32, "layers": 1}},
        "data": {"rows": {"path": str(rows)}},
        "stages": {"learn": {"train": train, "loss": {"text": 1.0}, "data": {"rows": 1.0},
                             "trainer": {"max_steps": 2, "batch_size": 2}}},
        "generate": {"max_new_tokens": 8}}
    file = tmp_path / "recipe.yaml"
    file.write_text(f"{RECIPE}{yaml.safe_dump(values)}")
    assert main(["train", str(file), f"run={tmp_path / 'run'}"]) == 0
    return tmp_path / "run"


def test_a_run_answers_the_same_when_its_base_checkpoint_has_moved(tmp_path: Path, base: Path) -> None:
    run = trained(tmp_path, base, {"backbone": "full"})
    before = omnikit.load(run).answer(text="one").text
    base.rename(tmp_path / "elsewhere")
    assert omnikit.load(run).answer(text="one").text == before
    assert main(["train", str(run)]) == 0  # nothing to do


def test_a_bundle_works_elsewhere(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(tmp_path, base, {"backbone": "full"})
    before = omnikit.load(run).answer(text="one").text
    assert main(["bundle", str(run), "--out", str(tmp_path / "out")]) == 0
    assert "holds the run" in capsys.readouterr().out
    (tmp_path / "new").mkdir()
    shutil.move(tmp_path / "out", tmp_path / "new" / "place")
    for gone in (run, base):
        shutil.rmtree(gone)
    for name in ("HF_HOME", "OMNIKIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    assert omnikit.load(tmp_path / "new" / "place").answer(text="one").text == before


@pytest.fixture
def frozen(tmp_path: Path, base: Path) -> Path:
    """A run that holds its projector alone; the backbone is the checkpoint's."""
    return trained(tmp_path, base, {"audio": {"projector": "full"}})


def test_a_frozen_part_s_checkpoint_that_is_gone_is_named(frozen: Path, base: Path) -> None:
    omnikit.load(frozen)
    base.rename(base.with_name("elsewhere"))
    with pytest.raises(RunError, match=r"run does not hold backbone, which no stage trained, and its weights .*base are not"
                                       r" there; put them back or copy the run .* They had hash [0-9a-f]{16}\.$"):
        omnikit.load(frozen)


def test_a_frozen_part_that_changed_is_refused(frozen: Path, base: Path) -> None:
    path = base / "model.safetensors"
    tensors = load_file(path)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, path, {"format": "pt"})
    with pytest.raises(RunError, match="was trained beside backbone with weights of hash"):
        omnikit.load(frozen)


def test_a_bundle_holds_frozen_parts(frozen: Path, base: Path, tmp_path: Path) -> None:
    before = omnikit.load(frozen).answer(text="one").text
    assert main(["bundle", str(frozen), "--out", str(tmp_path / "out")]) == 0
    shutil.rmtree(base)
    shutil.rmtree(frozen)
    assert {name.partition(".")[0] for name in load_file(tmp_path / "out" / BUNDLED / WEIGHTS)} == {"audio", "backbone"}
    assert omnikit.load(tmp_path / "out").answer(text="one").text == before


def test_a_bundle_replaces_no_folder(frozen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    assert main(["bundle", str(frozen), "--out", str(tmp_path / "out")]) == 2
    assert "out, which is there already; name a folder that is not, or remove it" in capsys.readouterr().err
