"""Codec `hubert_units`: waves to merged k-means units. Takes no text and speaks no units."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from omnikit.errors import DataError, RunError
from omnikit.ops.empty import loads_weights
from omnikit.ops.kmeans import kmeans, nearest
from omnikit_hubert import checkpoint
from omnikit_hubert.config import HubertUnits

FEATURES_FRACTION = 0.7  # of the progress; k-means takes the rest


class HubertUnitCodec(nn.Module):
    """Owns HuBERT up to the layer that is read, and the centroids, which come from a file, from `fit` or from a state dict.

    No stage changes HuBERT.
    """

    def __init__(self, config: HubertUnits) -> None:
        super().__init__()
        self.config = config
        loads = loads_weights()
        self.hubert = checkpoint.load(config) if config.weights and loads else checkpoint.fresh(config)
        self.hubert.encoder.layers = self.hubert.encoder.layers[:max(1, config.layer)]  # what is above is never read
        found = checkpoint.centroids(config) if config.centroids and loads else torch.zeros(config.units, config.dim)
        self.register_buffer("centroids", found)
        self.register_buffer("fitted", torch.tensor(config.centroids is not None))
        self.centroids: Tensor
        self.fitted: Tensor
        self.train(False)

    def train(self, mode: bool = True) -> HubertUnitCodec:
        """Stay in eval mode: dropout and masking would change the units."""
        super().train(False)
        return self

    def encode(self, wave: Tensor) -> Tensor:
        """Wave [N] in [-1, 1] to units [T, 1] with their runs merged; a wave shorter than a frame has none."""
        merged: Tensor = torch.unique_consecutive(self.label(wave))
        return merged[:, None]

    def decode(self, codes: Tensor) -> Tensor:
        """Refuse: this codec encodes only."""
        raise DataError("codec hubert_units does not decode: put it beside a vocoder, as speech/units=hubert_units with"
                        " speech/codec=unit_hifigan.")

    @torch.no_grad()
    def label(self, wave: Tensor) -> Tensor:
        """Wave [N] to one unit per frame [T, 1], runs not merged."""
        if not bool(self.fitted):
            raise RunError("codec hubert_units has no units yet, but is asked for some; run a stage with `objective: units`"
                           " before, name a file of centroids, or load a run that has them.")
        return nearest(self.features(wave), self.centroids)[0][:, None]

    @torch.no_grad()
    def features(self, wave: Tensor) -> Tensor:
        """Wave [N] to the vectors [T, dim] of the layer; each chunk is looked at by itself, and its last frames are whole."""
        wave = wave.to(self.centroids)
        if self.config.normalize and len(wave):
            wave = F.layer_norm(wave, wave.shape)
        found = [self.hubert(chunk[None], output_hidden_states=True).hidden_states[self.config.layer][0]
                 for chunk in torch.split(wave, self.config.chunk) if self.config.length(len(chunk))]
        return torch.cat(found) if found else wave.new_zeros(0, self.config.dim)

    @torch.no_grad()
    def fit(self, waves: Sequence[Tensor], generator: Generator, progress: Callable[[float], None]) -> dict[str, float]:
        """Cluster the frames of waves [N], taken in random order until there are `frames` of them.

        Args:
            waves: float32 in [-1, 1] at 16 kHz.
            generator: all that is random here.
            progress: called with the finished fraction, up to 1.

        Returns:
            distortion (mean squared distance of a frame from its centroid, per dimension) and units in use.

        Raises:
            DataError: the waves hold fewer frames than there are units.
        """
        rows, total = [], 0
        for index in torch.randperm(len(waves), generator=generator).tolist():
            rows.append(self.features(waves[index]))
            total += len(rows[-1])
            progress(FEATURES_FRACTION * max(min(1.0, total / self.config.frames), len(rows) / len(waves)))
            if total >= self.config.frames:
                break
        if total < self.config.units:
            raise DataError(f"codec hubert_units has {total} frames of speech to fit, but needs at least"
                            f" {self.config.units}, one for each unit; give its stage more data or fewer units.")
        chosen = torch.cat(rows)[:self.config.frames]
        self.centroids.copy_(kmeans(chosen, self.config.units, self.config.iterations, generator,
                                    lambda fraction: progress(FEATURES_FRACTION + (1 - FEATURES_FRACTION) * fraction)))
        self.fitted.fill_(True)
        labels, distances = nearest(chosen, self.centroids)
        return {"distortion": float(distances.mean() / self.config.dim), "units": float(labels.bincount().count_nonzero())}
