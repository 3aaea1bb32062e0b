"""Rotary position embeddings (RoFormer, arXiv:2104.09864) as LLaMA computes them. Independent of layers."""

from math import pi
from typing import NamedTuple

import torch
from torch import Tensor


class RotaryAngles(NamedTuple):
    """Cosines and sines of the rotary angles, [..., T, W / 2] each, W the width of an attention head."""

    cos: Tensor
    sin: Tensor

    def between(self, start: int, end: int) -> "RotaryAngles":
        """Give those of positions start to end, of [T, W / 2]."""
        return RotaryAngles(self.cos[start:end], self.sin[start:end])


def rotary_frequencies(width: int, theta: float, device: torch.device) -> Tensor:
    """Give the frequencies [width / 2] of an attention head in float32, radians per position."""
    exponents = torch.arange(0, width, 2, dtype=torch.float32, device=device) / width
    frequencies: Tensor = theta ** -exponents
    return frequencies


def llama3_scaled(frequencies: Tensor, factor: float, low: float, high: float, original: int) -> Tensor:
    """Scale low frequencies down by `factor`, as Llama 3.1 does to reach a longer context.

    Args:
        frequencies: [N], radians per position.
        factor: what the lowest are divided by.
        low: frequencies with fewer turns within the original context are divided by `factor`.
        high: frequencies with more turns stay; between the two the scaling is interpolated.
        original: positions of the original context.

    Source: rope_scaling of meta-llama/Llama-3.1-8B-Instruct, config.json.
    """
    turns = original * frequencies / (2 * pi)
    unscaled = ((turns - low) / (high - low)).clamp(0, 1)
    return frequencies * (unscaled + (1 - unscaled) / factor)


def rotary_angles(positions: Tensor, frequencies: Tensor, dtype: torch.dtype) -> RotaryAngles:
    """Give the angles of positions [..., T], once for all layers; computed in float32, stored as `dtype`."""
    angles = positions[..., None].float() * frequencies  # [..., T, W / 2]
    return RotaryAngles(angles.cos().to(dtype), angles.sin().to(dtype))


def rotate(x: Tensor, angles: RotaryAngles) -> Tensor:
    """Turn x [B, H, T, W]; a pair is an element of the first half and one of the second."""
    cos, sin = angles
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)
