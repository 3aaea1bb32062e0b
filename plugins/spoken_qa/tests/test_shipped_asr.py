"""The trained ASR model that comes with this plugin: complete, small, found by its recipe's name, and as good as a new one."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from omnikit_spoken_qa.config import SpokenQA

import omnikit
from omnikit.evaluation.estimates import ratio
from omnikit.evaluation.metrics import word_errors
from omnikit.inference.session import Session, load
from omnikit.recipe.compose import compose
from omnikit.registry import shipped_run
from omnikit.store.runs import find, is_done, load_plan

PUBLISHED = 0.0073  # word error rate on the different held-out answers: recipes/asr/README.md


@pytest.fixture(scope="module")
def shipped() -> Path:
    folder = shipped_run("asr/tiny")
    assert folder is not None
    return folder


@pytest.fixture(scope="module")
def held_out() -> tuple[list[NDArray[np.float32]], list[str]]:
    """The audio of the held-out answers, and what is said in it."""
    corpus = SpokenQA(split="test", view="reading").build()
    parts = [corpus[index].messages[0].content[0] for index in range(len(corpus))]
    return [np.asarray(part.audio) for part in parts], [part.text or "" for part in parts]


def error_rate(session: Session, rows: tuple[list[NDArray[np.float32]], list[str]]) -> float:
    audio, texts = rows
    found = [text for start in range(0, len(audio), 32) for text in session.transcribe(audio[start:start + 32], 16000)]
    estimate = ratio(word_errors(found, texts))
    assert estimate is not None
    return estimate.value


def test_its_name_gives_it_unless_the_user_trained_one(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find("asr/tiny") == shipped.resolve()
    own = tmp_path / "runs/asr/tiny/latest/listen"
    own.mkdir(parents=True)
    (own / "config.yaml").touch()
    assert find("asr/tiny") == own.parent


def test_it_was_made_by_the_recipe_as_it_is_now(shipped: Path) -> None:
    assert is_done(shipped, omnikit.check(compose("asr/tiny")), "listen")
    assert is_done(shipped, load_plan(shipped), "listen")


def test_it_is_small_and_names_no_path_of_the_machine_that_made_it(shipped: Path) -> None:
    files = [path for path in shipped.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 15_000_000
    assert not [path for path in files if path.suffix in (".json", ".yaml", ".md") and '"/' in path.read_text(encoding="utf-8")]


def test_it_transcribes_the_held_out_answers(held_out: tuple[list[NDArray[np.float32]], list[str]]) -> None:
    assert error_rate(load("asr/tiny"), held_out) == pytest.approx(PUBLISHED, abs=0.001)


@pytest.mark.slow
def test_a_new_training_is_as_good(held_out: tuple[list[NDArray[np.float32]], list[str]], tmp_path: Path) -> None:
    run = omnikit.train("asr/tiny", [f"run={tmp_path / 'run'}"])
    assert error_rate(load(run.folder), held_out) == pytest.approx(PUBLISHED, abs=0.01)
