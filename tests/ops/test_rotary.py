"""Rotary positions: against a product of complex numbers, and what attention must not depend on."""

import torch

from omnikit.ops.rotary import rotary_angles, rotary_frequencies, rotate


def test_rotation_is_a_product_of_complex_numbers() -> None:
    x, positions = torch.randn(2, 3, 5, 8, dtype=torch.float64), torch.arange(5)
    angles = rotary_angles(positions, rotary_frequencies(8, 10000.0, x.device), torch.float64)
    frequencies = 10000.0 ** (-torch.arange(4, dtype=torch.float64) / 4)
    turned = torch.complex(x[..., :4], x[..., 4:]) * torch.polar(torch.ones(5, 4, dtype=torch.float64),
                                                                positions[:, None] * frequencies)
    expected = torch.cat([turned.real, turned.imag], -1)
    torch.testing.assert_close(rotate(x, angles), expected, atol=1e-5, rtol=0)  # angles are computed in float32


def test_scores_depend_on_distances_alone() -> None:
    q, k = torch.randn(1, 1, 6, 8), torch.randn(1, 1, 6, 8)
    frequencies = rotary_frequencies(8, 10000.0, q.device)
    near, far = (rotary_angles(torch.arange(6) + first, frequencies, q.dtype) for first in (0, 40))
    scores = [rotate(q, angles) @ rotate(k, angles).transpose(2, 3) for angles in (near, far)]
    torch.testing.assert_close(scores[0], scores[1], atol=1e-4, rtol=0)  # float32 angles
