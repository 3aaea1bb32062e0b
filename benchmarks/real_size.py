"""Time to first audio at real sizes with random weights, its parts, and the time that reading the weights once per token takes.

    python benchmarks/real_size.py                              # llama_omni/full in bfloat16 on a GPU, 17 GB
    python benchmarks/real_size.py --recipe llama_omni/tiny     # the same on a processor, to see that it works

Random weights give no realistic rate of codes, so the head runs, but units come as often as in LLaMA-Omni's data. The vocoder
stays in float32. Each number is the fastest of the rounds; the first round, which warms up, does not count.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from omnikit.contracts.codes import Code
from omnikit.contracts.streaming import StreamingCodec
from omnikit.contracts.types import Batch, Signal
from omnikit.inference.generate import Sampling, decoding_steps
from omnikit.inference.speech_stream import CodeBuffer, HeadStream
from omnikit.model import OmniModel, Taps
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose

PER_TOKEN = 9  # units of a text token in LLaMA-Omni's data: 29 a second, 3.3 tokens a second
FRAMES = 1.72  # of a unit
BEFORE, AFTER = 45, 16  # positions of the prompt before and after the speech
TOKENS = 24


class Clock:
    """Seconds of named parts, with the accelerator's work awaited."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.parts: dict[str, list[float]] = defaultdict(list)

    def now(self) -> float:
        """Give the time when all work is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a part."""
        start = self.now()
        yield
        self.parts[name].append(self.now() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="llama_omni/full")
    parser.add_argument("overrides", nargs="*", help="as in `omnikit train`")
    parser.add_argument("--omega", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=5.0, help="of the question")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = built(arguments.recipe, arguments.overrides, device)
    question, found = asked(model, arguments.seconds, device), defaultdict[str, list[float]](list)
    for number in range(arguments.rounds + 1):
        clock = Clock(device)
        answer(model, question, arguments.omega, clock)
        for name, seconds in clock.parts.items():
            found[name] += [min(seconds)] if number else []
    for name, times in found.items():
        print(f"{name:<44}{1000 * min(times):9.2f} ms")
    parameters = list(model.get_submodule("backbone").parameters())
    weights = (sum(p.numel() for p in parameters) - table(model)) * parameters[0].element_size()
    speed = bandwidth(device)
    print(f"{'limit: reading the weights once per token':<44}{1000 * weights / speed:9.2f} ms"
          f"   ({weights / 1e9:.2f} GB at {speed / 1e9:.0f} GB/s, measured)")


def built(recipe: str, overrides: list[str], device: torch.device) -> OmniModel:
    """Give the model on the device: the backbone in its own format, the other parts but the codec in the same."""
    with device:
        model = OmniModel(make(compose(recipe, overrides))).eval()
    dtype = next(model.get_submodule("backbone").parameters()).dtype
    for path, part in model.parts().items():
        if path != "backbone" and not path.endswith((".codec", ".units")):
            part.to(dtype)
    bias = model.get_parameter("speech.codec.dur_predictor.proj.bias")
    bias.data.fill_(torch.tensor(1 + FRAMES).log())
    return model


def asked(model: OmniModel, seconds: float, device: torch.device) -> Batch:
    """Give a question of noise in a prompt of random ids."""
    samples = int(16000 * seconds)
    count = model.plan.inputs["audio"].length(samples)
    tokens = torch.randint(20, 600, (1, BEFORE + count + AFTER), generator=torch.Generator().manual_seed(0))
    noise = 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    signal, none = Signal(noise, torch.tensor([samples])), torch.zeros(1, 0, dtype=torch.int64)
    batch = Batch(tokens, torch.tensor([tokens.shape[1]]), none, torch.tensor([0]), {"audio": signal},
                  {"audio": torch.arange(BEFORE, BEFORE + count)}, {"audio": [count]}, {"audio": [0]}, {}, ["question"])
    return batch.mapped(lambda tensor: tensor.to(device))


@torch.no_grad()
def answer(model: OmniModel, question: Batch, omega: int, clock: Clock) -> None:
    """Answer once to the first audio, part by part, and decode the rest."""
    with clock.part("encoder and projector"):
        Taps(model, question).projected("audio")
    for name, exact in (("exact", True), ("independent", False)):
        start, started = clock.now(), False
        head_stream, pending = HeadStream(model, model.plan.outputs["speech"]), CodeBuffer(omega)
        codec = model.codec("speech")
        assert isinstance(codec, StreamingCodec), "a vocoder that streams"
        state = codec.init_state(1)
        steps, before = decoding_steps(model, question, Sampling((), TOKENS)), clock.now()
        for number, step in enumerate(steps):
            clock.parts["decoding a token" if number else "encoder, projector and prefill"].append(clock.now() - before)
            with clock.part("head, a token"):
                head_stream.write(step)
            codes = units(pending.push([(number * PER_TOKEN + index,) for index in range(PER_TOKEN)]), clock.device)
            if len(codes):
                with clock.part(f"vocoder, a segment, {name}"):
                    waveform, state = codec.step(codes, state) if exact else (codec.decode(codes), state)
                if len(waveform) and not started:
                    clock.parts[f"time to first audio, {name} segments"].append(clock.now() - start)
                    started = True
            before = clock.now()


def units(numbers: tuple[Code, ...], device: torch.device) -> Tensor:
    """Give units [N, 1] that every vocoder has."""
    return torch.tensor(numbers, dtype=torch.int64, device=device).reshape(-1, 1) % 90


def table(model: OmniModel) -> int:
    """Give the numbers of the embedding table, of which a token reads one row; 0 where it is the output matrix too."""
    backbone = model.plan.backbone
    assert backbone is not None
    return 0 if getattr(backbone, "tie_embeddings", False) else backbone.dim * backbone.vocabulary


def bandwidth(device: torch.device) -> float:
    """Give bytes per second that the device reads, by a sum over a gigabyte (256 MB on a processor)."""
    data = torch.ones((1 << 30 if device.type == "cuda" else 1 << 28) // 4, device=device)
    clock = Clock(device)
    for _ in range(4):
        with clock.part("read"):
            data.sum()
    return data.numel() * 4 / min(clock.parts["read"])


if __name__ == "__main__":
    main()
