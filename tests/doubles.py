"""Tiny stand-ins for plugins: every kind of component, small enough to reason about, and a plan made of them.

Audio has 100 samples a second. A word w of WORDS is four samples of amplitude w / 10 and one of silence.
"""

import json
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnikit.contracts.codes import Code
from omnikit.contracts.specs import CodecSpec, FeatureSpec, SignalSpec, Template
from omnikit.contracts.types import ContentPart, Features, Message, Sample, Signal, Targets
from omnikit.plan.branches import InputBranch, OutputBranch
from omnikit.plan.plan import Plan
from omnikit.plan.stage_plan import Wiring
from omnikit.plan.stages import plan_stages
from omnikit.recipe.answers import Evaluate, Generate
from omnikit.recipe.branches import Choice
from omnikit.recipe.optim import Optim
from omnikit.recipe.recipe import Recipe, Stage, TrainerConfig

RATE = 100
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven")
SPECIALS = ("<pad>", "<bos>", "<user>", "<bot>", "<end>")
VOCABULARY = len(WORDS) + len(SPECIALS)
TEMPLATE = Template("<bos>", "{content} <user>", "<user> {content}", "<bot>", "<end>", SPECIALS)


# ---- configurations --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FakeEncoder:
    """Frames of 5 samples; `extra_length` makes its contract promise more features than come."""

    dim: int = 16
    dropout: float = 0.0
    extra_length: int = 0

    input = SignalSpec("audio", Fraction(RATE))

    @property
    def output(self) -> FeatureSpec:
        return FeatureSpec(self.dim, rate=Fraction(RATE, 5))

    def length(self, samples: int) -> int:
        return samples // 5 + self.extra_length

    def build(self) -> nn.Module:
        return FakeEncoderModule(self.dim, self.dropout)


@dataclass(frozen=True)
class FakeProjector:
    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        return FeatureSpec(dim, rate=source.rate)

    def length(self, count: int) -> int:
        return count

    def build(self, source: FeatureSpec, dim: int) -> nn.Module:
        return FakeProjectorModule(source.dim, dim)


@dataclass(frozen=True)
class FakeBackbone:
    tokenizer: str
    dim: int = 24
    vocabulary: int = VOCABULARY
    context: int = 64
    template: str = "double"
    specials: tuple[str, ...] = SPECIALS

    def build(self) -> nn.Module:
        return FakeBackboneModule(self.vocabulary, self.dim)


@dataclass(frozen=True)
class FakeHead:
    """Any head: `emits` is its target."""

    tap: str = "logits"
    target: str = "tokens"
    alignment: str = "predicts"
    training_alignment: str | None = None

    def codes(self, codec: CodecSpec) -> str | None:
        return None

    def build(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> nn.Module:
        if self.target == "tokens":
            return LmModule()
        return CtcCodeModule(source.dim, codec.cardinality, 4) if codec else CtcModule(source.dim, vocabulary, 1)


@dataclass(frozen=True)
class FakeCodec:
    """Codes are the nearest of `size` amplitudes, runs merged."""

    size: int = 9
    encodes: bool = True
    decodes: bool = True
    objectives: tuple[str, ...] = ("units",)

    @property
    def spec(self) -> CodecSpec:
        return CodecSpec(RATE, Fraction(RATE, 5), 1, self.size, merged=True)

    def build(self) -> nn.Module:
        return FakeCodecModule(self.size)


@dataclass(frozen=True)
class EchoDataset:
    """Rows whose question is one to three words and whose answer repeats them; every `textual`-th question is text only."""

    rows: int = 64
    textual: int = 0
    first: int = 0
    provides: tuple[str, ...] = ("audio", "transcript", "answer", "speech")
    seconds: float | None = 0.15

    def build(self) -> "EchoReader":
        return EchoReader(self)


# ---- modules ---------------------------------------------------------------------------------------------------------


class FakeEncoderModule(nn.Module):
    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(5)
        self.linear = nn.Sequential(nn.Linear(5, 64), nn.GELU(), nn.Linear(64, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, signal: Signal) -> Features:
        frames = signal.data[:, : signal.data.shape[1] // 5 * 5].unflatten(1, (-1, 5))  # [B, T, 5]
        x = self.norm(frames.transpose(1, 2)).transpose(1, 2)
        return Features(self.dropout(self.linear(x)), signal.lengths // 5, Fraction(RATE, 5))


class FakeProjectorModule(nn.Module):
    def __init__(self, source: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(source, dim)

    def forward(self, features: Features) -> Features:
        return Features(self.linear(features.data), features.lengths, features.rate)


class FakeBackboneModule(nn.Module):
    """One layer of masked attention with learned positions: attends to what is valid and not later."""

    def __init__(self, vocabulary: int, dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, dim)
        self.positions = nn.Embedding(64, dim)
        self.mix = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, vocabulary, bias=False)
        self.feed = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def embed(self, tokens: Tensor) -> Tensor:
        return self.table(tokens)

    def forward(self, inputs: Tensor, mask: Tensor) -> Tensor:
        return self.step(inputs, mask, None)[0]

    def logits(self, hidden: Tensor) -> Tensor:
        return self.output(hidden)

    def init_state(self, batch: int) -> object:
        return None

    def step(self, inputs: Tensor, mask: Tensor, state: object) -> tuple[Tensor, object]:
        new, total = inputs.shape[1], mask.shape[1]
        x = inputs + self.positions((mask.long().cumsum(1) - 1).clamp(min=0)[:, -new:])
        query, key, value = self.mix(x).chunk(3, -1)
        if isinstance(state, tuple):
            key, value = torch.cat([state[0], key], 1), torch.cat([state[1], value], 1)
        causal = torch.arange(total) <= torch.arange(total - new, total)[:, None]  # [N, past + N]
        visible = (causal & mask[:, None]) | torch.eye(total, dtype=torch.bool)[-new:]  # a padded row reads itself, not nothing
        x = x + F.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        return x + self.feed(x), (key, value)


class LmModule(nn.Module):
    def loss(self, features: Features, targets: Targets) -> Tensor:
        return F.cross_entropy(features.data.flatten(0, 1), targets.ids.flatten(), ignore_index=-100)

    def decode(self, features: Features) -> list[list[int]]:
        return [row[:n].tolist() for row, n in zip(features.data.argmax(-1), features.lengths, strict=True)]


class CtcModule(nn.Module):
    def __init__(self, source: int, classes: int, repeat: int) -> None:
        super().__init__()
        self.repeat = repeat
        self.place = nn.Parameter(torch.randn(repeat, source) * 0.5)
        self.linear = nn.Linear(source, classes + 1)

    def scores(self, features: Features) -> Tensor:
        spread = (features.data[:, :, None] + self.place).flatten(1, 2)  # [B, T * repeat, D]
        return self.linear(spread).log_softmax(-1)

    def loss(self, features: Features, targets: Targets) -> Tensor:
        scores = self.scores(features).transpose(0, 1)
        total = F.ctc_loss(scores, targets.ids.clamp(min=0), features.lengths * self.repeat, targets.lengths,
                           blank=scores.shape[-1] - 1, reduction="sum", zero_infinity=True)
        return total / targets.lengths.sum()

    def decode(self, features: Features) -> list[list[int]]:
        best = self.scores(features).argmax(-1)
        rows = [torch.unique_consecutive(row[: n * self.repeat]) for row, n in zip(best, features.lengths, strict=True)]
        return [row[row != self.linear.out_features - 1].tolist() for row in rows]


class CtcCodeModule(CtcModule):
    """CTC over codes of one codebook."""

    def loss(self, features: Features, targets: Targets) -> Tensor:
        return super().loss(features, Targets(targets.ids[..., 0], targets.lengths))

    def decode(self, features: Features) -> list[list[Code]]:
        return [[(code,) for code in row] for row in super().decode(features)]

    def init_state(self, batch: int) -> list[int]:
        return [-1] * batch

    def step(self, features: Features, state: list[int]) -> tuple[list[list[Code]], list[int]]:
        best, found = self.scores(features).argmax(-1), []
        for row, (labels, length) in enumerate(zip(best.tolist(), features.lengths.tolist(), strict=True)):
            frames = [state[row], *labels[: length * self.repeat]]
            found.append([(b,) for a, b in pairwise(frames) if b not in (a, self.linear.out_features - 1)])
            state[row] = frames[-1]
        return found, state


class FakeCodecModule(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("levels", torch.linspace(0, 0.4, size))

    def encode(self, wave: Tensor) -> Tensor:
        return torch.unique_consecutive(self.label(wave)[:, 0])[:, None]

    def label(self, wave: Tensor) -> Tensor:
        frames = wave[: len(wave) // 5 * 5].unflatten(0, (-1, 5)).abs().amax(1)  # [T]
        return (frames[:, None] - self.levels).abs().argmin(1)[:, None]

    def decode(self, codes: Tensor) -> Tensor:
        return F.pad(self.levels[codes].expand(-1, 4), (0, 1)).flatten()

    def init_state(self, batch: int) -> None:
        return None

    def step(self, codes: Tensor, state: None, *, last: bool = False) -> tuple[Tensor, None]:
        return self.decode(codes), None  # a code sounds the same whatever stands beside it

    def fit(self, waves: list[Tensor], generator: torch.Generator, progress) -> dict[str, float]:
        self.levels.copy_(torch.linspace(0, float(max(wave.max() for wave in waves)) + 0.1, len(self.levels)))
        progress(1.0)
        return {"waves": float(len(waves))}


class EchoReader:
    def __init__(self, config: EchoDataset) -> None:
        self.config = config

    def __len__(self) -> int:
        return self.config.rows

    def __getitem__(self, index: int) -> Sample:
        number = index + self.config.first
        step = 1 + number // 8 % 7  # never a multiple of 8: CTC needs no blank between neighbours
        text = " ".join(WORDS[(number + step * place) % 8] for place in range(1 + number % 3))
        textual = self.config.textual and index % self.config.textual == 0
        asked = ContentPart("text", text=text) if textual else ContentPart("audio", text=text, audio=speak(text),
                                                                           sample_rate=RATE)
        answer = (ContentPart("text", text=text), ContentPart("audio", text=text, audio=speak(text), sample_rate=RATE))
        return Sample(f"row{number}", (Message("user", (asked,)), Message("assistant", answer)), {"kind": WORDS[number % 8]})


def speak(text: str) -> np.ndarray:
    """Give the waveform of a text."""
    waves = [[(WORDS.index(word) + 1) / 10] * 4 + [0.0] for word in text.split()]
    return np.asarray([sample for wave in waves for sample in wave], dtype=np.float32)


# ---- plans -----------------------------------------------------------------------------------------------------------


def write_tokenizer(folder: Path) -> str:
    """Write a tokenizer of whole words and give its path."""
    words = [*SPECIALS, *WORDS]
    content = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
        "added_tokens": [{"id": i, "content": w, "single_word": False, "lstrip": True, "rstrip": True, "normalized": False,
                          "special": True} for i, w in enumerate(SPECIALS)],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {w: i for i, w in enumerate(words)}, "unk_token": "<pad>"},
    }
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(content))
    return str(path)


def stages(steps: int = 20) -> dict[str, Stage]:
    """Give the four stages of a tiny LLaMA-Omni."""
    run, optim = TrainerConfig(max_steps=steps, batch_size=8, log_every=5), Optim(lr=1e-2, warmup=0.1)
    return {
        "listen": Stage(train={"audio": {"encoder": "full"}, "transcript": "full"}, loss={"transcript": 1.0},
                        data={"echo": 1.0}, optim=optim, trainer=run),
        "units": Stage(objective="units", train={"speech": {"codec": "full"}}, data={"echo": 1.0}),
        "understand": Stage(train={"audio": {"projector": "full"}, "backbone": "full"}, loss={"text": 1.0},
                            data={"echo": 1.0}, optim=optim, trainer=run),
        "speak": Stage(train={"speech": {"head": "full"}}, loss={"speech": 1.0}, data={"echo": 1.0}, optim=optim, trainer=run),
    }


def make_plan(tokenizer: str, *, encoder: FakeEncoder = FakeEncoder(), echo: EchoDataset = EchoDataset(), steps: int = 20,
              seed: int = 0, alignment: str = "predicts", only: dict[str, Stage] | None = None,
              run: Path | None = None) -> Plan:
    """Give the plan of a tiny LLaMA-Omni made of doubles."""
    backbone, codec = FakeBackbone(tokenizer), FakeCodec()
    encoded, projected = encoder.output, FakeProjector().output(encoder.output, backbone.dim)
    inputs = {"audio": InputBranch("audio", encoder, encoded, FakeProjector(), projected)}
    outputs = {
        "text": OutputBranch("text", FakeHead(), FeatureSpec(VOCABULARY, count=1), None, None, VOCABULARY),
        "speech": OutputBranch("speech", FakeHead("hidden", "codes", alignment), FeatureSpec(backbone.dim, count=1), codec,
                               codec.spec, 0),
        "transcript": OutputBranch("transcript", FakeHead("audio.encoder", "transcript", "none"), encoded, None, None,
                                   VOCABULARY),
    }
    choice = Choice("double", {"dropout": encoder.dropout})
    branches = {"audio": {"encoder": choice, "projector": choice}, "text": {"head": choice},
                "speech": {"head": choice, "codec": choice}, "transcript": {"head": choice}}
    recipe = Recipe("doubles/tiny", branches, choice, template=None, system=None, data={}, seed=seed,
                    stages=stages(steps) if only is None else only, generate=Generate(max_new_tokens=8),
                    evaluate=Evaluate({"echo": "echo"}), run=str(run) if run else None)
    readers = {"echo": echo}
    parts = ("audio.encoder", "audio.projector", "backbone", "text.head", "speech.head", "speech.codec", "transcript.head")
    errors: list[str] = []
    planned = plan_stages(recipe.stages, Wiring(inputs, outputs, backbone, readers, parts), errors)
    assert not errors, errors
    return Plan(recipe, inputs, outputs, backbone, TEMPLATE, tokenizer, readers, planned)


def make_asr(tokenizer: str, steps: int = 20) -> Plan:
    """Give the plan of an ASR model: an encoder and a transcript head, no backbone."""
    encoder = FakeEncoder()
    head = FakeHead("audio.encoder", "transcript", "none")
    inputs = {"audio": InputBranch("audio", encoder, encoder.output, None, None)}
    outputs = {"transcript": OutputBranch("transcript", head, encoder.output, None, None, VOCABULARY)}
    choice = Choice("double", {})
    only = {"listen": stages(steps)["listen"]}
    recipe = Recipe("doubles/asr", {"audio": {"encoder": choice}, "transcript": {"head": choice}}, None, template=None,
                    system=None, data={}, stages=only, generate=Generate(), evaluate=Evaluate(), seed=0, run=None)
    readers = {"echo": EchoDataset()}
    errors: list[str] = []
    planned = plan_stages(recipe.stages, Wiring(inputs, outputs, None, readers, ("audio.encoder", "transcript.head")), errors)
    assert not errors, errors
    return Plan(recipe, inputs, outputs, None, None, tokenizer, readers, planned)
