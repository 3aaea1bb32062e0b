"""`omnikit new`: each kind's distribution installs, is listed and passes its own tests as it stands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from omnikit.cli import main
from omnikit.contracts.specs import KINDS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plugin of each kind, written and installed beside the packages of this environment."""
    folder = tmp_path_factory.mktemp("new")
    for kind in KINDS:
        assert main(["new", kind, f"acme_{kind}", "--dir", str(folder / "plugins")]) == 0
    plugins = map(str, sorted((folder / "plugins").iterdir()))
    done = subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target",
                           str(folder / "site"), *plugins], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder / "site")}
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment, cwd=folder)


@pytest.mark.slow
def test_every_kind_passes_its_own_tests(folder: Path) -> None:
    done = run(folder, "-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", "plugins")
    assert done.returncode == 0, done.stdout
    assert "failed" not in done.stdout


def test_every_kind_is_listed_with_its_first_sentence(folder: Path) -> None:
    listed = run(folder, "-m", "omnikit.cli", "list").stdout
    for kind in KINDS:
        assert f"acme_{kind} " in listed and f"omnikit-acme-{kind} 0.1.0" in listed
    assert "BROKEN" not in listed and "INCOMPATIBLE" not in listed and "note: Package" not in listed


def test_a_new_encoder_fits_a_recipe(folder: Path) -> None:
    done = run(folder, "-m", "omnikit.cli", "check", "llama_omni/tiny", "audio/encoder=acme_encoder_tiny_random")
    assert done.returncode == 0, done.stderr
    assert "acme_encoder_tiny_random  audio, 16000 Hz" in done.stdout


@pytest.mark.parametrize("kind,name,sentence", [
    ("encodr", "acme", "'encodr' is not a kind of component. Did you mean 'encoder'?"),
    ("encoder", "Acme-Beats", "'Acme-Beats' cannot be the name of a component; take lower-case words joined by underscores"),
    ("encoder", "class", "'class' cannot be the name of a component"),
    ("encoder", "whisper", "encoder 'whisper' is already published by omnikit-whisper; take another name."),
    ("encoder", "basics", "A package omnikit-basics is installed, which the new one would replace; take another name."),
    ("encoder", "whisper_small", "'whisper_small' is a preset of omnikit-whisper already; take another name."),
    ("encoder", "features", "'features' makes a class Features, which would hide another Features that"
                            " omnikit_features/model.py uses; take another name."),
    ("vad", "value_error", "'value_error' makes a class ValueError, which would hide another ValueError")])
def test_what_cannot_be_written_is_one_sentence(kind: str, name: str, sentence: str, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", kind, name, "--dir", str(tmp_path)]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "vad", "acme", "--dir", str(tmp_path)]) == 0
    (tmp_path / "omnikit-acme" / "README.md").write_text("mine")
    assert main(["new", "encoder", "acme", "--dir", str(tmp_path)]) == 2
    assert "omnikit-acme exists already; take another name or --dir, or remove it." in capsys.readouterr().err
    assert (tmp_path / "omnikit-acme" / "README.md").read_text() == "mine"
