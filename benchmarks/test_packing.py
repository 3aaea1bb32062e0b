"""Packed rows against padded ones: useful positions per second of a training step, and the fraction of padding that is left.

Samples of very different length (a word, a long text, images of one to five tiles, speech of half a second to eight) are made
up here in memory, so that no reader's time counts. Three ways take batches of so many rows: as they come (what most code
does without packing), sorted by length within a window (ours without packing), and packed. Each step is forward, backward and
optimizer of the same modules on one thread, with frozen encoders; rounds of processor time alternate, so that what else the
machine does falls out of the ratio.
"""

import time
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from bench_table import Measures, Ratio
from torch.optim import AdamW

from omnikit.contracts.types import Batch, ContentPart, Message, Sample
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.lengths import LengthCounter
from omnikit.data.batch.loader import BatchLoader, CollatedRows
from omnikit.data.batch.packing import PackedCollator, PackedSamples, PackingSampler
from omnikit.data.batch.sample_lengths import SampleLengths
from omnikit.data.batch.samplers import LengthBucketSampler, MixtureDataset, MixtureSampler
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose
from omnikit.training.trainable.freeze import freeze

ROWS, PACK, BATCH, POSITIONS, ROUNDS = 600, 512, 4, 10000, 3
FASTER, PADDING = 1.5, 0.03
RECIPE = """\
# @package _global_
defaults:
  - /recipe
  - /vision/encoder: internvit_tiny_random
  - /vision/projector: mlp_2x
  - /audio/encoder: mel_cnn_tiny_random
  - /audio/projector: strided_conv
  - /backbone: qwen2_tiny_random
  - /text/head: lm
  - _self_
"""


class Mix:
    """Made-up samples, the same each time."""

    def __init__(self, rows: int) -> None:
        random = np.random.default_rng(0)
        self.samples = [self._made(number, random) for number in range(rows)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    def _made(self, number: int, random: np.random.Generator) -> Sample:
        asked: list[ContentPart] = []
        if number % 4 == 1:
            pixels = random.integers(0, 256, (64, 64 * int(random.integers(1, 5)), 3), dtype=np.uint8)
            asked.append(ContentPart("image", pixels=pixels))
        asked.append(ContentPart("text", text="what is it "))
        if number % 4 == 2:
            asked.append(ContentPart("audio", audio=random.normal(0, 0.1,
                                                                  int(16000 * between(0.5, 8, random))).astype(np.float32)))
        words = int(between(1, 90, random)) if number % 4 in (0, 3) else int(between(1, 10, random))
        answer = ContentPart("text", text="it is so " * words)
        return Sample(f"row{number}", (Message("user", tuple(asked)), Message("assistant", (answer,))))


def between(least: float, most: float, random: np.random.Generator) -> float:
    """Draw a number whose logarithm is uniform: short ones are many, as in real mixtures."""
    return float(np.exp(random.uniform(np.log(least), np.log(most))))


def test_packed_rows_learn_from_more_in_the_same_time(measures: Measures, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    (tmp_path / "mix.yaml").write_text(RECIPE)
    plan = make(compose(str(tmp_path / "mix.yaml"), []))
    ways = {"as they come": drawn(plan), "sorted": sorted_by_length(plan), "packed": packed(plan)}
    costs = measures.compare(
        {name: partial(cost, plan, some(batches)) for name, batches in ways.items()},
        Ratio("useful positions a second, packed / padded as drawn", "as they come", "packed", least=FASTER),
        Ratio("useful positions a second, packed / padded and sorted", "sorted", "packed"), rounds=ROUNDS)
    measures.number("positions a second, packed", 1 / min(costs["packed"]), "")
    for name, batches in ways.items():
        measures.number(f"padding, {name}", padding(batches), "", most=PADDING if name == "packed" else None)


def drawn(plan: Plan) -> list[Batch]:
    """Give the batches of a pass in the order in which samples are drawn."""
    mixture, collate = MixtureDataset({"mix": Mix(ROWS)}), Collator(plan, ["text"])
    picks = iter(MixtureSampler(mixture, {"mix": 1.0}, 0).sample_keys(0)[0])
    return [collate([mixture[pick] for pick in batch]) for batch in iter(lambda: list(islice(picks, BATCH)), [])]


def sorted_by_length(plan: Plan) -> list[Batch]:
    mixture = MixtureDataset({"mix": Mix(ROWS)})
    order = LengthBucketSampler(mixture, {"mix": 1.0}, BATCH, 0)
    return list(BatchLoader(order, CollatedRows(mixture, Collator(plan, ["text"])), passes=1))


def packed(plan: Plan) -> list[Batch]:
    mixture, collate = MixtureDataset({"mix": Mix(ROWS)}), Collator(plan, ["text"])
    drawn = MixtureSampler(mixture, {"mix": 1.0}, 0)
    order = PackingSampler(drawn, SampleLengths(mixture, LengthCounter(collate)), batch_size=BATCH, pack=PACK)
    return list(BatchLoader(order, CollatedRows(PackedSamples(mixture), PackedCollator(collate)), passes=1))


def some(batches: list[Batch]) -> list[Batch]:
    """Give the first batches, which together hold POSITIONS."""
    found = 0
    for number, batch in enumerate(batches):
        found += int(batch.lengths.sum())
        if found >= POSITIONS:
            return batches[:number + 1]
    return batches


def padding(batches: list[Batch]) -> float:
    """Give the fraction of positions that are padding."""
    return 1 - sum(int(batch.lengths.sum()) for batch in batches) / sum(batch.tokens.numel() for batch in batches)


def cost(plan: Plan, batches: list[Batch]) -> float:
    """Give seconds of processor time per useful position."""
    model = OmniModel(plan)
    freeze(model, ["vision.projector", "audio.projector", "backbone", "text.head"])
    model.train()
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True)
    start = time.process_time()
    for batch in batches:
        optimizer.zero_grad()
        model.losses(batch, ["text"])["text"].backward()
        optimizer.step()
    return (time.process_time() - start) / sum(int(batch.lengths.sum()) for batch in batches)
