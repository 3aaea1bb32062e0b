"""The same training steps of the same LLaVA three ways: omnikit's under Lightning, transformers' Trainer, a loop by hand.

Each has the same weights, the same batches in the same order, AdamW, a cosine schedule and clipped gradients, on one thread.
Called with a way, steps and rows of a batch it trains in this process, and prints its memory in MB, largest and before.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytorch_lightning as L
import torch
from llava import inputs, made, of_omnikit, of_transformers, plan_of
from process_memory import ENVIRONMENT, megabytes
from torch import Tensor
from torch.optim import AdamW
from transformers import LlavaForConditionalGeneration, Trainer, TrainerCallback, TrainingArguments

from omnikit.contracts.types import Batch
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.loader import BatchLoader, NumberedBatches
from omnikit.data.batch.windows import count_window
from omnikit.plan.plan import Plan
from omnikit.training.fit import PositionCounter, lightning
from omnikit.training.module import Training
from omnikit.training.monitoring.progress import Bar
from omnikit.training.trainable.freeze import freeze
from omnikit.training.trainable.missing_gradients import MissingGradients

WARM = 3  # steps that do not count
Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class Steps:
    """Seconds of processor time of each step but the first, and the loss of the first batch after training."""

    seconds: list[float]
    loss: float

    @property
    def cost(self) -> float:
        """Seconds of the steps that count."""
        return sum(self.seconds[WARM - 1:])


class Comparison:
    """The batches of so many steps, and the ways to train on them."""

    def __init__(self, folder: Path, steps: int, batch_size: int) -> None:
        torch.set_num_threads(1)
        self.folder, self.count, self.plan = folder, steps, plan_of(folder, steps, batch_size)
        self.batches = list(drawn(self.plan, steps, batch_size))
        self.inputs = [inputs(self.plan, batch) for batch in self.batches]

    def omnikit(self) -> Steps:
        """Train as `omnikit train` does, without its checkpoints."""
        model, stage, clock = of_omnikit(self.plan), self.plan.stages["learn"], Clock()
        freeze(model, stage.trained)
        loader = BatchLoader(NumberedBatches(self.count), self.batches.__getitem__, on_window=count_window, passes=1)
        module = Training(model, stage, self.folder / "metrics.csv", self.count)
        trainer = lightning(stage, self.folder, [Bar(stage.name), MissingGradients(stage.name), PositionCounter(loader), clock])
        trainer.fit(module, loader)
        with torch.no_grad():
            loss = model.eval().losses(self.batches[0], stage.stage.loss)["text"]
        return Steps(clock.seconds(), float(loss))

    def hand(self) -> Steps:
        """Train transformers' model in a loop written for it."""
        model, ends = of_transformers().train(), Clock()
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        optimizer = AdamW(weights, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.count)
        for batch in self.inputs:
            optimizer.zero_grad()
            model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, self.clip)
            optimizer.step()
            schedule.step()
            ends.note()
        return Steps(ends.seconds(), self.final(model))

    def transformers(self) -> Steps:
        """Train transformers' model with its Trainer."""
        model, clock = of_transformers(), Clock()
        options = TrainingArguments(
            str(self.folder / "transformers"), max_steps=self.count, learning_rate=1e-3, adam_beta2=0.98, weight_decay=0.0,
            lr_scheduler_type="cosine", max_grad_norm=self.clip, optim="adamw_torch_fused", use_cpu=True, report_to=[],
            save_strategy="no", logging_strategy="no", disable_tqdm=True, remove_unused_columns=False)
        LoaderTrainer(self.inputs, model=model, args=options, callbacks=[TrainerClock(clock)]).train()
        return Steps(clock.seconds(), self.final(model))

    @property
    def clip(self) -> float:
        """The largest norm of the gradients."""
        return self.plan.stages["learn"].stage.optim.clip

    def final(self, model: LlavaForConditionalGeneration) -> float:
        """Give the loss of the first batch."""
        with torch.no_grad():
            return float(model.eval()(**self.inputs[0]).loss)


def drawn(plan: Plan, steps: int, size: int) -> Iterator[Batch]:
    """Give batches of rows with an image each and answers of different length."""
    random, collate = np.random.default_rng(0), Collator(plan, ["text"])
    for step in range(steps):
        yield collate([made(size * step + index, int(random.integers(1, 12)), random) for index in range(size)])


class Clock(L.Callback):
    """Notes when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def note(self) -> None:
        """A step ended."""
        self.ends.append(time.process_time())

    def on_train_batch_end(self, *_: object) -> None:
        self.note()

    def seconds(self) -> list[float]:
        """Give those of each step but the first."""
        return [later - earlier for earlier, later in pairwise(self.ends)]


class TrainerClock(TrainerCallback):
    """Notes when each step of transformers' Trainer ended."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_step_end(self, *_: object, **__: object) -> None:
        self.clock.note()


class LoaderTrainer(Trainer):
    """Trainer with batches that are made already."""

    def __init__(self, batches: list[Inputs], **options: object) -> None:
        self.batches = batches
        super().__init__(**options)

    def get_train_dataloader(self) -> Iterable[Inputs]:
        return self.batches


def peaks(way: str, steps: int, batch_size: int) -> tuple[float, float]:
    """Train one way in a process of its own; give its largest memory in MB, and how much its imports leave of that."""
    command = [sys.executable, __file__, way, str(steps), str(batch_size)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT).stdout
    peak, before = map(float, printed.split()[-2:])
    return peak, peak - before


def main(way: str, steps: int, batch_size: int) -> None:
    """Train one way and print what it took."""
    import accelerate  # noqa: F401  # what a way imports late is not what its training takes
    import open_clip  # noqa: F401  # its memory counts, as that of the other imports here

    with tempfile.TemporaryDirectory() as folder:
        comparison = Comparison(Path(folder), steps, batch_size)
        before = megabytes("VmRSS")
        getattr(comparison, way)()
        print(megabytes("VmHWM"), before)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
