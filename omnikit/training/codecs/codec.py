"""What a stage with `objective: codec` learns from and by: cuts of speech, and the losses of what comes back of them.

A codec learns its encoder, codes and decoder together. Left to itself it collapses: the frames of an encoder that has learned
nothing differ far less than they have in common, so all are nearest to the same few codes, the decoder learns to do without
them, and then nothing teaches the encoder to differ. Therefore the first steps pass the codes by, the codes begin as clusters
of what the encoder gives by then, and codes that nobody draws are moved to where vectors are. That is not enough where the
layers' biases make up most of a frame: a codec does well to begin with biases of 0.

Recordings are decoded when a segment is cut from them (omnikit.data.speech). Uses no codec and no Lightning.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnikit.contracts.configs import VocoderConfig
from omnikit.contracts.protocols import Codec, Reader, TrainableCodec
from omnikit.data.media.containers import DEFAULTS
from omnikit.data.speech import Recordings, find_speech, joined
from omnikit.errors import DataError, RunError
from omnikit.plan.codec_stages import CODEC_LOSSES
from omnikit.recipe.media import MediaLimits
from omnikit.training.codecs.discriminators import GANLoss
from omnikit.training.codecs.spectral_losses import MelLoss, ScaledMelLoss, STFTLoss

UNCODED = 0.1  # share of the steps that pass the codes by, where the codec begins fresh (our measurements)
REVIVAL = 50  # batches between two looks for codes that nobody draws
SETTLED = 0.1  # fraction of the steps, the last ones, in which no code is revived, so that each has time to find its place
MEASURED = 120.0  # seconds of speech of each dataset that the finished codec is measured on


@dataclass
class CodecBatch:
    """A batch of segments [B, N] of speech; the counts are those of omnikit.data.batch.windows."""

    waves: Tensor
    target_counts: dict[str, float] = field(default_factory=dict)
    window_counts: dict[str, float] | None = None

    def mapped(self, change: Callable[[Tensor], Tensor]) -> CodecBatch:
        """Give the batch with its tensor changed."""
        return CodecBatch(change(self.waves), self.target_counts, self.window_counts)

    def pin_memory(self) -> CodecBatch:
        """Give the batch in memory that a GPU copies from without waiting; a DataLoader asks for it by this name."""
        return self.mapped(lambda tensor: tensor.pin_memory())


def speech(readers: Mapping[str, Reader], rate: int, progress: Callable[[float], None],
           limits: MediaLimits = DEFAULTS) -> dict[str, Recordings]:
    """Give each different recording of each dataset at `rate`: its spoken answers, or the questions' where it has none.

    Raises:
        DataError: a dataset has no speech, or some that cannot be read.
    """
    found = find_speech(readers, rate, progress, questions=True, limits=limits)
    for name, recordings in found.items():
        if not recordings:
            raise DataError(f"Dataset {name} has no speech, but a codec learns from it; take another dataset.")
    return found


class CodecDataset:
    """Batches by number; a segment is cut anywhere in a wave, and every second of a dataset is as likely.

    Args:
        waves: dataset → its recordings.
        shares: dataset → share of the segments, any positive numbers.
        batch_size: segments in a batch; a pass has as many segments as there are waves.
        length: samples of a segment; a shorter wave ends in silence.
        seed: decides which, with the batch's number.
    """

    def __init__(self, waves: Mapping[str, Recordings], shares: Mapping[str, float], batch_size: int, length: int,
                 seed: int) -> None:
        self.rows = joined([waves[name] for name in shares])
        samples = {name: sum(waves[name].lengths) for name in shares}
        self.weights = torch.tensor([shares[name] * each / samples[name] for name in shares for each in waves[name].lengths])
        self.batch_size, self.length = batch_size, length
        self.seed = seed

    def __len__(self) -> int:
        """Give the batches of a pass."""
        return -(-len(self.rows) // self.batch_size)

    def batch(self, number: int) -> CodecBatch:
        """Draw a batch."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        drawn = torch.multinomial(self.weights, self.batch_size, replacement=True, generator=generator)
        return CodecBatch(torch.stack([self._cut(self.rows[index], generator) for index in drawn.tolist()]),
                          dict.fromkeys(CODEC_LOSSES, float(self.batch_size)))

    def _cut(self, wave: Tensor, generator: torch.Generator) -> Tensor:
        start = int(torch.randint(max(len(wave) - self.length, 0) + 1, (), generator=generator))
        piece = wave[start:start + self.length]
        return F.pad(piece, (0, self.length - len(piece)))


class CodecLosses(nn.Module):
    """The losses of a codec: waveform, mel, stft, codebook, commitment, adversarial, feature_matching, each in float32.

    It counts the batches, and every so many of them lets the codec revive dead codes, but near the end. Among the numbers are
    then the share of each kind of codebook's codes that was drawn since its dead ones were looked for (`usage_…`), `perplexity`
    (how many codes, drawn equally often, would be as varied; mean over the codebooks, since the last row) and `revived`.

    Args:
        codec: what is trained.
        wanted: names of the losses.
        config: the codec's.
        lr: learning rate of the discriminators.
        batches: of the stage; in the last SETTLED of them no code is revived.
        uncoded: batches at the start that pass the codes by; what comes behind them begins with new codes.
        revival: batches between two looks for codes that nobody draws.
        seed: of the revivals.
    """

    def __init__(self, codec: TrainableCodec, wanted: Collection[str], config: VocoderConfig, *, lr: float, batches: int,
                 uncoded: int, revival: int = REVIVAL, seed: int) -> None:
        super().__init__()
        self.revival, self.last_revival = revival, int((1 - SETTLED) * batches)
        self._codec = (codec,)  # in a tuple, so that it does not become a part of this module
        self.wanted, self.uncoded, self.batches = frozenset(wanted), uncoded, 0
        self.stft, self.mel = STFTLoss(), ScaledMelLoss(config.spec.sample_rate)
        self.gan = GANLoss(wanted, config.discriminator_dim, lr) if self.wanted & GANLoss.losses else None
        self.generator = torch.Generator().manual_seed(seed)
        self.counts: Tensor | None = None  # [Q, codes] drawn since the last revival
        self.size = config.spec.cardinality
        self.extra = (*(f"usage_{name}" for name in codec.usage()), "perplexity", "revived",
                      *(["discriminator"] if self.gan else []))

    def get_extra_state(self) -> dict[str, Any]:
        """Give what is counted, for a checkpoint."""
        return {"batches": self.batches, "generator": self.generator.get_state(), "counts": self.counts}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take it back."""
        codec, counts = self._codec[0], state["counts"]
        assert isinstance(codec, nn.Module), "a part of the model"
        self.batches = state["batches"]
        self.generator.set_state(state["generator"])
        self.counts = None if counts is None else counts.to(next(codec.parameters()).device)

    def forward(self, cuts: CodecBatch) -> dict[str, Tensor]:
        """Give each wanted loss, a scalar, and the other numbers without a gradient; without codes theirs are absent.

        Raises:
            RunError: the stage weighs a loss that the codec does not have, or lacks the one that moves its codes.
        """
        codec, coded = self._codec[0], self.batches >= self.uncoded
        if self.batches == self.uncoded and self.uncoded:
            codec.revive(self.generator)  # all are unused, so they become clusters
        made = codec.reconstruct(cuts.waves, quantise=coded)
        found = self._compared(made.waves.float(), cuts.waves) | {n: v for n, v in made.losses.items() if n in self.wanted}
        self.batches += 1
        if made.codes is not None:
            self._check(made.losses)
            self._count(made.codes)
            if (self.batches - self.uncoded) % self.revival == 0:
                found |= self._revived()
        return found

    def _compared(self, made: Tensor, true: Tensor) -> dict[str, Tensor]:
        losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"waveform": F.l1_loss, "stft": self.stft, "mel": self.mel}
        found = {name: loss(made, true) for name, loss in losses.items() if name in self.wanted}
        return found | (self.gan(made, true) if self.gan else {})

    def _check(self, losses: Mapping[str, Tensor]) -> None:
        if "codebook" in self.wanted and "codebook" not in losses:
            raise RunError("The stage weighs loss.codebook, but the codec's codes are moving averages, which no loss moves;"
                           " take it out.")
        if "codebook" in losses and "codebook" not in self.wanted:
            raise RunError("The codec's codes learn by a loss, but the stage has no loss.codebook, so they would stay where"
                           " they are; add codebook: 1.0.")

    def _count(self, codes: Tensor) -> None:
        if self.counts is None:
            self.counts = torch.zeros(codes.shape[-1], self.size, device=codes.device)
        flat = codes.flatten(0, -2).T  # [Q, B x T]
        self.counts.scatter_add_(1, flat, torch.ones_like(flat, dtype=self.counts.dtype))

    def _revived(self) -> dict[str, Tensor]:
        assert self.counts is not None, "asked for after codes were counted"
        codec, settling = self._codec[0], self.batches > self.last_revival
        numbers = {f"usage_{name}": share for name, share in codec.usage().items()} | {
            "perplexity": perplexity(self.counts), "revived": 0.0 if settling else float(codec.revive(self.generator))}
        self.counts.zero_()
        return {name: torch.tensor(value) for name, value in numbers.items()}


def perplexity(counts: Tensor) -> float:
    """Counts [Q, codes] to how many codes, drawn equally often, would be as varied; the mean over the codebooks."""
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    return float(torch.special.entr(shares).sum(1).exp().mean())


@torch.no_grad()
def measured(codec: Codec, config: VocoderConfig, waves: Mapping[str, Sequence[Tensor]],
             progress: Callable[[float], None], device: str = "cpu") -> dict[str, float]:
    """Give what a finished codec on a device does to some speech: `mel_distance` (L1 of natural logarithms), `usage` (share of
    the codes that are drawn) and `perplexity`, for the first two minutes of each dataset.

    Each waveform is filled up to whole seconds: kernels for every length of its own would take tens of megabytes."""
    chosen = [wave for rows in waves.values() for wave in _first(rows, MEASURED * config.spec.sample_rate)]
    counts, distances = torch.zeros(config.spec.codebooks, config.spec.cardinality), []
    mel = MelLoss(config.spec.sample_rate)
    for index, wave in enumerate(chosen):
        filled = F.pad(wave, (0, -len(wave) % config.spec.sample_rate)).to(device)
        codes = codec.encode(filled)[:int(len(wave) * config.spec.rate / config.spec.sample_rate)]
        made = codec.decode(codes).cpu()
        books = codes.cpu().reshape(-1, config.spec.codebooks).T  # none of a wave shorter than a frame
        counts.scatter_add_(1, books, torch.ones_like(books, dtype=counts.dtype))
        if len(made):
            length = min(len(made), len(wave))
            distances.append(mel(made[None, :length], wave[None, :length]))
        progress((index + 1) / len(chosen))
    found = {"mel_distance": float(torch.stack(distances).mean())} if distances else {}
    return found | {"usage": float((counts > 0).float().mean()), "perplexity": perplexity(counts)}


def _first(waves: Sequence[Tensor], samples: float) -> Iterator[Tensor]:
    total = 0
    for wave in waves:
        yield wave
        total += len(wave)
        if total >= samples:
            return
