"""Files that appear whole or not at all."""

import re
from pathlib import Path

import pytest

from omnikit.errors import RunError
from omnikit.store.files import atomic_file


def test_name_is_taken_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_file(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert [file.read_text() for file in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_is_stopped_leaves_the_old_file_alone(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), atomic_file(path) as part:
        part.write_text("half")
        raise error
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize(("place", "reason"), [("none/a", "No such file or directory"), ("file/a", "Not a directory")])
def test_what_the_disk_refuses_is_the_callers_sentence(tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / place
    with pytest.raises(RunError, match=f"^{re.escape(f'{path} cannot be written: {reason}.')}$"), atomic_file(path) as part:
        part.touch()
    with pytest.raises(RunError, match=f"^{re.escape(f'no {path}: {reason}!')}$"), atomic_file(path, "no {}: {}!") as part:
        part.touch()
