"""Projectors over each frame or a few neighbours; they depend on no encoder and no backbone."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnikit.contracts.types import Features
from omnikit_basics.config.projectors import Activation, StackMlp, StridedConv

ACTIVATIONS: dict[Activation, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU}
PROMPT_SPREAD = 0.02  # of fresh prompts, that of a language model's embeddings


class PointwiseProjector(nn.Module):
    """Linears with activations between them, [B, T, D] to [B, T, D'], each vector alone; `widths` are those on the way."""

    def __init__(self, widths: tuple[int, ...], activation: Activation = "gelu", *, norm: bool = False,
                 bias: bool = True) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(widths[0]) if norm else nn.Identity()
        layers: list[nn.Module] = []
        for narrow, wide in pairwise(widths):
            layers += [nn.Linear(narrow, wide, bias=bias), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, features: Features) -> Features:
        return Features(self.layers(self.norm(features.data)), features.lengths, features.rate)


class StackProjector(nn.Module):
    """Runs of vectors [B, T, D] joined to [B, T / stride, D'], the first one first; Linears under LLaMA-Omni's names."""

    def __init__(self, config: StackMlp, source: int, dim: int) -> None:
        super().__init__()
        self.stride, self.pads = config.stride, config.tail == "pad"
        width = config.hidden or dim
        self.linear1 = nn.Linear(source * config.stride, width, bias=config.bias)
        self.activation = ACTIVATIONS[config.activation]()
        self.linear2 = nn.Linear(width, dim, bias=config.bias)

    def forward(self, features: Features) -> Features:
        data, stride = features.data, self.stride
        lengths = features.lengths // stride
        if self.pads:
            data = F.pad(silence(features), (0, 0, 0, -data.shape[1] % stride))
            lengths = (features.lengths + stride - 1) // stride
        runs = data.shape[1] // stride
        joined = data[:, : runs * stride].reshape(len(data), runs, stride * data.shape[2])  # [B, T / k, k * D]
        rate = None if features.rate is None else features.rate / stride
        return Features(self.linear2(self.activation(self.linear1(joined))), lengths, rate)


@dataclass(frozen=True)
class ConvState:
    """Vectors [B, D, n] that the next output begins with; then `skip` more are passed over; `begun` once prompts were given."""

    held: Tensor
    skip: int = 0
    begun: bool = False


class StridedConvProjector(nn.Module):
    """A strided convolution over time [B, T, D], norm, activation and Linear to [B, T / stride, D']; learned prompts before."""

    def __init__(self, config: StridedConv, source: int, dim: int) -> None:
        super().__init__()
        self.kernel, self.stride = config.kernel, config.stride
        self.padding = (config.kernel - 1, 0) if config.causal else (0, config.kernel - 1)
        self.conv = nn.Conv1d(source, config.hidden, config.kernel, config.stride)
        norms = {"layer": nn.LayerNorm, "batch": nn.BatchNorm1d}
        self.norm = None if config.norm == "none" else norms[config.norm](config.hidden, eps=config.eps)
        self.activation = ACTIVATIONS[config.activation]()
        self.project = nn.Linear(config.hidden, dim)
        self.prompts = nn.Parameter(PROMPT_SPREAD * torch.randn(config.prompts, dim)) if config.prompts else None

    def forward(self, features: Features) -> Features:
        x = F.pad(silence(features).transpose(1, 2), self.padding)  # [B, D, T + kernel - 1]
        return self._convolved(x, (features.lengths + self.stride - 1) // self.stride, features, begins=True)

    def init_state(self, batch: int) -> ConvState:
        """Give the state of `batch` items without input so far."""
        weight = self.conv.weight
        return ConvState(weight.new_zeros(batch, weight.shape[1], self.padding[0]))

    def step(self, features: Features, state: ConvState, *, last: bool = False) -> tuple[Features, ConvState]:
        """Give what new vectors complete; every row brings equally many. The steps, joined, are what `forward` gives.

        `last` means that no vector follows: zeros on the right come in, where the padding is there.
        """
        x = torch.cat([state.held, features.data.transpose(1, 2)], dim=2)
        x = F.pad(x, (0, self.padding[1])) if last else x
        skip = min(state.skip, x.shape[2])  # a stride longer than the kernel leaves some out
        x = x[:, :, skip:]
        count = max(0, (x.shape[2] - self.kernel) // self.stride + 1)
        used = count * self.stride
        left = ConvState(x[:, :, used:], state.skip - skip + max(0, used - x.shape[2]), begun=True)
        lengths = torch.full_like(features.lengths, count)
        return self._convolved(x if count else x[:, :, :0], lengths, features, begins=not state.begun), left

    def _convolved(self, x: Tensor, lengths: Tensor, features: Features, *, begins: bool) -> Features:
        """Padded vectors [B, D, N] to `lengths` [B] projected ones, behind the prompts where the item begins."""
        rate = None if features.rate is None else features.rate / self.stride
        if x.shape[2] >= self.kernel:
            x = self.conv(x).transpose(1, 2)  # [B, ceil(T / stride), hidden]
            x = self.project(self.activation(self._normalise(x, lengths)))
        else:
            x = x.new_zeros(len(x), 0, self.project.out_features)
        if self.prompts is not None and begins:
            x = torch.cat([self.prompts.expand(len(x), -1, -1), x], dim=1)
            lengths = lengths + len(self.prompts)
        return Features(x, lengths, rate)

    def _normalise(self, x: Tensor, lengths: Tensor) -> Tensor:
        if isinstance(self.norm, nn.BatchNorm1d) and not self.training:
            normed: Tensor = self.norm(x.transpose(1, 2)).transpose(1, 2)
            return normed
        if isinstance(self.norm, nn.BatchNorm1d):  # padding must not enter the batch's statistics
            valid = valid_vectors(lengths, x.shape[1])
            return torch.zeros_like(x).masked_scatter(valid[..., None], self.norm(x[valid]))
        return x if self.norm is None else self.norm(x)


def valid_vectors(lengths: Tensor, width: int) -> Tensor:
    """Give the mask [B, width] of `lengths` [B], True = valid."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def silence(features: Features) -> Tensor:
    """Give the data [B, T, D] with zeros beyond the lengths, so that the end of a row is computed as if alone."""
    return features.data.masked_fill(~valid_vectors(features.lengths, features.data.shape[1])[..., None], 0.0)
