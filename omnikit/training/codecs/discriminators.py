"""Discriminators that hear whether a wave is true, and what a vocoder learns from them. They live while it is trained.

Source: HiFi-GAN, arXiv:2010.05646, sections 2.3 and 2.4; sizes from its appendix A for dim 32.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

SLOPE = 0.1  # of the leaky ReLU
PERIODS = (2, 3, 5, 7, 11)
SCALES = 3
BETAS = (0.8, 0.99)  # of the discriminators' AdamW: HiFi-GAN, section 3.1
DiscriminatorOutputs = list[tuple[Tensor, list[Tensor]]]  # of each discriminator its scores [B, …] and its inner features


class Discriminators(nn.Module):
    """Five discriminators that fold the wave at a period, and three that hear it at a scale.

    Args:
        dim: width of the first layer of a folding one; a multiple of 4. The paper has 32: 70.7 million parameters.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.periods = nn.ModuleList(PeriodDiscriminator(period, dim) for period in PERIODS)
        self.scales = nn.ModuleList(ScaleDiscriminator(dim, first=index == 0) for index in range(SCALES))

    def forward(self, waves: Tensor) -> DiscriminatorOutputs:
        """Waves [B, N]; in float32."""
        with torch.autocast(waves.device.type, enabled=False):
            x = waves.float()[:, None]  # [B, 1, N]
            outputs = [discriminator(x) for discriminator in self.periods]
            for index, discriminator in enumerate(self.scales):
                x = F.avg_pool1d(x, 4, 2, padding=2) if index else x  # [B, 1, N / 2]
                outputs.append(discriminator(x))
        return outputs


class GANLoss(nn.Module):
    """Discriminators that learn from each batch before those who make its waves do; their optimizer is stepped here.

    Args:
        wanted: names of the losses, of which adversarial and feature_matching are its own.
        dim: of the discriminators.
        lr: their learning rate; it does not change.
    """

    losses = frozenset({"adversarial", "feature_matching"})

    def __init__(self, wanted: Collection[str], dim: int, lr: float) -> None:
        super().__init__()
        self.wanted = self.losses & set(wanted)
        self.discriminators = Discriminators(dim)
        self.optimizer = torch.optim.AdamW(self.discriminators.parameters(), lr, betas=BETAS)

    def get_extra_state(self) -> dict[str, Any]:
        """Give the optimizer's state, for a checkpoint."""
        return {"optimizer": self.optimizer.state_dict()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.optimizer.load_state_dict(state["optimizer"])

    def forward(self, made: Tensor, true: Tensor) -> dict[str, Tensor]:
        """Waves [B, N] to each wanted loss, and to the discriminators' own as `discriminator`, without a gradient."""
        self.discriminators.requires_grad_(True)
        loss = discriminator_loss(self.discriminators(true), self.discriminators(made.detach()))
        if torch.is_grad_enabled():
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
            self.optimizer.step()
        self.discriminators.requires_grad_(False)
        outputs, wanted = self.discriminators(made), self.discriminators(true)
        losses = {"adversarial": adversarial_loss(outputs), "feature_matching": feature_matching_loss(wanted, outputs)}
        return {name: losses[name] for name in losses if name in self.wanted} | {"discriminator": loss.detach()}


class PeriodDiscriminator(nn.Module):
    """Convolutions down the columns of a wave that is folded into rows of `period` samples."""

    def __init__(self, period: int, dim: int) -> None:
        super().__init__()
        self.period = period
        widths = [1, dim, 4 * dim, 16 * dim, 32 * dim, 32 * dim]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(narrow, wide, (5, 1), (3 if index < 4 else 1, 1), padding=(2, 0)))
            for index, (narrow, wide) in enumerate(pairwise(widths)))
        self.last = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """x [B, 1, N] to scores [B, …] and features."""
        x = F.pad(x, (0, -x.shape[-1] % self.period))
        return _listen(self.layers, self.last, x.reshape(*x.shape[:2], -1, self.period))  # [B, 1, N / period, period]


class ScaleDiscriminator(nn.Module):
    """Grouped convolutions over a wave; the one that takes it unpooled has spectral norm, the others weight norm."""

    def __init__(self, dim: int, *, first: bool) -> None:
        super().__init__()
        norm = spectral_norm if first else weight_norm
        widths = [1, *(dim * width for width in (4, 4, 8, 16, 32, 32, 32))]
        shapes = ((15, 1, 1), (41, 2, 4), (41, 2, 16), (41, 4, 16), (41, 4, 16), (41, 1, 16), (5, 1, 1))
        self.layers = nn.ModuleList(
            norm(nn.Conv1d(narrow, wide, kernel, stride, padding=kernel // 2, groups=groups))
            for (narrow, wide), (kernel, stride, groups) in zip(pairwise(widths), shapes, strict=True))
        self.last = norm(nn.Conv1d(widths[-1], 1, 3, padding=1))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """x [B, 1, N] to scores [B, …] and features."""
        return _listen(self.layers, self.last, x)


def discriminator_loss(true: DiscriminatorOutputs, made: DiscriminatorOutputs) -> Tensor:
    """What discriminators learn by: true waves score 1, made ones 0; least squares, summed over them."""
    return torch.stack([(1 - t).square().mean() + m.square().mean() for (t, _), (m, _) in zip(true, made, strict=True)]).sum()


def adversarial_loss(made: DiscriminatorOutputs) -> Tensor:
    """What the vocoder learns by: its waves shall score 1."""
    return torch.stack([(1 - scores).square().mean() for scores, _ in made]).sum()


def feature_matching_loss(true: DiscriminatorOutputs, made: DiscriminatorOutputs) -> Tensor:
    """L1 between the discriminators' features of true and made waves, averaged in a layer, summed over layers."""
    pairs = [pair for (_, wanted), (_, found) in zip(true, made, strict=True) for pair in zip(wanted, found, strict=True)]
    return torch.stack([F.l1_loss(found, wanted.detach()) for wanted, found in pairs]).sum()


def _listen(layers: nn.ModuleList, last: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    features = []
    for layer in layers:
        x = F.leaky_relu(layer(x), SLOPE)
        features.append(x)
    scores: Tensor = last(x)
    return scores, [*features, scores]
