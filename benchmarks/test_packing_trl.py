"""Rows of mixed length, half of them with an image: useful positions a second when packed by us and when padded by TRL's
SFTTrainer, which refuses to pack rows with images.

The same LLaVA and rows, about as many positions in a step; all of a training counts: collating and steps. Processor time of
one thread, in rounds that alternate. Useful is a position that holds a token or a feature of an image. TRL's own loss works in
chunks that pay on a GPU, so that its trainer is measured with transformers' loss, too.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from bench_table import Measures, Ratio
from datasets import Dataset
from llava import IMAGE, PATCH, SIDE, made, of_omnikit, of_transformers, plan_of
from PIL import Image
from transformers import CLIPImageProcessor, LlavaProcessor, PreTrainedTokenizerFast, Trainer
from trl import SFTConfig, SFTTrainer

from omnikit.contracts.types import Batch, Sample
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.lengths import LengthCounter
from omnikit.data.batch.loader import BatchLoader, CollatedRows
from omnikit.data.batch.packing import PackedCollator, PackedSamples, PackingSampler
from omnikit.data.batch.sample_lengths import SampleLengths
from omnikit.data.batch.samplers import MixtureDataset, MixtureSampler
from omnikit.data.batch.windows import count_window
from omnikit.plan.plan import Plan
from omnikit.training.fit import PositionCounter, lightning
from omnikit.training.module import Training
from omnikit.training.monitoring.progress import Bar
from omnikit.training.trainable.freeze import freeze

ROWS, BATCH, PACK, WORDS, ROUNDS, FASTER = 80, 8, 512, 90, 3, 1.5
TOKENIZER = Path(__file__).parents[1] / "conf" / "tokenizer" / "tiny.json"
USER, END = "<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"
TEXT = f"<|begin_of_text|>{USER}{{asked}}{END}{USER.replace('user', 'assistant')}{{answer}}{END}"


def rows() -> list[Sample]:
    """Make up rows whose answers have 1 to 90 words, many of them few."""
    random = np.random.default_rng(0)
    return [made(number, int(np.exp(random.uniform(0, np.log(WORDS)))), random, image=number % 2 == 0)
            for number in range(ROWS)]


def test_packing_against_trl(measures: Measures, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    plan, samples, useful = plan_of(tmp_path, 10_000, BATCH), rows(), dict[str, int]()

    def cost(way: str, train: Callable[[], tuple[int, float]]) -> float:
        useful[way], seconds = train()
        return seconds / useful[way]

    ways = {"omnikit": lambda: by_omnikit(plan, samples, tmp_path), "trl": lambda: by_trl(CountedTrainer, samples, tmp_path),
            "plain": lambda: by_trl(PlainLossTrainer, samples, tmp_path)}
    costs = measures.compare({way: partial(cost, way, train) for way, train in ways.items()},
                             Ratio("useful positions a second, packed / TRL's SFTTrainer", "trl", "omnikit", least=FASTER),
                             Ratio("… / SFTTrainer with transformers' loss", "plain", "omnikit", least=FASTER), rounds=ROUNDS)
    for way, each in costs.items():
        measures.number(f"useful positions a second, {way}", 1 / min(each), "")
    assert useful["omnikit"] == pytest.approx(useful["trl"], rel=0.01), "the same rows"


def by_omnikit(plan: Plan, samples: list[Sample], folder: Path) -> tuple[int, float]:
    """Train one pass on packed rows; give useful positions and seconds."""
    model, stage, useful = of_omnikit(plan), plan.stages["learn"], list[int]()
    freeze(model, stage.trained)
    mixture, collate = MixtureDataset({"rows": samples}), Collator(plan, ["text"])
    sizes = SampleLengths(mixture, LengthCounter(collate))
    order = PackingSampler(MixtureSampler(mixture, {"rows": 1.0}, 0), sizes, batch_size=2, pack=PACK, passes=1)
    make = CollatedRows(PackedSamples(mixture), PackedCollator(collate))

    def on_window(batches: Sequence[Batch]) -> None:
        count_window(batches)
        useful.extend(int(batch.lengths.sum()) for batch in batches)

    loader = BatchLoader(order, make, on_window=on_window, passes=1)
    module = Training(model, stage, folder / "metrics.csv", stage.stage.trainer.max_steps or 1)
    trainer = lightning(stage, folder, [Bar(stage.name), PositionCounter(loader)])
    start = time.process_time()
    trainer.fit(module, loader)
    return sum(useful), time.process_time() - start


class CountedTrainer(SFTTrainer):
    """TRL's trainer, which adds up useful positions."""

    useful = 0

    def training_step(self, model: torch.nn.Module, inputs: dict[str, torch.Tensor], *rest: object) -> torch.Tensor:
        self.useful += int(inputs["attention_mask"].sum())
        return super().training_step(model, inputs, *rest)


class PlainLossTrainer(CountedTrainer):
    """TRL's trainer with the loss that the model gives."""

    def compute_loss(self, model: torch.nn.Module, inputs: dict[str, torch.Tensor], return_outputs: bool = False,
                     num_items_in_batch: torch.Tensor | None = None) -> torch.Tensor:
        return Trainer.compute_loss(self, model, inputs, return_outputs, num_items_in_batch)


def by_trl(kind: type[CountedTrainer], samples: list[Sample], folder: Path) -> tuple[int, float]:
    """Train one pass on padded rows; give useful positions and seconds."""
    options = SFTConfig(str(folder / "trl"), num_train_epochs=1, per_device_train_batch_size=BATCH, learning_rate=1e-3,
                        weight_decay=0.0, optim="adamw_torch_fused", use_cpu=True, bf16=False, gradient_checkpointing=False,
                        max_length=None, report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
                        remove_unused_columns=False)
    dataset = Dataset.from_list([as_trl(sample) for sample in samples])
    trainer = kind(of_transformers(), options, train_dataset=dataset, processing_class=processor())
    start = time.process_time()
    trainer.train()
    return trainer.useful, time.process_time() - start


def as_trl(sample: Sample) -> dict[str, object]:
    """Give a row with its text in the template that the recipe has."""
    *images, asked = sample.messages[0].content
    text = TEXT.format(asked="<image>" * len(images) + (asked.text or ""), answer=sample.messages[1].content[0].text)
    return {"text": text, "images": [Image.fromarray(part.pixels) for part in images]}


def processor() -> LlavaProcessor:
    """Give what turns texts and images into tensors, as a published LLaVA's does."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(TOKENIZER), pad_token=END, eos_token=END)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    assert tokenizer.convert_tokens_to_ids("<image>") == IMAGE
    images = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return LlavaProcessor(images, tokenizer, patch_size=PATCH, vision_feature_select_strategy="default",
                          num_additional_image_tokens=1)
