"""What a scoring run keeps, there and back."""

from pathlib import Path

import pytest

from omnikit.errors import RunError
from omnikit.evaluation.records import Record, read_lines, write_lines


def test_text_with_every_kind_of_line_end_comes_back(tmp_path: Path) -> None:
    rows = [Record("a", "one\u2028two", "three\u2029four", ("five\u0085six", None)), Record("b", "x\ny\r\n", "z\x0c\x1c")]
    write_lines(tmp_path / "x.jsonl", rows)
    assert read_lines(tmp_path / "x.jsonl", Record) == rows


def test_other_lines_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("[1]\n")
    with pytest.raises(RunError, match=r"x.jsonl does not hold records of omnikit eval .*again without --rescore"):
        read_lines(tmp_path / "x.jsonl", Record)
