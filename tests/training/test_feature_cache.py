"""What stands before the first trained part is computed once: the same losses from the cache, or a refusal."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from doubles import EchoReader, FakeEncoder, FakeEncoderModule, make_plan, stages, write_tokenizer
from torch import nn

from omnikit.contracts.types import Batch, Features, Sample, Signal
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.packing import PackedCollator
from omnikit.data.batch.single_rows import content_keys, single_row
from omnikit.errors import DataError, PlanError, RunError
from omnikit.model import OmniModel
from omnikit.plan.cache_points import cache_points
from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose
from omnikit.store.runs import WEIGHTS
from omnikit.taps import Taps
from omnikit.training import feature_cache as caching
from omnikit.training.stage import run_stages

RECIPE = """\
# @package _global_
defaults:
  - /recipe
  - /audio/encoder: whisper_tiny_random
  - /audio/projector: linear
  - /backbone: qwen2_tiny_random
  - /text/head: lm
  - /turn/head: state
  - /transcript/head: ctc_text_stacked
  - /speech/head: ctc_units_tiny_random
  - /speech/codec: unit_hifigan
  - /data/rows: messages_jsonl
  - _self_
template: qwen2p5_vita
data:
  rows: {path: ROWS, provides: [text, audio, answer, codes, transcript], seconds: 5}
stages:
  speak:
    train: {speech: {head: full}, transcript: {head: full}}
    loss: {speech: 1.0, transcript: 1.0, text: 1.0}
    data: {rows: 1.0}
    trainer: {max_steps: 6, batch_size: 3, cache: features}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMNIKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/features"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six conversations: two of them of two spoken questions, one of text alone."""
    folder, random = tmp_path_factory.mktemp("rows"), np.random.default_rng(0)
    rows = []
    soundfile.write(folder / "answer.wav", np.zeros(1600), 16000)
    for number in range(6):
        messages: list[dict[str, Any]] = []
        for turn in range(1 + number % 2):
            soundfile.write(folder / f"{number}{turn}.wav", random.normal(size=4000 + 1700 * number + 900 * turn) * 0.1, 16000)
            spoken = {"type": "audio", "path": f"{number}{turn}.wav", "text": "blue"}
            question = spoken if number else {"type": "text", "text": "what is it"}
            answer = [{"type": "text", "text": "it is " + "so " * (number + turn)},
                      {"type": "audio", "path": "answer.wav", "codes": [[3], [4], [5 + number]]}]
            messages += [{"role": "user", "content": [question]}, {"role": "assistant", "content": answer}]
        rows.append(json.dumps({"id": f"row{number}", "messages": messages}))
    (folder / "rows.jsonl").write_text("\n".join(rows))
    (folder / "small.yaml").write_text(RECIPE.replace("ROWS", str(folder / "rows.jsonl")))
    return folder / "small.yaml"


@pytest.fixture(scope="module")
def plan(recipe: Path) -> Plan:
    return make(compose(str(recipe)))


@pytest.fixture(scope="module")
def model(plan: Plan) -> OmniModel:
    return OmniModel(plan).eval()


@pytest.fixture(params=["padded", "packed"])
def batch(plan: Plan, request: pytest.FixtureRequest) -> Batch:
    samples = [plan.readers["rows"].build()[index] for index in range(6)]
    collate = Collator(plan, ["text", "speech", "transcript", "turn"])
    return collate(samples) if request.param == "padded" else PackedCollator(collate)([samples[:2], samples[2:]])


POINTS = ("audio.encoder", "audio.projector", "backbone.predicts", "backbone.reads", "backbone.last.audio")


def test_a_conversation_out_of_a_batch_is_as_if_collated_alone(plan: Plan, batch: Batch) -> None:
    reader, collate = plan.readers["rows"].build(), Collator(plan, ["text", "speech", "transcript", "turn"])
    for index in range(6):
        alone, found = collate([reader[index]]), single_row(batch, index)
        for name in ("tokens", "lengths", "answers", "answer_lengths"):
            assert torch.equal(getattr(found, name), getattr(alone, name)), (index, name)
        assert {name: signal.data.tolist() for name, signal in found.signals.items()} == {
            name: signal.data.tolist() for name, signal in alone.signals.items()}
        assert {name: slots.tolist() for name, slots in found.slots.items()} == {
            name: slots.tolist() for name, slots in alone.slots.items()}
        assert (found.counts, found.rows, found.sizes, found.ids) == (alone.counts, alone.rows, alone.sizes, alone.ids)


def test_keys_depend_on_what_a_conversation_holds_and_on_no_other(plan: Plan, batch: Batch) -> None:
    reader = plan.readers["rows"].build()
    alone = Collator(plan, ["text", "speech", "transcript", "turn"])([reader[4]])
    keys = content_keys(batch, POINTS)
    own = content_keys(alone, POINTS)
    assert {point: keys[point][4] for point in POINTS} == {point: found[0] for point, found in own.items()}
    assert len(set(keys["backbone.predicts"])) == 6
    assert [bool(key) for key in keys["audio.encoder"]] == [False, True, True, True, True, True]


@pytest.mark.parametrize("points", [POINTS[:1], POINTS[:2], POINTS[2:]], ids=["encoder", "projector", "states"])
def test_losses_of_features_that_are_given_are_those_of_the_whole_model(plan: Plan, model: OmniModel, batch: Batch,
                                                                        points: tuple[str, ...]) -> None:
    wanted = ("text", "speech", "transcript", "turn")
    rows = [single_row(batch, index) for index in range(6)]
    given = {}
    for point in points:
        found = [Taps(model, row).point(point) for row in rows if "audio" in row.signals or point in POINTS[2:4]]
        items = [item[:length] for each in found for item, length in zip(each.data, each.lengths.tolist(), strict=True)]
        given[point] = Features(nn.utils.rnn.pad_sequence(items, batch_first=True), torch.tensor([len(item) for item in items]),
                                found[0].rate)
    expected, losses = model.losses(batch, wanted), model.losses(batch, wanted, given)
    assert losses.keys() == expected.keys() >= {"text", "speech", "transcript"}
    for name, loss in losses.items():  # padding rounds otherwise
        torch.testing.assert_close(loss, expected[name], atol=1e-5, rtol=1e-5)


def trained(plan: Plan, folder: Path) -> tuple[list[list[str]], bytes]:
    """Train, and give the losses at each line of the metrics, and the weights."""
    run_stages(plan, folder, "")
    with (folder / "speak/metrics.csv").open() as file:
        lines = list(csv.DictReader(file))
    losses = [[value for name, value in line.items() if name.startswith(("step", "lr", "loss"))] for line in lines]
    return losses, (folder / "speak" / WEIGHTS).read_bytes()


def test_a_stage_is_the_same_to_the_bit_from_an_empty_cache_and_from_a_full_one(
        plan: Plan, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trained(plan, tmp_path / "first")
    assert len(list(cache.glob("*/*.safetensors"))) == 2
    with monkeypatch.context() as patch:
        patch.setattr(caching.FeatureCache, "_compute", None)  # nothing is computed from here on
        assert trained(plan, tmp_path / "warm") == first
    for file in cache.glob("*/*.safetensors"):
        file.unlink()
    assert trained(plan, tmp_path / "emptied") == first


def test_a_stage_learns_as_without_a_cache(recipe: Path, plan: Plan, tmp_path: Path) -> None:
    with_cache, _ = trained(plan, tmp_path / "with")
    without, _ = trained(make(compose(str(recipe), ["stages.speak.trainer.cache=none"])), tmp_path / "without")
    for ours, theirs in zip(with_cache, without, strict=True):
        np.testing.assert_allclose([float(value) for value in ours], [float(value) for value in theirs], rtol=1e-3)


def test_workers_and_batch_size_compute_the_same_features(recipe: Path, plan: Plan, tmp_path: Path, cache: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    trained(plan, tmp_path / "one")
    other = make(compose(str(recipe), ["stages.speak.trainer.batch_size=2", "stages.speak.trainer.workers=1"]))
    monkeypatch.setattr(caching.FeatureCache, "_compute", None)
    trained(other, tmp_path / "two")


@pytest.mark.parametrize(("train", "expected"), [
    ({"speech": {"head": "full"}}, {"audio.encoder": 1, "backbone.predicts": 3}),
    ({"audio": {"projector": "full"}}, {"audio.encoder": 1}),
    ({"backbone": "full"}, {"audio.projector": 2, "audio.encoder": 1}),
    ({"audio": {"encoder": "full"}, "backbone": "full"}, {}),
], ids=["head", "projector", "backbone", "encoder"])
def test_the_prefix_ends_where_training_begins(plan: Plan, train: dict[str, Any], expected: dict[str, int]) -> None:
    names = [f"{a}.{b}" for a, rest in train.items() if isinstance(rest, dict) for b in rest] + [
        a for a, rest in train.items() if isinstance(rest, str)]
    points = cache_points(replace(plan.stages["speak"], trained=tuple(names)), plan.inputs, plan.outputs)
    assert {point: len(parts) for point, parts in points.items()} == expected


@pytest.mark.parametrize(("overrides", "message"), [
    (["+stages.speak.train.audio.encoder=full", "+stages.speak.train.backbone=full"],
     r"stages.speak.trainer.cache is features, but no frozen part that its data reaches stands before what the stage trains"),
    (["+stages.speak.train.backbone=full", "data.rows.provides=[text,answer,codes,transcript]",
      "stages.speak.loss.transcript=0", "~stages.speak.train.transcript"],
     "but no frozen part that its data reaches stands before what the stage trains"),
    (["stages.speak.trainer.cache_gib=0"], "stages.speak.trainer.cache_gib is 0, but must be above 0"),
], ids=["nothing is frozen", "no audio", "no room"])
def test_plans_without_a_prefix_are_refused(recipe: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        make(compose(str(recipe), overrides))


class Restless(FakeEncoderModule):
    """Stays in training mode, with dropout."""

    def train(self, mode: bool = True) -> "Restless":
        super().train(True)
        return self


class Random(FakeEncoderModule):
    """Adds noise in every mode."""

    def forward(self, signal: Signal) -> Features:
        features = super().forward(signal)
        return replace(features, data=features.data + torch.randn_like(features.data))


@pytest.mark.parametrize(("module", "message"), [
    (Restless, "stores features of audio.encoder, but its module 'audio.encoder' stays in training mode although it is"
               " frozen"),
    (Random, "stores features of audio.encoder, but row .* has others each time that they are computed; leave stages.under"),
], ids=["training mode", "random"])
def test_prefixes_that_compute_otherwise_each_time_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                               module: Callable[[int, float], nn.Module], message: str) -> None:
    monkeypatch.setattr(FakeEncoder, "build", lambda self: module(self.dim, self.dropout))
    stage = stages(4)["understand"]
    stage = replace(stage, train={"audio": {"projector": "full"}}, trainer=replace(stage.trainer, cache="features"))
    plan = make_plan(write_tokenizer(tmp_path), encoder=FakeEncoder(dropout=0.1), only={"understand": stage})
    with pytest.raises(RunError, match=message):
        run_stages(plan, tmp_path / "run", "")


def test_datasets_whose_rows_change_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = EchoReader.__getitem__

    def noisy(self: EchoReader, index: int) -> Sample:
        sample = read(self, index)
        part = sample.messages[0].content[0]
        audio = np.asarray(part.audio) + np.random.default_rng().normal(size=len(np.asarray(part.audio))).astype(np.float32)
        question = replace(sample.messages[0], content=(replace(part, audio=audio),))
        return replace(sample, messages=(question, *sample.messages[1:]))

    monkeypatch.setattr(EchoReader, "__getitem__", noisy)
    stage = stages(4)["understand"]
    stage = replace(stage, train={"audio": {"projector": "full"}}, trainer=replace(stage.trainer, cache="features"))
    plan = make_plan(write_tokenizer(tmp_path), only={"understand": stage})
    with pytest.raises(DataError, match=r"stores features, but row .* of dataset echo holds other data each time that it"):
        run_stages(plan, tmp_path / "run", "")
