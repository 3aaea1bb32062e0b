"""A convolution whose weights are prepared once. Independent of what its frames are and of what was before them.

On a CPU in float32 oneDNN reads weights in an order of its own. torch puts them into that order at each call, which for a few
frames takes several times as long as the convolution itself; here it happens once, and an activation that follows is computed
in the same pass. Elsewhere, and without oneDNN, torch's own convolution gives the same.
"""

from __future__ import annotations

import os

import torch
import torch.nn.functional as F
from torch import Tensor

TYPICAL = 64  # frames for which oneDNN chooses the order; it reads any number in that order
FEWEST = 8  # channels: of one channel the memory format is ambiguous, and few are no work
DIGITS = 4  # binary ones of a number of frames that count: at most an eighth of them, 4 % on average, are computed in vain
CAPACITY = "4096"  # compiled convolutions; oneDNN's own 1024 are the sizes of a few segments of a vocoder
NO_PADDING, NO_STRIDE = [0, 0], [1, 1]


class PackedConv:
    """Weights [E, C, K], read once, and a bias [E]: frames [B, C, 1, T] to [B, E, 1, T - reach] without padding.

    Frames have torch's memory format `channels_last`. Gradients do not pass.

    Args:
        weight: [E, C, K].
        bias: [E].
        dilation: frames between the inputs of a kernel.
        slope: of a leaky ReLU behind it (0: a ReLU); None: none.
    """

    def __init__(self, weight: Tensor, bias: Tensor, *, dilation: int = 1, slope: float | None = None) -> None:
        self.width, self.inputs, self.reach = weight.shape[0], weight.shape[1], (weight.shape[2] - 1) * dilation
        self.bias, self.slope, self._dilation = bias.detach().clone(), slope, [1, dilation]
        kernel = weight.detach()[:, :, None].contiguous(memory_format=torch.channels_last)  # [E, C, 1, K]
        self.packed = _packs(kernel)
        size = [1, self.inputs, 1, TYPICAL + self.reach]
        self._weight: Tensor = kernel if not self.packed else torch.ops.mkldnn._reorder_convolution_weight(
            kernel, NO_PADDING, NO_STRIDE, self._dilation, 1, size)
        self._after: tuple[str, list[float]] = ("none", []) if slope is None else ("leaky_relu", [slope])

    def size(self, count: int) -> int:
        """Give the next number of outputs for which it should be called: oneDNN compiles each number, and keeps 80 kB of it."""
        step = 1 << max(count.bit_length() - DIGITS, 0)
        return -(-count // step) * step if self.packed else count

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve x, which has at least `reach` + 1 frames."""
        if self.packed:
            result: Tensor = torch.ops.mkldnn._convolution_pointwise(
                x, self._weight, self.bias, NO_PADDING, NO_STRIDE, self._dilation, 1, *self._after, "")
            return result
        plain = F.conv2d(x, self._weight, self.bias, dilation=self._dilation)
        return plain if self.slope is None else F.leaky_relu(plain, self.slope)


def keep_compiled() -> None:
    """Let oneDNN keep more compiled convolutions, if it has not compiled any yet and the environment sets no number.

    It compiles one for each number of frames of each layer, which takes longer than a small layer.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", CAPACITY)


def _packs(kernel: Tensor) -> bool:
    return (kernel.device.type == "cpu" and kernel.dtype == torch.float32 and kernel.shape[1] >= FEWEST
            and torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_convolution_pointwise"))
