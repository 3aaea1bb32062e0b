"""A step of llama_omni/tiny under Lightning against the same modules in a loop written by hand and in transformers' Trainer.

All take the same batches in the same order from a loader of their own, on one thread; rounds alternate, and each step counts
with its fastest round of processor time, so that what else the machine does falls out of the ratio. The losses of the last step
are equal.
"""

import os
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import pytorch_lightning as L
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn
from torch.optim import AdamW
from transformers import Trainer, TrainerCallback, TrainingArguments

from omnikit.contracts.types import Batch
from omnikit.data.batch.loader import BatchLoader, CollatedRows
from omnikit.data.batch.samplers import LengthBucketSampler, MixtureDataset
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan, StagePlan, make
from omnikit.recipe.compose import compose
from omnikit.training.fit import collator, lightning
from omnikit.training.module import Training
from omnikit.training.monitoring.progress import Bar
from omnikit.training.trainable.freeze import freeze

ROWS, STEPS, ROUNDS, LIMIT = 192, 9, 6, 1.05
NOISE = 1.02  # of fastest rounds, one way against another
SMALL = [f"data.conversations.size={ROWS}", f"data.questions_as_text.size={ROWS}",
         f"stages.understand.trainer.max_steps={STEPS}", "stages.understand.trainer.accelerator=cpu",
         "stages.understand.optim.muon=null",
         "stages.understand.optim.lr=1e-3", "stages.understand.optim.weight_decay=0", "stages.understand.optim.warmup=0",
         *(f"audio.encoder.{field}=0" for field in ("dropout", "gain_db", "time_masks", "frequency_masks"))]


class Clock(L.Callback):
    """Notes when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: object) -> None:
        self.ends.append(time.process_time())


def test_lightning_step_costs_what_a_hand_written_one_costs(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    os.environ.setdefault("OMNIKIT_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)
    plan = make(compose("llama_omni/tiny", SMALL))
    stage = plan.stages["understand"]
    times: dict[str, list[list[float]]] = {"hand": [], "lightning": [], "transformers": []}
    last: dict[str, float] = {}

    def rounds() -> None:
        for _ in range(ROUNDS):
            times["hand"].append(by_hand(plan, stage, last))
            times["lightning"].append(by_lightning(plan, stage, tmp_path, last))
            times["transformers"].append(by_transformers(plan, stage, tmp_path, last))

    benchmark.pedantic(rounds, rounds=1)
    fastest = {name: sum(min(step) for step in zip(*found, strict=True)) for name, found in times.items()}
    ratio, theirs = fastest["lightning"] / fastest["hand"], fastest["transformers"] / fastest["hand"]
    numbers = {"ratio": round(ratio, 4), "transformers": round(theirs, 4),
               "step_ms": round(1000 * fastest["lightning"] / (STEPS - 1), 1)}
    benchmark.extra_info.update(numbers)
    print(f"\nLightning / by hand: {ratio:.3f}, transformers' Trainer / by hand: {theirs:.3f},"
          f" {1000 * fastest['hand'] / (STEPS - 1):.1f} ms a step by hand")
    assert last["lightning"] == pytest.approx(last["hand"], rel=1e-5)
    assert last["transformers"] == pytest.approx(last["hand"], rel=1e-5)
    assert ratio <= LIMIT
    assert ratio <= theirs * NOISE


def start(plan: Plan, stage: StagePlan) -> tuple[OmniModel, Iterable[Batch]]:
    """Give the stage's model and a loader; the same weights and batches each time."""
    L.seed_everything(0, verbose=False)
    model = OmniModel(plan, stage.used)
    freeze(model, stage.trained)
    readers = {name: plan.readers[name].build() for name in stage.datasets}
    sampler = LengthBucketSampler(MixtureDataset(readers), stage.stage.data, stage.stage.trainer.batch_size, 0)
    return model, BatchLoader(sampler, CollatedRows(sampler.mixture, collator(plan, stage, model)), batches=STEPS)


def by_lightning(plan: Plan, stage: StagePlan, folder: Path, last: dict[str, float]) -> list[float]:
    """Give seconds of each step but the first."""
    model, batches = start(plan, stage)
    clock = Clock()
    trainer = lightning(stage, folder, [Bar(stage.name), clock])
    module = Training(model, stage, folder / "metrics.csv", STEPS)
    trainer.fit(module, batches)
    last["lightning"] = final(model, plan, stage)
    return steps(clock.ends)


class WithLoss(nn.Module):
    """A model as transformers' Trainer takes it: it gives its loss."""

    def __init__(self, model: OmniModel, weights: dict[str, float]) -> None:
        super().__init__()
        self.model, self.weights = model, weights

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        losses = self.model.losses(batch, self.weights)
        return {"loss": torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()}


class StepClock(TrainerCallback):
    """Notes when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: object, **__: object) -> None:
        self.ends.append(time.process_time())


class LoaderTrainer(Trainer):
    """Trainer with a loader that is made already."""

    def __init__(self, loader: Iterable[Batch], **options: object) -> None:
        self.loader = loader
        super().__init__(**options)

    def get_train_dataloader(self) -> Iterable[dict[str, Batch]]:
        return Named(self.loader)


class Named:
    """Batches by the name under which a model takes them, each made when it is asked for."""

    def __init__(self, loader: Iterable[Batch]) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[dict[str, Batch]]:
        return ({"batch": batch} for batch in self.loader)


def by_transformers(plan: Plan, stage: StagePlan, folder: Path, last: dict[str, float]) -> list[float]:
    """Give seconds of each step but the first."""
    model, batches = start(plan, stage)
    clock = StepClock()
    options = TrainingArguments(
        str(folder / "transformers"), max_steps=STEPS, learning_rate=1e-3, adam_beta2=0.98, weight_decay=0.0,
        lr_scheduler_type="cosine", max_grad_norm=stage.stage.optim.clip, optim="adamw_torch_fused", use_cpu=True, report_to=[],
        save_strategy="no", logging_strategy="no", disable_tqdm=True, remove_unused_columns=False)
    LoaderTrainer(batches, model=WithLoss(model, stage.stage.loss), args=options, callbacks=[clock]).train()
    last["transformers"] = final(model, plan, stage)
    return steps(clock.ends)


def final(model: OmniModel, plan: Plan, stage: StagePlan) -> float:
    """Give the loss of a batch after training."""
    model.eval()
    reader = plan.readers[stage.datasets[0]].build()
    with torch.no_grad():
        losses = model.losses(collator(plan, stage, model)([reader[index] for index in range(8)]), stage.stage.loss)
    return sum(stage.stage.loss[name] * float(loss) for name, loss in losses.items())


def by_hand(plan: Plan, stage: StagePlan, last: dict[str, float]) -> list[float]:
    """Give seconds of each step but the first, of a loop for this one recipe."""
    model, batches = start(plan, stage)
    model.train()
    torch.use_deterministic_algorithms(False)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = AdamW(weights, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    ends: list[float] = []
    while len(ends) < STEPS:
        for batch in batches:
            optimizer.zero_grad()
            loss(model, batch, stage.stage.loss).backward()
            torch.nn.utils.clip_grad_norm_(weights, stage.stage.optim.clip)
            optimizer.step()
            schedule.step()
            ends.append(time.process_time())
            if len(ends) == STEPS:
                break
    last["hand"] = final(model, plan, stage)
    return steps(ends)


def loss(model: OmniModel, batch: Batch, weights: dict[str, float]) -> Tensor:
    """Call the modules one after another."""
    backbone = model.language_model()
    inputs = backbone.embed(batch.tokens)
    total = inputs.new_zeros(())
    if "audio" in batch.signals:
        encoded = model.encoder("audio")(batch.signals["audio"])
        projected = model.projector("audio")(encoded)
        embeddings = torch.cat([projected.data[i, :n] for i, n in enumerate(batch.counts["audio"])])
        inputs = inputs.flatten(0, 1).index_copy(0, batch.slots["audio"], embeddings).view_as(inputs)
        total = total + weights["transcript"] * model.head("transcript").loss(encoded, batch.targets["transcript"])
    mask = torch.arange(batch.tokens.shape[1]) < batch.lengths[:, None]
    hidden = backbone(inputs, mask)[torch.arange(len(mask))[:, None], (batch.answers - 1).clamp(min=0)]
    targets = batch.targets["text"].ids.flatten()
    text = torch.nn.functional.cross_entropy(backbone.logits(hidden).flatten(0, 1).float(), targets, ignore_index=-100)
    return total + weights["text"] * text


def steps(ends: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(ends)]


