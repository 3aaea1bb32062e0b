"""Numbers with their 95 % confidence intervals. The same values give the same bytes on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from omnikit.evaluation.metrics import Pair

ROUNDS = 1000  # of the bootstrap
BOOTSTRAP_SEED = 0
Z = 1.959964  # 97.5 % point of the normal distribution
INTERVALS = f"95 %: Wilson's for fractions, a bootstrap over rows for the others ({ROUNDS} rounds, seed {BOOTSTRAP_SEED})"


@dataclass(frozen=True)
class Estimate:
    """A measured number; `count` is the rows behind it, `low` to `high` its interval (None with fewer than two rows)."""

    value: float
    low: float | None
    high: float | None
    count: int


def fraction(right: Sequence[bool]) -> Estimate | None:
    """Give the fraction of true values with Wilson's interval, which holds near 0 and 1 too; None without values."""
    total = len(right)
    if not total:
        return None
    value = sum(right) / total
    middle, width = value + Z * Z / (2 * total), Z * sqrt(value * (1 - value) / total + Z * Z / (4 * total * total))
    scale = 1 + Z * Z / total
    return Estimate(value, max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale), total)


def ratio(pairs: Sequence[Pair]) -> Estimate | None:
    """Give the sum of the first divided by the sum of the second numbers; None where the latter is 0."""
    parts, wholes = np.asarray(pairs, dtype=np.float64).reshape(-1, 2).T
    if not wholes.sum():
        return None
    rows = _resampled(len(pairs))
    below = wholes[rows].sum(1)
    low, high = _interval(parts[rows].sum(1)[below > 0] / below[below > 0], len(pairs))
    return Estimate(float(parts.sum() / wholes.sum()), low, high, len(pairs))


def difference(first: Sequence[Pair], second: Sequence[Pair]) -> Estimate | None:
    """Give how much more the second ratio is than the first, both of the same rows, whose pairs are drawn together; None where
    a ratio has no denominator."""
    before, now = (np.asarray(pairs, dtype=np.float64).reshape(-1, 2) for pairs in (first, second))
    if not before[:, 1].sum() or not now[:, 1].sum():
        return None
    rows = _resampled(len(before))
    sums = [pairs[rows].sum(1) for pairs in (before, now)]  # [ROUNDS, 2] each
    there = (sums[0][:, 1] > 0) & (sums[1][:, 1] > 0)
    drawn = [part[there, 0] / part[there, 1] for part in sums]
    low, high = _interval(drawn[1] - drawn[0], len(before))
    values = [float(pairs[:, 0].sum() / pairs[:, 1].sum()) for pairs in (before, now)]
    return Estimate(values[1] - values[0], low, high, len(before))


def quantile(values: Sequence[float], level: float) -> Estimate | None:
    """Give the quantile at a level, 0.5 for the median; None without values."""
    if not values:
        return None
    found = np.asarray(values, dtype=np.float64)
    low, high = _interval(np.quantile(found[_resampled(len(found))], level, axis=1), len(found))
    return Estimate(float(np.quantile(found, level)), low, high, len(found))


def _resampled(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Give rows drawn with repetition, [ROUNDS, count]."""
    return np.random.default_rng(BOOTSTRAP_SEED).integers(count, size=(ROUNDS, count))


def _interval(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], count: int) -> tuple[float | None, float | None]:
    if count < 2:
        return None, None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
