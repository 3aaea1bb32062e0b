"""What a stage with `objective: vocoder` learns from and by: frames of speech with their waves, and the losses.

A vocoder turns one code per frame into a wave; what makes the codes labels the speech of the stage's data, once, before the
first step. The labels stay in memory; recordings are decoded when a segment is cut from them (omnikit.data.speech). Uses no
vocoder and no Lightning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from omnikit.contracts.configs import VocoderConfig
from omnikit.contracts.protocols import Codec, LabellingCodec, Reader, Vocoder
from omnikit.data.media.containers import DEFAULTS
from omnikit.data.speech import find_speech
from omnikit.errors import DataError, RunError
from omnikit.plan.codec_stages import VOCODER_LOSSES
from omnikit.recipe.media import MediaLimits
from omnikit.training.codecs.discriminators import GANLoss
from omnikit.training.codecs.spectral_losses import MelLoss, STFTLoss

FINDING = 0.1  # of the progress: recordings are found by their headers; labels take the rest
MOST_SILENCE = 1024  # frames behind a short utterance; a codec that gives no labels for so many gives none at all


@dataclass(frozen=True)
class LabelledSpeech:
    """A recording with its codes by frame.

    Args:
        labels: [T, Q].
        recording: gives its waveform, of any length.
        hop: samples of a frame.
    """

    labels: Tensor
    recording: Callable[[], Tensor]
    hop: int

    @property
    def wave(self) -> Tensor:
        """The waveform [T x hop]: as long as its labels, with silence behind a shorter one."""
        wave, samples = self.recording(), len(self.labels) * self.hop
        return F.pad(wave, (0, max(0, samples - len(wave))))[:samples]


@dataclass
class VocoderBatch:
    """A batch of segments, and the whole utterances that they were cut from.

    Args:
        labels: [B, S, Q] the codes of each frame.
        waves: [B, S x samples of a frame].
        merged: [B, U, Q] the utterances' codes with runs merged; what is beyond an utterance's end is 0.
        frames: [B, U] how long each lasts; 0 beyond the end.
        target_counts: what losses are means over that not every batch has as much of (omnikit.data.batch.windows).
        window_counts: the same of all batches of its accumulation window; None: it is not in one.
    """

    labels: Tensor
    waves: Tensor
    merged: Tensor
    frames: Tensor
    target_counts: dict[str, float] = field(default_factory=dict)
    window_counts: dict[str, float] | None = None

    def mapped(self, change: Callable[[Tensor], Tensor]) -> VocoderBatch:
        """Give the batch with every tensor changed."""
        return VocoderBatch(change(self.labels), change(self.waves), change(self.merged), change(self.frames),
                            self.target_counts, self.window_counts)

    def pin_memory(self) -> VocoderBatch:
        """Give the batch in memory that a GPU copies from without waiting; a DataLoader asks for it by this name."""
        return self.mapped(lambda tensor: tensor.pin_memory())


def label(readers: Mapping[str, Reader], codec: Codec, config: VocoderConfig,
          progress: Callable[[float], None], *, sample_rate: int, device: str = "cpu",
          limits: MediaLimits = DEFAULTS) -> dict[str, list[LabelledSpeech]]:
    """Label each different spoken answer of each dataset; one shorter than a segment ends in silence.

    Args:
        codec: what makes the codes.
        config: of the vocoder that learns.
        progress: takes the finished share.
        sample_rate: of the waves that `codec` takes, whatever the vocoder's own is.
        device: where `codec` is.

    Raises:
        DataError: a dataset has no spoken answer, or one that cannot be read.
        RunError: the codec gives only which codes there are, not which frame has which, or gives no labels.
    """
    if not hasattr(codec, "label"):
        raise RunError(f"{type(codec).__name__} makes codes, but does not say which frame has which (it has no `label`), so no"
                       " vocoder can learn from it; pick other units.")
    labelling = cast(LabellingCodec, codec)
    spoken = find_speech(readers, sample_rate, lambda fraction: progress(FINDING * fraction), questions=False, limits=limits)
    targets = spoken if config.spec.sample_rate == sample_rate else find_speech(
        readers, config.spec.sample_rate, lambda fraction: None, questions=False, limits=limits)
    found, done = dict[str, list[LabelledSpeech]](), 0
    for name, recordings in spoken.items():
        if not recordings:
            raise DataError(f"Dataset {name} has no spoken answer, but a vocoder learns from them; take another dataset.")
        found[name] = []
        for index in range(len(recordings)):
            labels = _labels(recordings[index].to(device), labelling, config, sample_rate).cpu()
            found[name].append(LabelledSpeech(labels, partial(targets[name].__getitem__, index), _hop(config)))
            done += 1
            progress(FINDING + (1 - FINDING) * done / sum(map(len, spoken.values())))
    return found


def _labels(wave: Tensor, codec: LabellingCodec, config: VocoderConfig, sample_rate: int) -> Tensor:
    """Label a wave [N] at `sample_rate`, with as much silence behind it as a segment of labels takes."""
    extra, hop = 1, sample_rate / config.spec.rate
    while extra <= MOST_SILENCE:  # a codec whose frames overlap gives none for the last few
        labels = codec.label(F.pad(wave, (0, max(0, math.ceil((config.segment + extra) * hop) - len(wave)))))
        if len(labels) >= config.segment:
            return labels
        extra *= 2
    raise RunError(f"{type(codec).__name__} gives {len(labels)} labels for {config.segment + extra // 2} frames of sound, but"
                   f" a segment of the vocoder needs {config.segment}; pick other units.")


def _hop(config: VocoderConfig) -> int:
    return int(config.spec.sample_rate / config.spec.rate)


class VocoderDataset:
    """Batches by number; a segment is cut at a random frame of an utterance, and every second of speech is as likely.

    Args:
        speech: dataset → its utterances.
        shares: dataset → share of the segments, any positive numbers.
        batch_size: segments in a batch; a pass has as many segments as there are utterances.
        segment: frames of a segment.
        seed: decides which, with the batch's number.
    """

    def __init__(self, speech: Mapping[str, Sequence[LabelledSpeech]], shares: Mapping[str, float], batch_size: int,
                 segment: int,
                 seed: int) -> None:
        self.rows = [row for name in shares for row in speech[name]]
        frames = {name: sum(len(row.labels) for row in speech[name]) for name in shares}
        self.weights = torch.tensor([shares[name] * len(row.labels) / frames[name] for name in shares for row in speech[name]])
        self.batch_size, self.segment = batch_size, segment
        self.seed = seed

    def __len__(self) -> int:
        """Give the batches of a pass."""
        return -(-len(self.rows) // self.batch_size)

    def batch(self, number: int) -> VocoderBatch:
        """Draw a batch."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        drawn = torch.multinomial(self.weights, self.batch_size, replacement=True, generator=generator)
        rows = [self.rows[index] for index in drawn.tolist()]
        labels, waves = zip(*(self._cut(row, generator) for row in rows), strict=True)
        runs = [torch.unique_consecutive(row.labels, return_counts=True, dim=0) for row in rows]
        merged, frames = (pad_sequence(list(column), batch_first=True) for column in zip(*runs, strict=True))
        counts = dict.fromkeys(VOCODER_LOSSES, float(len(rows))) | {"duration": float((frames > 0).sum())}
        return VocoderBatch(torch.stack(labels), torch.stack(waves), merged, frames, counts)

    def _cut(self, row: LabelledSpeech, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        start = int(torch.randint(len(row.labels) - self.segment + 1, (), generator=generator))
        return row.labels[start:start + self.segment], row.wave[start * row.hop:(start + self.segment) * row.hop]


class VocoderLosses(nn.Module):
    """The losses of a vocoder: stft, mel, duration, adversarial, feature_matching, each alone and in float32.

    With either of the last two it owns discriminators, which learn from the same batch before the vocoder does: they score
    what it gives now. Their loss is among the numbers as `discriminator`.

    Args:
        vocoder: what is trained.
        wanted: names of the losses.
        config: the vocoder's.
        lr: learning rate of the discriminators; it does not change.
    """

    def __init__(self, vocoder: Vocoder, wanted: Collection[str], config: VocoderConfig, lr: float) -> None:
        super().__init__()
        self._vocoder = (vocoder,)  # in a tuple, so that it does not become a part of this module
        self.wanted = frozenset(wanted)
        self.stft, self.mel = STFTLoss(), MelLoss(config.spec.sample_rate)
        self.gan = GANLoss(wanted, config.discriminator_dim, lr) if self.wanted & GANLoss.losses else None
        self.extra = ("discriminator",) if self.gan else ()

    def forward(self, batch: VocoderBatch) -> dict[str, Tensor]:
        """Give each wanted loss, a scalar; and `discriminator`, without a gradient, where there are some."""
        vocoder = self._vocoder[0]
        made: Tensor = vocoder.generate(batch.labels).float()
        losses = {"stft": self.stft, "mel": self.mel}
        found = {name: loss(made, batch.waves) for name, loss in losses.items() if name in self.wanted}
        if "duration" in self.wanted:
            valid = batch.frames > 0
            error = vocoder.log_durations(batch.merged, valid).float() - (batch.frames + 1).log()
            found["duration"] = error[valid].square().mean()
        return found | (self.gan(made, batch.waves) if self.gan else {})
