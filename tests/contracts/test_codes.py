"""Codes in files: plain numbers for one codebook, lists for several."""

import pytest

from omnikit.contracts.codes import from_file, to_file


@pytest.mark.parametrize("held", [[], [3, 1, 4], [[3, 1], [4, 1]]], ids=["none", "one codebook", "two codebooks"])
def test_what_is_read_is_written_the_same(held: list[int] | list[list[int]]) -> None:
    assert to_file(from_file(held)) == held


def test_one_codebook_may_be_written_as_lists() -> None:
    assert from_file([[3], [1]]) == from_file([3, 1]) == ((3,), (1,))


@pytest.mark.parametrize("held", [[1, -1], [1.0], [[1, 2], [3]], [[]], ["1"], [True], [[1, 2], 3]])
def test_what_is_none_is_refused(held: list[object]) -> None:
    with pytest.raises(ValueError, match="codes must"):
        from_file(held)  # type: ignore[arg-type]  # wrong on purpose
