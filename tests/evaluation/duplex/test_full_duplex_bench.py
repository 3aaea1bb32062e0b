"""The definitions of Full-Duplex-Bench, against cases worked out by hand."""

import pytest

from omnikit.evaluation.duplex import full_duplex_bench as fdb


@pytest.mark.parametrize(("words", "expected"), [
    ([], False),
    ([(0.0, 0.3)], False),
    ([(0.0, 0.3), (0.4, 0.6), (0.7, 0.99)], False),
    ([(0.0, 0.3), (0.4, 0.6), (0.7, 1.0)], True),
    ([(0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8)], True),
], ids=["no words", "one short word", "three words below a second", "three words in a second", "four words below a second"])
def test_take_over_needs_a_second_or_four_words(words: list[tuple[float, float]], expected: bool) -> None:
    assert fdb.take_over(words) is expected


def test_response_latency_runs_from_the_users_end_to_the_first_word() -> None:
    assert fdb.response_latency([(2.5, 3.0), (3.0, 4.0)], 2.0) == 0.5


def test_response_latency_is_never_negative() -> None:
    assert fdb.response_latency([(1.5, 3.0)], 2.0) == 0.0


def test_no_turn_has_no_response_latency() -> None:
    assert fdb.response_latency([(2.5, 2.8)], 2.0) is None


@pytest.mark.parametrize(("segments", "words", "expected"), [
    ([(0.0, 0.9)], [(0.0, 0.4), (0.5, 0.9)], False),
    ([(0.0, 1.0)], [(0.0, 0.4)], True),
    ([(0.0, 0.9)], [(0.0, 0.3), (0.3, 0.6), (0.6, 0.9)], True),
    ([(0.0, 0.5), (2.0, 2.5)], [(0.0, 0.2), (0.2, 0.4), (2.0, 2.4)], False),
    ([], [], False),
], ids=["two words", "a second", "three words", "two back-channels", "silence"])
def test_a_backchannel_is_below_a_second_and_has_at_most_two_words(
        segments: list[tuple[float, float]], words: list[tuple[float, float]], expected: bool) -> None:
    assert fdb.backchannel_take_over(segments, words) is expected


def test_backchannel_frequency_counts_segments_a_second() -> None:
    assert fdb.backchannel_frequency([(0.0, 0.5), (2.0, 2.5)], 8.0) == 0.25


def test_gaps_up_to_the_limit_are_joined() -> None:
    assert fdb.merged([(2.0, 3.0), (0.0, 1.5), (3.6, 4.0)], 0.5) == [(0.0, 3.0), (3.6, 4.0)]


def test_stop_latency_is_the_overlap_of_user_and_model() -> None:
    assert fdb.stop_latencies([(1.0, 2.0), (4.0, 6.0)], [(1.75, 3.0), (3.0, 4.5)]) == [0.25, 0.5]


def test_response_latency_of_v1_5_ends_at_the_users_next_segment() -> None:
    assert fdb.response_latencies([(0.0, 1.0), (3.0, 4.0)], [(1.5, 2.5), (4.25, 5.0)]) == [0.5, 0.25]


def test_a_segment_without_response_has_no_latency() -> None:
    assert fdb.response_latencies([(0.0, 1.0), (3.0, 4.0)], [(4.5, 5.0)]) == [0.5]
