"""VITA-1.5 at full size with random weights: the first word of an answer, and a packed training step of stage 2.2.

    python benchmarks/real_size_vita.py                  # vita_1_5/full in bfloat16 on a GPU: 17 GB, and 130 GB to train
    python benchmarks/real_size_vita.py --only answer    # the first word alone
    python benchmarks/real_size_vita.py --tiny           # tiny sizes on a processor, to see that it works

The question is 4 seconds of noise and an image of random pixels; its ids are random, as many as VITA's prompt has. The
training step takes packed rows of such conversations, laid out as the stage's are, holds what it trains in float32 and runs in
bfloat16, as the stage does. FLOPs are the model's: 2 for each weight that a position passes (6 where gradients pass too), and
attention's; recomputed activations are not counted. The fraction is of a bfloat16 matrix product measured on the same device.
Each time is the fastest of the rounds; the first round, which warms up, does not count.
"""

import argparse
import resource
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from real_size import Clock
from torch import Tensor
from torch.optim import AdamW

from omnikit.contracts.types import Batch, Targets
from omnikit.data.batch.packing import first_fit, pack_batch
from omnikit.data.batch.padding import pad
from omnikit.data.batch.signals import pad_signals
from omnikit.data.media.image import cut_tiles, normalise
from omnikit.inference.generate import Sampling, decoding_steps
from omnikit.model import OmniModel, Taps
from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose
from omnikit.training.memory import activation_checkpointing
from omnikit.training.trainable.freeze import freeze, full_precision

TINY = ["vision/encoder=internvit_tiny_random", "audio/encoder=mel_cnn_tiny_random", "backbone=qwen2_tiny_random",
        "speech/head=nar_ar_tiny_random", "speech/codec=ticodec_tiny_random", "stages.codec.loss.codebook=0"]
STAGES = ("align_vision", "understand_vision", "instruct_vision", "align_audio", "instruct_audio")  # those that pack
STAGE = "instruct_audio"
BEFORE, AFTER = 130, 16  # positions of VITA's system prompt for images, and of what follows a question


@dataclass
class Made:
    """A conversation: ids before, tiles, a waveform, ids behind, ids of the answer."""

    tiles: Sequence[NDArray[np.float32]]
    waveform: NDArray[np.float32] | None
    before: int = BEFORE
    answer: int = 0

    def length(self, plan: Plan) -> int:
        """Give its positions."""
        frames = 0 if self.waveform is None else plan.inputs["audio"].length(len(self.waveform))
        return self.before + len(self.tiles) * plan.inputs["vision"].length(1) + frames + AFTER + self.answer


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="as in `omnikit train`")
    parser.add_argument("--recipe", default="vita_1_5/full")
    parser.add_argument("--tiny", action="store_true", help="tiny encoders and language model")
    parser.add_argument("--only", choices=("answer", "train"))
    parser.add_argument("--width", type=int, default=448, help="of the image")
    parser.add_argument("--height", type=int, default=448, help="of the image")
    parser.add_argument("--seconds", type=float, default=4.0, help="of the question")
    parser.add_argument("--rows", type=int, default=1, help="packed rows of a training step")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    small = [*TINY, *(f"stages.{stage}.trainer.pack=512" for stage in STAGES)] if arguments.tiny else []
    plan = make(compose(arguments.recipe, [*small, *arguments.overrides]))
    if arguments.only != "train":
        answer(plan, device, arguments)
    if arguments.only != "answer":
        train(plan, device, arguments)


# ---- the first word --------------------------------------------------------------------------------------------------


@torch.no_grad()
def answer(plan: Plan, device: torch.device, arguments: argparse.Namespace) -> None:
    """Print the time from the end of the question to the first word, and its parts."""
    with device:
        unused = ("transcript", "prompt", "speech")
        model = OmniModel(plan, [part for part in plan.parts() if not part.startswith(unused)]).eval()
    half(model, plan, model.parts())
    pixels = np.random.default_rng(0).integers(0, 256, (arguments.height, arguments.width, 3), dtype=np.uint8)
    found = defaultdict[str, list[float]](list)
    for number in range(arguments.rounds + 1):
        clock = Clock(device)
        with clock.part("all to the first word"):
            question = asked(plan, pixels, arguments.seconds).mapped(lambda tensor: tensor.to(device))
            int(next(decoding_steps(model, question, Sampling((), 1))).tokens[0])
        by_part(model, plan, pixels, arguments.seconds, clock)
        for name, seconds in clock.parts.items():
            found[name] += seconds if number else []
    print(f"question of {arguments.seconds:g} s and an image of {len(question.rows['vision'])} tiles,"
          f" {question.tokens.shape[1]} positions")
    for name, times in found.items():
        print(f"{name:<44}{1000 * min(times):9.2f} ms")


def by_part(model: OmniModel, plan: Plan, pixels: np.ndarray, seconds: float, clock: Clock) -> None:
    """Time each part of the same answer alone."""
    with clock.part("  image to tiles, on the processor"):
        question = asked(plan, pixels, seconds)
    with clock.part("  to the device"):
        question = question.mapped(lambda tensor: tensor.to(clock.device))
    taps = Taps(model, question)
    with clock.part("  vision encoder"):
        taps.encoded("vision")
    with clock.part("  audio encoder"):
        taps.encoded("audio")
    with clock.part("  projectors"):
        taps.projected("vision")
        taps.projected("audio")
    backbone = model.language_model()
    with clock.part("  prefill"):
        mask = torch.ones(taps.inputs.shape[:2], dtype=torch.bool, device=clock.device)
        hidden, _ = backbone.step(taps.inputs, mask, backbone.init_state(1))
    with clock.part("  first word's logits"):
        int(backbone.logits(hidden[:, -1]).argmax())


def asked(plan: Plan, pixels: np.ndarray, seconds: float) -> Batch:
    """Give a question: the image, then speech."""
    spec = plan.inputs["vision"].image_spec
    assert spec, "an encoder of images has one"
    cut = list(normalise(cut_tiles(pixels, spec), spec))
    waveform = 0.1 * np.random.default_rng(0).standard_normal(int(16000 * seconds)).astype(np.float32)
    return batch_of(plan, [Made(cut, waveform)])


# ---- a training step -------------------------------------------------------------------------------------------------


def train(plan: Plan, device: torch.device, arguments: argparse.Namespace) -> None:
    """Print positions per second, memory and the fraction of the device's speed of a packed training step."""
    stage = plan.stages[STAGE]
    with device:
        model = OmniModel(plan, stage.used)
    half(model, plan, set(stage.used) - set(stage.trained))
    freeze(model, stage.trained)
    batch = packed(plan, stage.stage.trainer.pack or 0, arguments.rows).mapped(lambda tensor: tensor.to(device))
    times = []
    with full_precision(model, stage.trained), activation_checkpointing(model, ["backbone"]):
        optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, fused=True)
        model.train()
        for number in range(arguments.rounds + 1):
            clock = Clock(device)
            with clock.part("step"):
                with torch.autocast(device.type, torch.bfloat16):
                    losses = model.losses(batch, stage.stage.loss)
                sum(losses.values(), torch.zeros((), device=device)).backward()
                optimizer.step()
                optimizer.zero_grad()
            times += clock.parts["step"] if number else []
    positions, work, speed = int(batch.lengths.sum()), flops(model, plan, batch), matmul(device)
    print(f"\n{STAGE}: {len(batch.ids)} conversations in {batch.tokens.shape[0]} rows of {batch.tokens.shape[1]} positions,"
          f" {1 - positions / batch.tokens.numel():.1%} padding")
    print(f"{'step':<44}{1000 * min(times):9.1f} ms")
    print(f"{'positions per second':<44}{positions / min(times):9.0f}")
    print(f"{'memory':<44}{memory(device) / 1e9:9.1f} GB")
    print(f"{'model FLOPs':<44}{work / 1e12:9.3f} T")
    print(f"{'of the speed of matrix products':<44}{work / min(times) / speed:9.1%}   ({speed / 1e12:.2f} TFLOP/s, measured)")


def packed(plan: Plan, pack: int, rows: int) -> Batch:
    """Give so many full rows of conversations: images, speech and text in turns, answers of 20 to 300 words."""
    spec, random = plan.inputs["vision"].image_spec, np.random.default_rng(0)
    assert spec, "an encoder of images has one"
    made: list[Made] = []
    while sum(one.length(plan) for one in made) < 2 * rows * pack:
        cut = normalise(random.integers(0, 256, (int(len(made) % 3 == 0), spec.size, spec.size, 3), dtype=np.uint8), spec)
        waveform = 0.1 * random.standard_normal(int(16000 * random.uniform(2, 6))).astype(np.float32)
        made.append(Made(list(cut), None if len(made) % 3 == 2 else waveform, min(BEFORE, pack // 8),
                         int(random.integers(20, min(300, pack // 3)))))
    made.sort(key=lambda one: -one.length(plan))
    filled = first_fit([], [one.length(plan) for one in made], pack)
    filled = sorted(filled, key=lambda row: -sum(made[index].length(plan) for index in row))[:rows]
    conversation_rows = [index for index, row in enumerate(filled) for _ in row]
    return pack_batch(batch_of(plan, [made[index] for row in filled for index in row]), conversation_rows, ["text"])


def batch_of(plan: Plan, made: Sequence[Made]) -> Batch:
    """Give a batch of conversations of random ids."""
    lengths, random = [one.length(plan) for one in made], np.random.default_rng(1)
    slots: dict[str, list[int]] = {"vision": [], "audio": []}
    counts: dict[str, list[int]] = {"vision": [], "audio": []}
    rows: dict[str, list[int]] = {"vision": [], "audio": []}
    for row, one in enumerate(made):
        position = row * max(lengths) + one.before
        for name, sizes in (("vision", [1] * len(one.tiles)), ("audio", [] if one.waveform is None else [len(one.waveform)])):
            for count in (plan.inputs[name].length(size) for size in sizes):
                slots[name] += range(position, position + count)
                counts[name].append(count)
                rows[name].append(row)
                position += count
    signals = {"vision": [tile for one in made for tile in one.tiles],
               "audio": [one.waveform for one in made if one.waveform is not None]}
    there = [name for name, items in signals.items() if items]
    answers = [list(range(total - one.answer, total)) for total, one in zip(lengths, made, strict=True)]
    sizes, audios = torch.tensor([one.answer for one in made]), len(rows["audio"])
    targets = {"text": Targets(pad([random.integers(20, 600, one.answer).tolist() for one in made], -100), sizes),
               "turn": Targets(torch.arange(audios)[:, None] % 2, torch.ones(audios, dtype=torch.int64))}
    return Batch(
        tokens=pad([random.integers(20, 600, total).tolist() for total in lengths], 0), lengths=torch.tensor(lengths),
        answers=pad(answers, 0), answer_lengths=sizes, signals={name: pad_signals(signals[name]) for name in there},
        slots={name: torch.tensor(slots[name]) for name in there}, counts=counts, rows=rows, targets=targets,
        ids=[f"row{number}" for number in range(len(made))])


# ---- numbers ---------------------------------------------------------------------------------------------------------


def flops(model: OmniModel, plan: Plan, batch: Batch) -> float:
    """Give the model FLOPs of a step of STAGE, whose encoders are frozen and whose language model is trained."""
    backbone = plan.backbone
    assert backbone is not None and batch.documents is not None and batch.target_positions is not None
    table = backbone.dim * backbone.vocabulary  # the input's is looked up, the output's is multiplied at answers only
    tied = int(bool(getattr(backbone, "tie_embeddings", False)))
    inner = weights(model, "backbone") - table * (2 - tied)
    lengths = [int(n) for row in batch.documents for n in torch.unique(row[row > 0], return_counts=True)[1]]
    attention = 6 * sum(n * n for n in lengths) * backbone.dim * int(getattr(backbone, "layers", 0))  # causal: half of 12
    total = 6.0 * (inner * int(batch.lengths.sum()) + table * len(batch.target_positions)) + attention
    for name in batch.signals:
        embeddings = sum(batch.counts[name])
        frames = plan.inputs[name].encoder.length(1) * len(batch.counts[name]) if name == "vision" else 2 * embeddings
        total += 2.0 * weights(model, f"{name}.encoder") * frames + 6.0 * weights(model, f"{name}.projector") * embeddings
    return total


def weights(model: OmniModel, part: str) -> int:
    """Give the number of a part's weights."""
    return sum(p.numel() for p in model.get_submodule(part).parameters())


def matmul(device: torch.device) -> float:
    """Give the FLOPs per second of a bfloat16 matrix product of size 8192 (512 on a processor)."""
    size = 8192 if device.type == "cuda" else 512
    data: Tensor = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    clock = Clock(device)
    for _ in range(6):
        with clock.part("product"):
            data @ data
    return 2 * size**3 / min(clock.parts["product"])


def memory(device: torch.device) -> float:
    """Give the most bytes that were held: on the accelerator, else by the process."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated())
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def half(model: OmniModel, plan: Plan, parts: Collection[str]) -> None:
    """Hold parts in the language model's own format."""
    dtype = getattr(torch, str(getattr(plan.backbone, "dtype", "float32")))
    for path in parts:
        model.get_submodule(path).to(dtype)


if __name__ == "__main__":
    main()
