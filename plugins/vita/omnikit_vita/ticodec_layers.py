"""TiCodec's layers: residual blocks, the encoder of frames and voice, the generator. Uses no codes.

Names of its public checkpoint; every convolution but those of the voice and the encoder's last has weight norm.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from omnikit_vita.ticodec import TiCodec
from omnikit_vita.ticodec_mel import LogMel

SLOPE = 0.1  # of every leaky ReLU but the encoder's last, which has torch's 0.01
PER_GROUP = 16  # channels that the encoder's norms take together


class PairedBlock(nn.Module):
    """Pairs of a dilated and a plain convolution, each pair added to its input."""

    def __init__(self, width: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(convolution(width, kernel, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(convolution(width, kernel, 1) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, T] to [B, C, T]."""
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            x = x + plain(F.leaky_relu(dilated(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class PlainBlock(nn.Module):
    """Dilated convolutions, each added to its input."""

    def __init__(self, width: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convolution(width, kernel, dilation) for dilation in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, T] to [B, C, T]."""
        for dilated in self.convs:
            x = x + dilated(F.leaky_relu(x, SLOPE))
        return x


class VoiceEncoder(nn.Module):
    """Three convolutions, the mean over time, and a normed layer: one embedding for the whole audio."""

    def __init__(self, config: TiCodec) -> None:
        super().__init__()
        wide, hidden, kernel = config.global_dim, config.global_hidden, config.global_kernel
        layers: list[nn.Module] = []
        for one, other in ((wide, hidden), (hidden, hidden), (hidden, wide)):
            layers += [nn.Conv1d(one, other, kernel, padding=kernel // 2, bias=False), nn.LeakyReLU(SLOPE)]
        self.conv = nn.Sequential(*layers)
        self.fn = nn.Sequential(nn.Linear(wide, wide), nn.LeakyReLU(SLOPE), nn.BatchNorm1d(wide))

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, T] to [B, C]."""
        result: Tensor = self.fn(self.conv(x).mean(-1))
        return result


class Encoder(nn.Module):
    """Waveforms to frames and to a vector for the voice; the sum of parallel blocks is normed after each one."""

    def __init__(self, config: TiCodec) -> None:
        super().__init__()
        self.global_dim, self.blocks = config.global_dim, len(config.block_kernels)
        widths = [config.encoder_channels * 2 ** step for step in range(len(config.down_rates) + 1)]
        self.mel = LogMel(config) if config.mel_bands else None
        self.conv_pre = weight_norm(nn.Conv1d(config.mel_bands or 1, widths[0], 7, padding=3))
        self.ups = nn.ModuleList(
            weight_norm(nn.Conv1d(narrow, wide, kernel, rate, padding=(kernel - rate) // 2)) for narrow, wide, kernel, rate
            in zip(widths, widths[1:], config.down_kernels, config.down_rates, strict=False))
        kinds = list(zip(config.block_kernels[::-1], config.block_dilations[::-1], strict=True))
        self.resblocks = nn.ModuleList(block(config, width, *kind) for width in widths[1:] for kind in kinds)
        self.normalize = nn.ModuleList(nn.GroupNorm(max(width // PER_GROUP, 1), width, eps=1e-6)
                                       for width in widths[1:] for _ in kinds)
        self.conv_post = nn.Conv1d(widths[-1], config.dim, 3, padding=1)
        self.GlobalTokenEncoder = VoiceEncoder(config)

    def forward(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms [B, N] to frames [B, dim, T] and voices [B, global_dim]."""
        x, voice = waveforms[:, None] if self.mel is None else self.mel(waveforms), None
        x = self.conv_pre(x)
        for step, down in enumerate(self.ups):
            x = self._blocks(down(F.leaky_relu(x, SLOPE)), step)
            if x.shape[1] == self.global_dim:
                voice = self.GlobalTokenEncoder(x)
        assert voice is not None, "the configuration makes sure that a step is as wide as the voice"
        return self.conv_post(F.leaky_relu(x)), voice

    def _blocks(self, x: Tensor, step: int) -> Tensor:
        total: Tensor | None = None
        for index in range(step * self.blocks, (step + 1) * self.blocks):
            new = self.resblocks[index](x)
            total = self.normalize[index](new if total is None else total + new)
        assert total is not None, "there is a block at least"
        return total / self.blocks


class Generator(nn.Module):
    """Frames and a vector for the voice to waveforms."""

    def __init__(self, config: TiCodec) -> None:
        super().__init__()
        self.global_dim, self.blocks = config.global_dim, len(config.block_kernels)
        widths = [config.channels // 2 ** step for step in range(len(config.rates) + 1)]
        self.conv_pre = weight_norm(nn.Conv1d(config.dim, widths[0], 7, padding=3))
        self.ups = nn.ModuleList(
            weight_norm(nn.ConvTranspose1d(wide, narrow, kernel, rate, padding=(kernel - rate) // 2)) for wide, narrow, kernel,
            rate in zip(widths, widths[1:], config.kernels, config.rates, strict=False))
        kinds = list(zip(config.block_kernels, config.block_dilations, strict=True))
        self.resblocks = nn.ModuleList(block(config, width, *kind) for width in widths[1:] for kind in kinds)
        self.conv_post = weight_norm(nn.Conv1d(widths[-1], 1, 7, padding=3))

    def forward(self, frames: Tensor, voice: Tensor) -> Tensor:
        """Frames [B, dim, T] and voices [B, global_dim] to waveforms [B, T x samples of a frame] in [-1, 1]."""
        x = self.conv_pre(frames)
        for step, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, SLOPE))
            parallel = self.resblocks[step * self.blocks:(step + 1) * self.blocks]
            x = torch.stack([one(x) for one in parallel]).mean(0)
            if x.shape[1] == self.global_dim:
                x = x + voice[..., None]
        waveform: Tensor = self.conv_post(F.leaky_relu(x, SLOPE)).tanh()[:, 0]
        return waveform


def convolution(width: int, kernel: int, dilation: int) -> nn.Module:
    """Give a convolution with weight norm that keeps width and length."""
    made: nn.Module = weight_norm(nn.Conv1d(width, width, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2))
    return made


def block(config: TiCodec, width: int, kernel: int, dilations: tuple[int, ...]) -> nn.Module:
    """Give a residual block of the configuration's kind."""
    return (PairedBlock if config.paired else PlainBlock)(width, kernel, dilations)
