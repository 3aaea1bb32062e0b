"""Files that appear whole or not at all."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from omnikit.errors import RunError
from omnikit.store.files import atomic_file, atomic_folder, read_json, write_json, write_text


def test_file_gets_its_name_when_all_is_written(tmp_path: Path) -> None:
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


def write(path: Path, text: str) -> None:
    with atomic_file(path) as part:
        Path(str(part)).write_text(text)
        part.chmod(0o600)  # as some libraries do


def fill(path: Path) -> None:
    with atomic_folder(path) as part:
        (part / "a").touch()


@pytest.mark.parametrize(("make", "mode"), [(lambda path: write(path, "a"), 0o640), (lambda path: write_text(path, "a"), 0o640),
                                            (lambda path: write_json(path, {}), 0o640), (fill, 0o750)],
                         ids=["atomic_file", "write_text", "write_json", "atomic_folder"])
def test_permissions_are_those_of_the_umask(tmp_path: Path, make: Callable[[Path], None], mode: int) -> None:
    before = os.umask(0o027)
    try:
        make(tmp_path / "x")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == mode


def test_folder_appears_when_all_is_written(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "new" / "x") as partial:
        (partial / "a").touch()
        assert not (tmp_path / "new" / "x").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x"]


def test_folder_that_failed_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "x") as partial:
        (partial / "a").touch()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_two_processes_do_not_fill_one_folder(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "x"), pytest.raises(RunError, match=r"x is being written by process \d+ .*; wait for"), \
            atomic_folder(tmp_path / "x"):
        pass


@pytest.mark.parametrize(("content", "problem"), [
    (b'{"a": ', "cannot be read (Expecting value"), (b"[]", "holds list [], but must hold a mapping"),
    (b"\xff\xfe", "cannot be read ('utf-8' codec"), (b"", "cannot be read (Expecting value")])
def test_damaged_json_is_one_sentence(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(RunError, match=rf"^{re.escape(f'{tmp_path}/a.json {problem}')}[^\n]*; copy it again\.$"):
        read_json(tmp_path / "a.json", "copy it again")


def test_json_that_is_not_there_or_a_folder_is_one_sentence(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file or directory")):
        with pytest.raises(RunError, match=re.escape(f"{path} cannot be read ({reason}); copy it again.")):
            read_json(path, "copy it again")
