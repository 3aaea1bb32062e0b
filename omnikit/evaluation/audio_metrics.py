"""How close two waveforms are, by formulas alone: mel distance, STOI, correlation of average spectra."""

from __future__ import annotations

import math
import warnings
from functools import cache

import torch
from torch import Tensor

from omnikit.training.codecs.spectral_losses import MelLoss

LOUD = 4.0  # natural logarithms of magnitude below the loudest frame, 35 dB, within which a frame counts as speech
SILENT = 1e-4  # amplitude that no sample of silence reaches
SHORTEST = 0.5  # seconds; the measure of intelligibility needs 0.4 of them to be loud


def mel_distance(made: Tensor, true: Tensor, rate: int) -> float | None:
    """L1 of natural log-mel magnitudes between waveforms [N] and [M] as far as both go; None where one is empty."""
    length = min(len(made), len(true))
    return float(_mel(rate)(made[None, :length], true[None, :length])) if length else None


def stoi_score(made: Tensor, true: Tensor, rate: int) -> float | None:
    """STOI of waveform [N] against the true one [M], as far as both go: about 0 for noise, 1 for equal waveforms.

    None where they are shorter than 0.5 s, or less than 0.4 s of the true one is loud.

    Source: Taal et al. 2011, doi:10.1109/TASL.2011.2114881, by torchmetrics.
    """
    from torchmetrics.functional.audio import short_time_objective_intelligibility

    length = min(len(made), len(true))
    if length < SHORTEST * rate:
        return None
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        found = float(short_time_objective_intelligibility(made[:length], true[:length], rate))
    return None if any("frames" in str(one.message) for one in issued) else found


def ltas_correlation(one: Tensor, other: Tensor, rate: int) -> float | None:
    """Correlation of the long-term average spectra (LTAS) of waveforms [N] and [M], in mel bands: 1 for equal spectra.

    It depends on vocal tract and microphone, not on pitch. None where one is silent.
    """
    mel, spectra = _mel(rate), list[Tensor]()
    for waveform in (one, other):
        frames = mel.log_mel(waveform[None])[0] if len(waveform) else torch.zeros(mel.filters.shape[0], 0)  # [bands, T]
        level = frames.amax(0)
        loud = frames[:, level > level.max() - LOUD] if frames.shape[1] else frames
        if not loud.shape[1] or float(waveform.abs().max()) < SILENT:
            return None
        spectra.append(loud.mean(1))
    found = float(torch.corrcoef(torch.stack(spectra))[0, 1])
    return found if math.isfinite(found) else None


@cache
def _mel(rate: int) -> MelLoss:
    """Make the filters once for all rows."""
    return MelLoss(rate)
