"""The folder of a dataset while it is built: one build, one set of options, nothing of a kill left."""

import hashlib
import re
from contextlib import closing
from pathlib import Path

import pytest

from omnikit.data.build.folder import BUILD_STATE, EmptyDatasetError, Journal, build_folder, write
from omnikit.errors import RunError

IDENTITY: dict[str, object] = {"builder": "b", "options": {"seed": 0, "limit": None}}


def test_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    for place in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(RunError, match="which exists and is not a dataset that was built; name a new folder"), \
                build_folder(place, IDENTITY):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_two_builds_of_one_folder_do_not_meet(tmp_path: Path) -> None:
    sentence = r"out is being built by process \d+ on \S+ since [^;]+; wait for it, or name another folder"
    with build_folder(tmp_path / "out", IDENTITY), pytest.raises(RunError, match=sentence), \
            build_folder(tmp_path / "out", IDENTITY):
        pass
    with build_folder(tmp_path / "out", IDENTITY):
        pass


def test_other_options_are_named(tmp_path: Path) -> None:
    with build_folder(tmp_path / "out", IDENTITY):
        pass
    with pytest.raises(RunError, match=r"out was built with options\.seed 0, but it is 1 now; name another folder"), \
            build_folder(tmp_path / "out", {"builder": "b", "options": {"seed": 1, "limit": None}}):
        pass


def test_what_a_kill_left_half_is_gone(tmp_path: Path) -> None:
    with build_folder(tmp_path, IDENTITY):
        halves = [tmp_path / ".train.jsonl.7.part", tmp_path / "audio" / ".a.wav.7.part"]
        for half in halves:
            half.write_bytes(b"half")
        write(tmp_path / "train.jsonl", "{}\n")
    with build_folder(tmp_path, IDENTITY):
        assert [path for path in halves if path.exists()] == [] and (tmp_path / "train.jsonl").exists()


def test_folder_in_which_nothing_was_left_is_free(tmp_path: Path) -> None:
    with pytest.raises(EmptyDatasetError), build_folder(tmp_path, IDENTITY):
        (tmp_path / "audio" / "a.wav").touch()
        (tmp_path / BUILD_STATE / "said.jsonl").touch()
        raise EmptyDatasetError("no row")
    with build_folder(tmp_path, {"builder": "other"}):
        assert not (tmp_path / "audio" / "a.wav").exists() and not (tmp_path / BUILD_STATE / "said.jsonl").exists()


def test_file_is_written_with_its_hash(tmp_path: Path) -> None:
    digest = write(tmp_path / "a.txt", "Größe")
    assert digest == hashlib.sha256((tmp_path / "a.txt").read_bytes()).hexdigest()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    sentence = f"{tmp_path}/no/a.txt cannot be written (No such file or directory); free some space or name another folder."
    with pytest.raises(RunError, match=f"^{re.escape(sentence)}$"):
        write(tmp_path / "no" / "a.txt", "")


@pytest.mark.parametrize("cut", [b"", b'{"id": "c', b"\xc3"], ids=["whole", "cut", "cut in a letter"])
def test_journal_drops_a_line_that_a_kill_cut_short(tmp_path: Path, cut: bytes) -> None:
    path = tmp_path / "j.jsonl"
    with closing(Journal(path)) as journal:
        assert journal.entries == []
        journal.add({"id": "a"})
        journal.add({"id": "b"})
    path.write_bytes(path.read_bytes() + cut)
    with closing(Journal(path)) as journal:
        assert journal.entries == [{"id": "a"}, {"id": "b"}]
        journal.add({"id": "d"})
    assert path.read_text() == '{"id": "a"}\n{"id": "b"}\n{"id": "d"}\n'
