"""Texts compared."""

import pytest

from omnikit.evaluation.metrics import character_errors, exact, normalise, word_errors


@pytest.mark.parametrize(
    ("text", "expected"),
    [("It's Nine, sir!", "it's nine sir"), ("  a\n b ", "a b"), ("the 'big' dogs' tail", "the big dogs tail"),
     ("don’t", "don't"), ("twenty-one", "twenty one"), ("", "")],
)
def test_normalised_words(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_exact_depends_on_case_and_words_but_not_on_space() -> None:
    assert exact(" a  b", "a b") and not exact("A b", "a b") and not exact("a b c", "a b")


@pytest.mark.parametrize(
    ("hypothesis", "reference", "expected"),
    [("a b c", "a b c", [(0, 3)]), ("a x c", "a b c", [(1, 3)]), ("a b", "a b c", [(1, 3)]), ("a b c d", "a b c", [(1, 3)]),
     ("", "a", [(1, 1)]), ("A!", "a", [(0, 1)]), ("noise", "", []), ("b a", "a b", [(2, 2)])],
)
def test_word_errors_are_edits_and_words_of_the_reference(hypothesis: str, reference: str,
                                                          expected: list[tuple[int, int]]) -> None:
    assert word_errors([hypothesis], [reference]) == expected


@pytest.mark.parametrize(
    ("hypothesis", "reference", "expected"),
    [("two", "two", [(0, 3)]), ("too", "two", [(1, 3)]), ("one two", "one to", [(1, 6)]), ("", "nine", [(4, 4)]),
     ("four!", "Four", [(0, 4)]), ("noise", "", [])],
)
def test_character_errors_are_edits_and_characters_of_the_reference(
    hypothesis: str, reference: str, expected: list[tuple[int, int]]
) -> None:
    assert character_errors([hypothesis], [reference]) == expected


def test_pairs_are_counted_one_by_one() -> None:
    assert word_errors(["", "a b", "c"], ["one", "", "c"]) == [(1, 1), (0, 1)]
