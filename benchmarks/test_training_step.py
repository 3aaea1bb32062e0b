"""A step of llama_omni/tiny under Lightning against the same modules in a loop written by hand, in one run.

Both take the same batches in the same order from a loader of their own, on one thread; rounds alternate, and each step counts
with its fastest round of processor time, so that what else the machine does falls out of the ratio.
"""

import os
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytorch_lightning as L
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor
from torch.optim import AdamW

from omnikit.contracts.types import Batch
from omnikit.data.batch.loader import BatchLoader, CollatedRows
from omnikit.data.batch.samplers import LengthBucketSampler, MixtureDataset
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan, StagePlan, make
from omnikit.recipe.compose import compose
from omnikit.training.fit import collator, lightning
from omnikit.training.freeze import freeze
from omnikit.training.module import Training
from omnikit.training.progress import Bar

ROWS, STEPS, ROUNDS, LIMIT = 192, 9, 6, 1.05
SMALL = [f"data.conversations.size={ROWS}", f"data.questions_as_text.size={ROWS}",
         f"stages.understand.trainer.max_steps={STEPS}", "stages.understand.trainer.accelerator=cpu"]


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
    times: dict[str, list[list[float]]] = {"hand": [], "lightning": []}

    def rounds() -> None:
        for _ in range(ROUNDS):
            times["hand"].append(by_hand(plan, stage))
            times["lightning"].append(by_lightning(plan, stage, tmp_path))

    benchmark.pedantic(rounds, rounds=1)
    fastest = {name: sum(min(step) for step in zip(*found, strict=True)) for name, found in times.items()}
    ratio = fastest["lightning"] / fastest["hand"]
    numbers = {"ratio": round(ratio, 4), "step_ms": round(1000 * fastest["lightning"] / (STEPS - 1), 1)}
    benchmark.extra_info.update(numbers)
    print(f"\nLightning / by hand: {ratio:.3f}, {1000 * fastest['hand'] / (STEPS - 1):.1f} ms a step by hand")
    assert ratio <= LIMIT


def start(plan: Plan, stage: StagePlan) -> tuple[OmniModel, Iterable[Batch]]:
    """Give the stage's model and a loader; the same weights and batches each time."""
    L.seed_everything(0, verbose=False)
    model = OmniModel(plan, stage.used)
    freeze(model, stage.trained)
    readers = {name: plan.readers[name].build() for name in stage.datasets}
    sampler = LengthBucketSampler(MixtureDataset(readers), stage.stage.data, stage.stage.trainer.batch_size, 0)
    return model, BatchLoader(sampler, CollatedRows(sampler.mixture, collator(plan, stage, model)), batches=STEPS)


def by_lightning(plan: Plan, stage: StagePlan, folder: Path) -> list[float]:
    """Give seconds of each step but the first."""
    model, batches = start(plan, stage)
    clock = Clock()
    trainer = lightning(stage, folder, [Bar(stage.name), clock])
    trainer.fit(Training(model, stage, folder / "metrics.csv", STEPS), batches)
    return steps(clock.ends)


def by_hand(plan: Plan, stage: StagePlan) -> list[float]:
    """Give seconds of each step but the first, of a loop for this one recipe."""
    model, batches = start(plan, stage)
    model.train()
    torch.use_deterministic_algorithms(False)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = AdamW(weights, lr=1e-3, betas=(0.9, 0.98), fused=True)
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


