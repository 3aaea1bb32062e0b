"""Stages that train pieces of parts: adapters kept small, merged wherever they are loaded; patterns; the proof of movement."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch
import yaml
from doubles import FakeEncoder, make_plan, stages, write_tokenizer
from omnikit_hf.config import HF
from safetensors.torch import load_file
from stopping import Killed, kill, outcome, stopping
from torch import nn
from transformers import AutoModelForCausalLM

import omnikit
from omnikit.cli import main
from omnikit.errors import RunError
from omnikit.model import OmniModel
from omnikit.registry import conf_file
from omnikit.store import checkpoint, safetensors_writer
from omnikit.store.bundle import bundle
from omnikit.store.lineage import lineage
from omnikit.store.load import build_model, run_tensors
from omnikit.store.runs import WEIGHTS, load_plan
from omnikit.training.stage import run_stages
from omnikit.training.trainable.freeze import freeze
from omnikit.training.trainable.missing_gradients import MissingGradients
from omnikit.training.trainable.tuning import tuned

SIZES = {"dim": 32, "heads": 4, "kv_heads": 2, "layers": 2, "ffn": 48}
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
COMMON = {"loss": {"text": 1.0}, "data": {"rows": 1.0}, "optim": {"lr": 0.05}, "trainer": {"max_steps": 3, "batch_size": 2}}
TRAIN = {
    "first": {"backbone": "lora", "audio": {"encoder": {"lora": {"rank": 4, "dora": True}}}},
    "second": {"backbone": {"lora": {"rank": 2, "targets": ["q_proj"]}, "model.norm": "full"}, "audio": {"projector": "full"}},
    "third": {"audio": {"projector": {"linear2": "full"}}},
    "fourth": {"audio": {"encoder": {"layers[-1:]": "full"}}},
}


def write(folder: Path) -> Path:
    """Write a checkpoint of a language model, rows to learn from, and a recipe with the four stages; give the recipe."""
    AutoModelForCausalLM.from_config(HF(model_type="llama", **SIZES).build().model.config).save_pretrained(folder / "base")
    tiny = conf_file("tokenizer", "tiny.json")
    assert tiny
    shutil.copyfile(tiny, folder / "base" / "tokenizer.json")
    soundfile.write(folder / "q.wav", torch.randn(16000).numpy() * 0.1, 16000)
    question = {"role": "user", "content": [{"type": "audio", "path": "q.wav"}]}
    (folder / "rows.jsonl").write_text(
        f"{json.dumps({'messages': [question, {'role': 'assistant', 'content': 'two'}]})}\n" * 4)
    values = {"backbone": {"weights": str(folder / "base"), "tokenizer": str(folder / "base" / "tokenizer.json"), **SIZES},
              "audio": {"encoder": {"dim": 32, "layers": 2}}, "data": {"rows": {"path": str(folder / "rows.jsonl")}},
              "stages": {name: {"train": train, **COMMON} for name, train in TRAIN.items()}, "generate": {"max_new_tokens": 8}}
    (folder / "recipe.yaml").write_text(f"{RECIPE}{yaml.safe_dump(values, sort_keys=False)}")
    return folder / "recipe.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    assert main(["train", str(write(folder)), f"run={folder / 'run'}"]) == 0
    return folder / "run"


def stored(run: Path, stage: str) -> set[str]:
    return set(load_file(run / stage / WEIGHTS))


def test_a_stage_with_adapters_holds_these_alone(run: Path) -> None:
    assert all(".lora_" in name for name in stored(run, "first"))
    beside = {name for name in stored(run, "second") if name.startswith("backbone.") and ".lora_" not in name}
    assert beside == {"backbone.model.norm.weight"}


def test_two_parts_with_adapters_both_move(run: Path) -> None:
    found = load_file(run / "first" / WEIGHTS)
    for part in ("backbone.", "audio.encoder."):
        zero = [name for name, tensor in found.items() if name.startswith(part) and ".lora_B." in name and not tensor.any()]
        assert zero == []


def test_what_is_partly_trained_is_saved_whole(run: Path) -> None:
    first, last = (load_file(run / name / WEIGHTS) for name in ("second", "third"))
    assert {name for name in first if name.startswith("audio.projector.")} == set(last)
    assert {name for name, tensor in last.items() if not torch.equal(first[name], tensor)} == {
        "audio.projector.linear2.weight", "audio.projector.linear2.bias"}


def test_only_the_last_layer_moves_where_a_pattern_names_it(run: Path) -> None:
    plan = load_plan(run)
    before, after = (build_model(plan, run, lineage(plan, run, stage)).get_submodule("audio.encoder").state_dict()
                     for stage in ("third", "fourth"))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.split(".")[1] for name in moved} == {"1"} and all(name.startswith("layers.") for name in moved)


def test_a_stage_trains_above_the_adapters_of_the_one_before(run: Path) -> None:
    plan = load_plan(run)
    models = [build_model(plan, run, lineage(plan, run, stage)).get_submodule("backbone") for stage in ("first", "second")]
    adapter = checkpoint.opened(run / "second" / WEIGHTS).adapter("backbone")
    below = {name: tensor.clone() for name, tensor in models[0].state_dict().items()}
    layer = "model.layers.1.self_attn.q_proj"
    roles = adapter.layers[layer]
    expected = below[f"{layer}.weight"] + 16.0 * roles["B"].read() @ roles["A"].read()
    torch.testing.assert_close(models[1].state_dict()[f"{layer}.weight"], expected, atol=1e-6, rtol=1e-5)
    assert torch.equal(models[1].state_dict()["model.layers.0.mlp.up_proj.weight"], below["model.layers.0.mlp.up_proj.weight"])


def test_tensors_read_one_by_one_are_those_of_the_loaded_model(run: Path) -> None:
    plan = load_plan(run)
    model = build_model(plan, run, lineage(plan, run))
    for part, named in run_tensors(plan, run).items():
        own = model.get_submodule(part).state_dict()
        for name, tensor in named.items():
            assert torch.equal(tensor.read(), own[name]), f"{part}.{name}"


def test_a_bundle_holds_merged_weights_and_answers_the_same(run: Path, tmp_path: Path) -> None:
    before = omnikit.load(run).answer(text="one").text
    assert main(["bundle", str(run), "--out", str(tmp_path / "out")]) == 0
    base = run.parent / "base"
    base.rename(run.parent / "elsewhere")
    try:
        assert omnikit.load(tmp_path / "out").answer(text="one").text == before
    finally:
        (run.parent / "elsewhere").rename(base)
    assert not (tmp_path / "out" / "first").exists()
    assert not any(".lora_" in name for name in stored(tmp_path / "out", "second"))
    assert checkpoint.hashes(tmp_path / "out" / "second" / WEIGHTS) == checkpoint.hashes(run / "second" / WEIGHTS)


def test_merged_weights_of_a_bundle_may_fill_several_files(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors_writer, "SHARD", 100_000)
    bundle(run, tmp_path / "out")
    assert not (tmp_path / "out" / "second" / WEIGHTS).exists()
    assert omnikit.load(tmp_path / "out").answer(text="one").text == omnikit.load(run).answer(text="one").text


def test_a_run_with_adapters_is_loaded_without_peft(run: Path) -> None:
    code = f"import sys, omnikit; omnikit.load({str(run)!r}); sys.exit('peft' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_finished_run_is_skipped(run: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in run.glob(f"*/{WEIGHTS}")}
    assert main(["train", str(run)]) == 0
    assert {file: file.stat().st_mtime_ns for file in run.glob(f"*/{WEIGHTS}")} == before


def test_an_adapter_over_another_base_is_refused(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy", symlinks=True)
    plan = load_plan(copy)
    other = replace(plan.parts()["backbone"], weights=None)
    wrong = replace(plan, backbone=other)
    with pytest.raises(RunError, match=r"first/weights.safetensors holds an adapter of backbone that was trained on weights of"
                                       r" hash \w{16}, but here they have \w{16}; train the stages again in one run"):
        build_model(wrong, copy, {"backbone": "first"}, parts=["backbone"])


def model_with(tmp_path: Path, train: dict[str, object]) -> tuple[OmniModel, Callable[[], object]]:
    stage = replace(stages(2)["understand"], train=train, loss={"text": 1.0, "transcript": 1.0})
    plan = make_plan(write_tokenizer(tmp_path), encoder=FakeEncoder(dropout=0.5), only={"understand": stage})
    model = OmniModel(plan)
    freeze(model, plan.stages["understand"].trained)
    return model, lambda: tuned(model, plan.stages["understand"], dict.fromkeys(model.parts(), ""))


def test_a_frozen_piece_stays_in_eval_mode(tmp_path: Path) -> None:
    model, begin = model_with(tmp_path, {"audio": {"encoder": {"norm": "full"}}})
    with pytest.raises(RunError, match="did not move"), begin():
        encoder = model.train().get_submodule("audio.encoder")
        modes = {name: module.training for name, module in encoder.named_modules() if name}
        assert modes.pop("norm") and modes.pop("dropout") and not any(modes.values())


def test_statistics_of_a_norm_that_is_not_trained_stay(tmp_path: Path) -> None:
    model, begin = model_with(tmp_path, {"audio": {"encoder": {"linear.2": "full"}}})
    encoder = model.get_submodule("audio.encoder")
    before = encoder.norm.running_mean.clone()
    with begin():
        model.train()
        encoder.norm(torch.randn(4, 5, 20))
        encoder.linear[2].weight.data.add_(1.0)
        encoder.linear[2].bias.data.add_(1.0)
    assert torch.equal(encoder.norm.running_mean, before)


@pytest.mark.parametrize(("gradient", "reason"), [
    (None, "no gradient reached it, so no loss of the stage depends on it for this data; add a loss or rows that use it, or"
           " do not train it"),
    (0.0, "its gradient was zero; look for a part that ignores it, or do not train it"),
    (1.0, "its steps were too small for its numbers; raise the stage's optim.lr"),
], ids=["none", "zero", "small"])
def test_what_did_not_move_is_named_with_the_reason(tmp_path: Path, gradient: float | None, reason: str) -> None:
    model, begin = model_with(tmp_path, {"audio": {"encoder": {"linear.2.weight": "full"}}})
    with pytest.raises(RunError) as caught, begin():
        weights = model.get_submodule("audio.encoder").linear[2].weight
        weights.grad = None if gradient is None else torch.full_like(weights, gradient)
    assert str(caught.value) == f"Stage understand trains audio.encoder.linear.2.weight, which did not move: {reason}."


def test_what_moved_though_it_is_frozen_is_named(tmp_path: Path) -> None:
    model, begin = model_with(tmp_path, {"audio": {"encoder": {"linear.2": "full"}}})
    with pytest.raises(RunError, match=r"understand changed audio.encoder.norm.running_mean, which it does not"), begin():
        encoder = model.get_submodule("audio.encoder")
        encoder.linear[2].weight.data.add_(1.0)
        encoder.linear[2].bias.data.add_(1.0)
        encoder.norm.running_mean.add_(1.0)


def test_what_no_gradient_has_reached_is_named_early(caplog: pytest.LogCaptureFixture) -> None:
    watched = nn.ModuleDict({"model": nn.ModuleDict({"used": nn.Linear(2, 2), "idle": nn.Linear(2, 2)})})
    watch = MissingGradients("learn", steps=2)
    watch.on_train_start(None, watched)
    for _ in range(3):
        watched["model"]["used"](torch.ones(2)).sum().backward()
        watch.on_before_optimizer_step(None, watched, None)
    assert [record.getMessage() for record in caplog.records] == [
        "Stage learn trains idle.weight, idle.bias, but no gradient has reached it yet; if none does, the stage fails at its"
        " end."]


@pytest.mark.parametrize(("train", "sentence"), [
    ({"audio": {"encoder": {"linaer": "full"}}}, "stages.understand.train.audio.encoder.linaer names no weights of"
     " audio.encoder (double). Did you mean 'linear'? It has: norm, linear."),
    ({"audio": {"encoder": {"lora": {"targets": ["norm"]}}}}, "stages.understand.train.audio.encoder.lora.targets names"
     " 'norm', but audio.encoder (double) has no such layer that can have an adapter. It has: linear.0, linear.2."),
], ids=["pattern", "target"])
def test_names_that_a_part_lacks_are_refused_before_anything_is_trained(tmp_path: Path, train: dict[str, object],
                                                                        sentence: str) -> None:
    wrong = replace(stages(2)["understand"], train=train, loss={"transcript": 1.0})
    plan = make_plan(write_tokenizer(tmp_path), only={"listen": stages(2)["listen"], "understand": wrong})
    with pytest.raises(RunError) as caught:
        run_stages(plan, tmp_path / "run", "")
    assert str(caught.value) == sentence
    assert not (tmp_path / "run").exists()


def test_a_stopped_stage_with_adapters_resumes_to_the_bit(tmp_path: Path) -> None:
    stage = stages(8)["listen"]
    stage = replace(stage, train={"audio": {"encoder": {"lora": {"rank": 2, "dropout": 0.2}, "norm": "full"}}},
                    trainer=replace(stage.trainer, save_every=3))
    plan = make_plan(write_tokenizer(tmp_path), encoder=FakeEncoder(dropout=0.2), only={"listen": stage})
    run_stages(plan, tmp_path / "whole", "")
    with stopping(5, kill), pytest.raises(Killed):
        run_stages(plan, tmp_path / "resumed", "")
    run_stages(plan, tmp_path / "resumed", "")
    assert outcome(tmp_path / "resumed", "listen") == outcome(tmp_path / "whole", "listen")
