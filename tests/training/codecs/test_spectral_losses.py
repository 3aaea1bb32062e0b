"""Spectral losses against torchaudio and the formulas of their papers."""

import pytest
import torch
import torchaudio
from torch import Tensor

from omnikit.training.codecs.spectral_losses import FLOOR, QUIET, MelLoss, STFTLoss, mel_filters

RATE = 16000


def waves(seed: int, samples: int = 4000) -> Tensor:
    return 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(seed))


def test_filters_are_torchaudios() -> None:
    expected = torchaudio.functional.melscale_fbanks(513, 0.0, 8000.0, 80, RATE, norm="slaney", mel_scale="slaney").T
    torch.testing.assert_close(mel_filters(RATE, 1024, 80), expected, atol=1e-6, rtol=1e-4)


def test_log_mel_is_torchaudios() -> None:
    spectrogram = torchaudio.transforms.MelSpectrogram(RATE, 1024, hop_length=256, n_mels=80, power=1.0, norm="slaney",
                                                       mel_scale="slaney", pad_mode="constant")
    expected = spectrogram(waves(0)).clamp(min=FLOOR).log()
    torch.testing.assert_close(MelLoss(RATE).log_mel(waves(0)), expected, atol=1e-4, rtol=0)  # two ways to a magnitude


def test_stft_loss_is_the_formula() -> None:
    losses = []
    for size, hop, window in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
        magnitude = torchaudio.transforms.Spectrogram(size, window, hop, power=1.0, pad_mode="constant")
        made, true = magnitude(waves(1)), magnitude(waves(2))
        convergence = ((true - made) ** 2).sum().sqrt() / (true ** 2).sum().sqrt()
        losses.append(convergence + (made.log() - true.log()).abs().mean())
    torch.testing.assert_close(STFTLoss()(waves(1), waves(2)), sum(losses) / 3, rtol=1e-3, atol=0)  # floors differ


def test_equal_waves_are_no_distance_apart() -> None:
    assert float(STFTLoss()(waves(3), waves(3))) == 0
    assert float(MelLoss(RATE)(waves(3), waves(3))) == 0


def test_silence_has_a_finite_gradient() -> None:
    silence = torch.zeros(1, 2000, requires_grad=True)
    (STFTLoss()(silence, waves(4, 2000)[:1]) + MelLoss(RATE)(silence, waves(4, 2000)[:1])).backward()
    assert silence.grad is not None and bool(silence.grad.isfinite().all())


def test_losses_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = STFTLoss()(waves(5).bfloat16(), waves(6))
    expected = STFTLoss()(waves(5).bfloat16().float(), waves(6))
    assert loss.dtype == torch.float32 and torch.equal(loss, expected)


def test_a_wave_shorter_than_a_window_has_a_loss() -> None:
    assert float(STFTLoss()(waves(7, 15), waves(8, 15))) > 0


def test_silence_as_target_is_measured_against_a_floor() -> None:
    silence, made = torch.zeros(2, 16000), waves(9, 16000)  # amplitude 0.1
    shares = []
    for size, hop, window in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
        magnitude = torchaudio.transforms.Spectrogram(size, window, hop, power=1.0, pad_mode="constant")(made)
        shares.append((magnitude.clamp(min=1e-9 ** 0.5) / 1e-9 ** 0.5).log().mean())
    # noise against noise: the convergence is the ratio of their amplitudes
    assert float(STFTLoss()(made, silence) - sum(shares) / 3) == pytest.approx(0.1 / QUIET, rel=0.02)


def test_floor_leaves_speech_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    loud = STFTLoss()(waves(1), waves(2))
    monkeypatch.setattr("omnikit.training.codecs.spectral_losses.QUIET", 0.0)
    assert torch.equal(STFTLoss()(waves(1), waves(2)), loud)
