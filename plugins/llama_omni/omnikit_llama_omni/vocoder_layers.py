"""The unit vocoder's blocks: residual convolutions and the duration predictor. Uses no units.

Names of fairseq's checkpoints.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from omnikit_llama_omni.config import UnitHiFiGAN

SLOPE = 0.1  # of every leaky ReLU but the generator's last, which has torch's 0.01


class ResidualBlock(nn.Module):
    """Pairs of a dilated and a plain convolution, each pair added to its input."""

    def __init__(self, width: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            weight_norm(nn.Conv1d(width, width, kernel, dilation=d, padding=d * (kernel - 1) // 2)) for d in dilations)
        self.convs2 = nn.ModuleList(
            weight_norm(nn.Conv1d(width, width, kernel, padding=(kernel - 1) // 2)) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, T] to [B, C, T]."""
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            x = x + plain(F.leaky_relu(dilated(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class DurationPredictor(nn.Module):
    """Two convolutions with norms, one number per unit: log(frames + 1)."""

    def __init__(self, config: UnitHiFiGAN) -> None:
        super().__init__()
        wide = config.duration_dim
        assert wide is not None, "built only where there is one"
        self.conv1 = nn.Sequential(nn.Conv1d(config.dim, wide, 3, padding=1), nn.ReLU())
        self.ln1 = nn.LayerNorm(wide)
        self.conv2 = nn.Sequential(nn.Conv1d(wide, wide, 3, padding=1), nn.ReLU())
        self.ln2 = nn.LayerNorm(wide)
        self.proj = nn.Linear(wide, 1)
        self.dropout = nn.Dropout(config.duration_dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Embedded units [B, T, D], mask [B, T] True = valid, to log(frames + 1) [B, T]."""
        valid = mask[..., None]
        x = self.dropout(self.ln1(self.conv1((x * valid).transpose(1, 2)).transpose(1, 2))) * valid  # [B, T, duration_dim]
        x = self.dropout(self.ln2(self.conv2(x.transpose(1, 2)).transpose(1, 2)))
        result: Tensor = self.proj(x)[..., 0]
        return result
