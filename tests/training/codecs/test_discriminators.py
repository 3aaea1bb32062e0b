"""Discriminators: published sizes, what each takes, and losses by their formulas."""

import pytest
import torch
from torch import Tensor

from omnikit.training.codecs.discriminators import (
    DiscriminatorOutputs,
    Discriminators,
    PeriodDiscriminator,
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
)


def outputs(*scores: float) -> DiscriminatorOutputs:
    other = torch.tensor([[0.0, 1.0]])
    return [(torch.tensor([[score, 0.0]]), [torch.tensor([[score, 2 * score]]), other]) for score in scores]


def waves(samples: int = 600) -> Tensor:
    return torch.randn(2, samples, generator=torch.Generator().manual_seed(0))


def test_sizes_are_those_of_hifi_gan() -> None:
    with torch.device("meta"):
        discriminators = Discriminators(32)
    sizes = [sum(p.numel() for p in part.parameters()) for part in (discriminators.periods, discriminators.scales)]
    assert sizes == [41_105_770, 29_618_821]  # counted from the paper's layers: five of 8.2, three of 9.9 million


def test_three_scales_take_ever_slower_waveforms() -> None:
    scores = [score.shape[-1] for score, _ in Discriminators(4)(waves(6400))[-3:]]
    assert scores[0] == pytest.approx(2 * scores[1], abs=2) and scores[1] == pytest.approx(2 * scores[2], abs=2)


def test_a_period_reads_each_phase_alone() -> None:
    discriminator, wave = PeriodDiscriminator(3, 4), waves(300)[:, None]
    other = wave.clone()
    other[..., 1::3] += 1
    before, after = discriminator(wave)[0], discriminator(other)[0]  # [B, 1, rows, period]
    moved = (before - after).abs().amax((0, 1, 2)) > 0
    assert moved.tolist() == [False, True, False]


def test_losses_are_least_squares() -> None:
    true, made = outputs(0.5, 1.0), outputs(0.2, 0.0)
    assert float(adversarial_loss(made)) == pytest.approx((0.8 ** 2 + 1) / 2 + (1 + 1) / 2)
    assert float(discriminator_loss(true, made)) == pytest.approx((0.5 ** 2 + 1) / 2 + 0.2 ** 2 / 2 + (0 + 1) / 2 + 0)


def test_matching_sums_the_distances_of_features() -> None:
    assert float(feature_matching_loss(outputs(0.5, 1.0), outputs(0.2, 0.0))) == pytest.approx((0.3 + 0.6) / 2 + (1 + 2) / 2)


def test_matching_teaches_the_made_wave_only() -> None:
    true, made = waves().requires_grad_(), waves().flip(1).requires_grad_()
    discriminators = Discriminators(4)
    feature_matching_loss(discriminators(true), discriminators(made)).backward()
    assert true.grad is None and made.grad is not None
