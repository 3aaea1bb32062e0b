"""`trainer.cache: features` against computing a frozen prefix each time: seconds of an epoch of LLaMA-Omni's second stage.

An encoder, a projector and a backbone are frozen (some 50 million random weights), a small speech head is trained on 24 made-up
rows. With 14 million the first epoch takes 1.14 instead of 1.04: the interpreter's time for each row alone. An epoch is
everything that a stage does for it: collating, keys, features, forward, backward, optimizer, on one thread. Three ways take
turns in rounds of processor time: without a cache, from an empty one (which computes and writes), from a full one. The losses
of the last two are the same bits.
"""

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bench_table import Measures, Ratio
from torch.optim import AdamW

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.loader import BatchLoader, CollatedRows
from omnikit.data.batch.samplers import LengthBucketSampler, MixtureDataset
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose
from omnikit.training.feature_cache import FeatureCache, feature_cache
from omnikit.training.trainable.freeze import freeze

ROWS, BATCH, ROUNDS = 24, 8, 3
FIRST, LATER = 1.1, 5.0
RECIPE = """\
# @package _global_
defaults:
  - /recipe
  - /audio/encoder: whisper_tiny_random
  - /audio/projector: stack_mlp
  - /backbone: llama_tiny_random
  - /text/head: lm
  - /speech/head: ctc_units_tiny_random
  - /speech/codec: unit_hifigan_tiny_random
  - /data/rows: messages_jsonl
  - _self_
audio: {encoder: {dim: 256, ffn: 1024, layers: 4}}
backbone: {dim: 768, layers: 6, heads: 12, kv_heads: 12, ffn: 2048}
speech: {head: {dim: 64, layers: 1, factor: 4, ffn: 128}}
data:
  rows: {path: rows.jsonl, provides: [audio, answer, codes], seconds: 8}
stages:
  speak:
    train: {speech: {head: full}}
    loss: {speech: 1.0}
    data: {rows: 1.0}
    trainer: {max_epochs: 1, batch_size: 8, cache: features}
"""


class Spoken:
    """Made-up spoken questions of four to eight seconds, the same each time."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.samples = [made(number, random) for number in range(ROWS)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def made(number: int, random: np.random.Generator) -> Sample:
    audio = random.normal(0, 0.1, int(random.integers(64000, 128000))).astype(np.float32)
    codes = tuple((int(code),) for code in random.integers(0, 100, 12))
    answer = (ContentPart("text", text="it is so"), ContentPart("audio", codes=codes))
    return Sample(f"row{number}", (Message("user", (ContentPart("audio", audio=audio),)), Message("assistant", answer)))


def test_features_are_computed_once_and_then_read(measures: Measures, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setenv("OMNIKIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "speak.yaml").write_text(RECIPE)
    plan = make(compose(str(tmp_path / "speak.yaml")))
    losses: dict[str, list[float]] = {}

    def cost(way: str, cache: str) -> float:
        if way == "first":
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        spent, losses[way] = epoch(plan, cache)
        return spent

    costs = measures.compare({"without": lambda: cost("without", "none"), "first": lambda: cost("first", "features")},
                             Ratio("first epoch with a cache / without", "first", "without", most=FIRST), rounds=ROUNDS)
    later = [cost("later", "features") for _ in costs["without"]]
    measures.ratio("an epoch without a cache / a later one with it", costs["without"], later, least=LATER)
    measures.number("an epoch without a cache", min(costs["without"]), "s")
    assert losses["first"] == losses["later"]
    np.testing.assert_allclose(losses["first"], losses["without"], rtol=1e-4)


def epoch(plan: Plan, cache: str) -> tuple[float, list[float]]:
    """Train one pass from the same weights; give seconds of processor time and the losses."""
    stage = plan.stages["speak"]
    stage = replace(stage, stage=replace(stage.stage, trainer=replace(stage.stage.trainer, cache=cache)))  # type: ignore[arg-type]  # one of its words
    model = OmniModel(plan)
    freeze(model, stage.trained)
    model.train()
    with feature_cache(plan, stage, model) as features:
        start = time.process_time()
        losses = list(steps(plan, model, features))
    return time.process_time() - start, losses


def steps(plan: Plan, model: OmniModel, features: FeatureCache | None) -> Iterator[float]:
    mixture = MixtureDataset({"rows": Spoken()})
    rows = CollatedRows(mixture, Collator(plan, ["speech"]))
    order = LengthBucketSampler(mixture, {"rows": 1.0}, BATCH, 0)
    optimizer = AdamW(model.get_submodule("speech.head").parameters(), 1e-3)
    for batch in BatchLoader(order, features.keyed(rows) if features else rows, passes=1):
        loss = model.losses(batch, ["speech"], features(batch) if features else None)["speech"]
        loss.backward()  # type: ignore[no-untyped-call]  # torch's stub
        optimizer.step()
        optimizer.zero_grad()
        yield float(loss.detach())
