"""engine=ray: the same files as the local engine, also where a build was stopped in between."""

import json
import shutil
from pathlib import Path

import pytest
from omnikit_spoken_instructions.config import SpokenInstructions
from omnikit_spoken_instructions.worker import RowRecorder
from omnikit_spoken_instructions.worker_pool import checked

from omnikit import cli
from omnikit.contracts.builders import TextGenerator, Units
from omnikit.data.build import ray_engine
from omnikit.data.build.ray_engine import map_jobs
from omnikit.errors import RunError

QUESTIONS = ("Name a colour.", "Say hello.", "What is two plus two?", "Name a fruit.", "Count to three.")


class NoRuns:
    def text_generator(self, run: str) -> TextGenerator:
        raise NotImplementedError

    def units(self, run: str) -> Units:
        raise NotImplementedError


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "source.json"
    path.write_text(json.dumps([{"instruction": text, "input": "", "output": f"It is {number}."}
                                for number, text in enumerate(QUESTIONS)]))
    return str(path)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and ".build" not in path.parts}


def test_stopped_build_is_finished_by_ray_with_the_same_files(source: str, tmp_path: Path) -> None:
    here, there = tmp_path / "local", tmp_path / "ray"
    made = SpokenInstructions(source, noise_fraction=0.5).build().make(here, NoRuns()).made
    shutil.copytree(here, there)
    for name in ("manifest.json", "train.jsonl"):
        (there / name).unlink()
    journal = there / ".build" / "spoken.jsonl"
    first, *rest = journal.read_text().splitlines()
    journal.write_text(first + "\n")
    for line in rest:
        (there / json.loads(line)["question"]["path"]).unlink()
    report = SpokenInstructions(source, noise_fraction=0.5, engine="ray").build().make(there, NoRuns())
    assert (made, report.made, report.rows) == (5, 4, 5) and files(there) == files(here)


def test_ray_that_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engine, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"^engine=ray needs the package ray, which is not installed; install it with pip"):
        list(map_jobs(["job"], RowRecorder, (), 1))


def test_error_in_a_reply_ends_the_build() -> None:
    replies = checked([{"id": "a"}, {"error": "disk full"}])
    assert next(replies) == {"id": "a"}
    with pytest.raises(RunError, match="disk full"):
        next(replies)


def test_address_is_for_ray_alone(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [f"source={source}", f"out={tmp_path / 'out'}", "address=head"]
    assert cli.main(["data", "build", "spoken_instructions", *options]) == 2
    assert "address is 'head', but only engine=ray has one; add engine=ray, or leave it out." in capsys.readouterr().err
