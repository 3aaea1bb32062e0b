"""Codec `mel_units`: waves to merged k-means units and back. Independent of text or of language models."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn

from omnikit.errors import DataError, RunError
from omnikit.ops.kmeans import kmeans, nearest
from omnikit_mel_units.config import MelUnits
from omnikit_mel_units.durations import DurationNetwork, train_durations
from omnikit_mel_units.mel import LogMel

FEATURES_FRACTION, KMEANS_FRACTION = 0.2, 0.4  # of the progress; the duration network takes the rest


class MelUnitCodec(nn.Module):
    """Owns the centroids (stacked log-mel frames) and the duration network; both come from `fit` or a state dict."""

    def __init__(self, config: MelUnits) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(config)
        self.durations = DurationNetwork(config.units, config.duration_dim)
        self.register_buffer("centroids", torch.zeros(config.units, config.mels * config.stack))
        self.register_buffer("fitted", torch.tensor(False))
        self.centroids: Tensor
        self.fitted: Tensor

    @torch.no_grad()
    def encode(self, wave: Tensor) -> Tensor:
        """Wave [N] in [-1, 1] to units [T, 1] with their runs merged; an empty wave has none."""
        merged: Tensor = torch.unique_consecutive(self.label(wave))
        return merged[:, None]

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Merged units [T, 1] to a wave in [-1, 1]: predicted durations, centroids' spectra, Griffin-Lim."""
        self._ready()
        if codes.ndim != 2 or codes.shape[1] != 1:
            raise DataError(f"codes of shape {list(codes.shape)} cannot be spoken: codec mel_units has 1 codebook; give"
                            " [T, 1].")
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.config.units:
            raise DataError(f"units from {int(codes.min())} to {int(codes.max())} cannot be spoken: codec mel_units has"
                            f" units 0 to {self.config.units - 1}; use units of the same codec.")
        units = codes[:, 0]
        return self.speak(units.repeat_interleave(self.durations.frames(units)))

    @torch.no_grad()
    def label(self, wave: Tensor) -> Tensor:
        """Wave [N] to one unit per frame [ceil(N / (hop x stack)), 1], runs not merged."""
        self._ready()
        return nearest(self._rows(wave), self.centroids)[0][:, None]

    def speak(self, labels: Tensor) -> Tensor:
        """One unit per frame [T] to a wave [T x hop x stack]."""
        return self.mel.invert(self.centroids[labels].reshape(-1, self.config.mels))

    @torch.no_grad()
    def fit(self, waves: Sequence[Tensor], generator: Generator, progress: Callable[[float], None]) -> dict[str, float]:
        """Cluster frames of waves [N], taken in random order until there are `frames` of them, and learn how long units last.

        Args:
            waves: float32 in [-1, 1] at the codec's sample rate; decoded one at a time.
            generator: all that is random here.
            progress: called with the finished fraction, up to 1.

        Returns:
            distortion (mean squared distance of a frame from its centroid, per band), units in use, and the mean error
            of a predicted duration in frames, all of the waves that were taken.

        Raises:
            DataError: the waves hold fewer frames than there are units.
        """
        rows, total = [], 0
        for index in torch.randperm(len(waves), generator=generator).tolist():
            rows.append(self._rows(waves[index].to(self.centroids)))
            total += len(rows[-1])
            progress(FEATURES_FRACTION * max(min(1.0, total / self.config.frames), len(rows) / len(waves)))
            if total >= self.config.frames:
                break
        if total < self.config.units:
            raise DataError(f"codec mel_units has {total} frames of speech to fit, but needs at least"
                            f" {self.config.units}, one for each unit; give its stage more data or fewer units.")
        self.centroids.copy_(kmeans(torch.cat(rows)[:self.config.frames], self.config.units, self.config.iterations, generator,
                                    lambda fraction: progress(FEATURES_FRACTION + KMEANS_FRACTION * fraction)))
        labels, distances = zip(*(nearest(row, self.centroids) for row in rows), strict=True)
        done = FEATURES_FRACTION + KMEANS_FRACTION
        error = train_durations(self.durations, labels, self.config.duration_steps, generator,
                                lambda fraction: progress(done + (1 - done) * fraction))
        self.fitted.fill_(True)
        progress(1.0)
        used = torch.cat(labels).bincount().count_nonzero()
        return {"distortion": float(torch.cat(distances).mean() / self.centroids.shape[1]), "units": float(used),
                "duration_error": error}

    def _rows(self, wave: Tensor) -> Tensor:
        """Wave [N] to stacked log-mel frames [T, mels x stack]."""
        frames: Tensor = self.mel(wave)  # [T x stack, mels]
        return frames.reshape(-1, self.centroids.shape[1])

    def _ready(self) -> None:
        if not bool(self.fitted):
            raise RunError("codec mel_units has no units yet, but is asked for some; run a stage with `objective: units`"
                           " before, or load a run that has one.")
