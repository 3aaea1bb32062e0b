"""Texts compared."""

import pytest

from omnikit.evaluation.metrics import exact, normalised, word_error_rate


@pytest.mark.parametrize(
    ("text", "expected"),
    [("It's Nine, sir!", "it's nine sir"), ("  a\n b ", "a b"), ("the 'big' dogs' tail", "the big dogs tail"),
     ("don’t", "don't"), ("twenty-one", "twenty one"), ("", "")],
)
def test_normalised_words(text: str, expected: str) -> None:
    assert normalised(text) == expected


def test_exact_minds_case_and_words_but_not_space() -> None:
    assert exact(" a  b", "a b") and not exact("A b", "a b") and not exact("a b c", "a b")


@pytest.mark.parametrize(
    ("heard", "said", "expected"),
    [(["a b c"], ["a b c"], 0.0), (["a x c"], ["a b c"], 1 / 3), (["a b"], ["a b c"], 1 / 3), (["a b c d"], ["a b c"], 1 / 3),
     (["", "b"], ["a", "b"], 1 / 2), (["A!"], ["a"], 0.0), (["noise", "b"], ["", "b"], 0.0), (["noise"], [""], None)],
)
def test_word_error_rate_is_edits_by_words_said(heard: list[str], said: list[str], expected: float | None) -> None:
    assert word_error_rate(heard, said) == pytest.approx(expected)
