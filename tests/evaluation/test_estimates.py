"""Intervals against published values and against what they must be."""

import pytest

from omnikit.evaluation.estimates import difference, fraction, quantile, ratio


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),  # Wilson's score interval, z = 1.96; Newcombe 1998, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_fraction_has_the_published_interval(right: int, total: int, low: float, high: float) -> None:
    found = fraction([True] * right + [False] * (total - right))
    assert found is not None
    assert (found.value, found.count) == (right / total, total)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_ratio_is_of_the_sums() -> None:
    found = ratio([(1, 2), (0, 6), (3, 4)])
    assert found is not None and found.low is not None and found.high is not None
    assert (found.value, found.count) == (4 / 12, 3)
    assert 0 <= found.low < 1 / 3 < found.high <= 3 / 4


def test_ratio_s_interval_shrinks_with_rows_as_in_theory() -> None:
    few, many = ratio([(0, 1), (1, 1)] * 50), ratio([(0, 1), (1, 1)] * 5000)
    assert few and few.low and few.high and many and many.low and many.high
    assert few.high - few.low == pytest.approx(2 * 1.96 * 0.05, rel=0.12)  # standard error: sqrt(0.25 / 100)
    assert many.high - many.low == pytest.approx(2 * 1.96 * 0.005, rel=0.12)


def test_quantile_of_known_values() -> None:
    values = [float(value) for value in range(101)]
    middle, late = quantile(values, 0.5), quantile(values, 0.9)
    assert middle and late and middle.low is not None and middle.high is not None
    assert (middle.value, late.value) == (50.0, 90.0)
    assert 30 < middle.low < 50 < middle.high < 70


def test_nothing_measured_is_none() -> None:
    assert (fraction([]), ratio([]), ratio([(0, 0)]), quantile([], 0.5)) == (None, None, None, None)


def test_one_row_has_no_interval() -> None:
    found = ratio([(1, 2)])
    assert found is not None and (found.value, found.low, found.high) == (0.5, None, None)


def test_difference_of_the_same_rows_is_nothing_without_spread() -> None:
    pairs = [(0.0, 1.0), (1.0, 1.0), (0.0, 2.0)] * 20
    found = difference(pairs, pairs)
    assert found is not None and (found.value, found.low, found.high, found.count) == (0.0, 0.0, 0.0, 60)


def test_difference_s_interval_is_that_of_paired_answers() -> None:
    first, second = [(0.0, 1.0), (1.0, 1.0)] * 200, [(0.0, 1.0), (1.0, 1.0)] * 180 + [(1.0, 1.0)] * 40
    found = difference(first, second)
    assert found and found.low is not None and found.high is not None
    share = 20 / 400  # rows that the second alone has right
    assert found.value == pytest.approx(share)
    assert found.high - found.low == pytest.approx(2 * 1.96 * (share * (1 - share) / 400) ** 0.5, rel=0.12)


def test_difference_without_a_denominator_is_none() -> None:
    assert difference([(0, 0)], [(1, 1)]) is None
