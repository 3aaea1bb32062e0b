"""A plugin that somebody else wrote, outside the clone: built, installed, used; a broken one and a clash beside it."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from small_recipe import ENCODER

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "1.2.3"
license = "MIT"
description = "An encoder from outside."

[project.entry-points."omnikit.encoder"]
{component} = "{package}.config:Frames"

[project.entry-points."omnikit.conf"]
{package} = "{package}.conf"

[tool.setuptools]
packages = ["{package}", "{package}.conf"]

[tool.setuptools.package-data]
"{package}.conf" = ["**/*.yaml"]
"""
MODEL = """\
import torch
from torch import nn

from omnikit.contracts.types import Features


class FramesEncoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.linear = nn.Linear(config.frame, config.dim)

    def forward(self, signal):
        count = signal.data.shape[1] // self.config.frame
        frames = signal.data[:, : count * self.config.frame].unflatten(1, (count, self.config.frame))  # [B, T, frame]
        return Features(torch.tanh(self.linear(frames)), signal.lengths // self.config.frame, self.config.output.rate)
"""
RECIPE = """\
# A recipe that was written before the plugin.
defaults:
  - /recipe
  - /audio/encoder: mel_cnn
  - /audio/projector: linear
  - /backbone: llama_tiny_random
  - /text/head: lm
  - /data/rows: messages_jsonl
  - _self_
data: {rows: {path: rows.jsonl}}
backbone: {layers: 1}
stages:
  understand:
    train: {audio: full, backbone: full}
    loss: {text: 1.0}
    data: {rows: 1.0}
    trainer: {max_steps: 3, batch_size: 2, log_every: 1}
"""
PRESET = {"conf/encoder/frames_64.yaml": "# Frames, hidden size 64.\nuse: frames\ndim: 64\n"}


def write_project(folder: Path, package: str, component: str, files: dict[str, str]) -> Path:
    name = package.replace("_", "-")
    folder = folder / name
    for path, content in {"__init__.py": "", "conf/__init__.py": "", **files}.items():
        (folder / package / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / package / path).write_text(dedent(content).replace("{package}", package))
    (folder / "pyproject.toml").write_text(PYPROJECT.format(name=name, package=package, component=component))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three foreign distributions in site/, a recipe and its rows."""
    import numpy as np
    import soundfile
    from broken.table import row

    place = tmp_path_factory.mktemp("outside")
    projects = [write_project(place, "foreign_frames", "frames", {"config.py": ENCODER, "model.py": MODEL, **PRESET}),
                write_project(place, "foreign_broken", "shards", {"config.py": "import nothing_of_that_name\n"}),
                write_project(place, "foreign_clash", "mel_cnn", {"config.py": ENCODER})]
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation", "-w", place / "wheels", *projects],
                   check=True, capture_output=True)
    wheels = sorted((place / "wheels").glob("*.whl"))
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", "--target", place / "site", *wheels], check=True,
                   capture_output=True)
    (place / "recipe.yaml").write_text(RECIPE)
    (place / "rows.jsonl").write_text(row() * 4)
    soundfile.write(place / "good.wav", np.sin(np.arange(8000) / 20, dtype=np.float32) / 2, 16000)
    return place


def omnikit(place: Path, *words: str, code: int = 0) -> str:
    environment = {**os.environ, "PYTHONPATH": str(place / "site"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "omnikit.cli", *words], cwd=place, env=environment, capture_output=True,
                          text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.mark.slow
def test_it_is_listed_and_so_are_the_broken_one_and_the_clash(place: Path) -> None:
    lines = [line.split(maxsplit=3) for line in omnikit(place, "list", "encoder").splitlines()[1:]]
    found = {(line[0], line[1]): line[-1] for line in lines}
    assert found["frames", "foreign-frames"] == "Cuts the wave into frames and projects each."
    assert found["frames_64", "foreign-frames"] == "hidden size 64."
    assert found["shards", "foreign-broken"].startswith("BROKEN: encoder 'shards' of package foreign-broken is broken:")
    clash = "BROKEN: encoder 'mel_cnn' is published by foreign-clash and by omnikit-mel-cnn; uninstall one of them."
    assert found["mel_cnn", "foreign-clash"] == found["mel_cnn", "omnikit-mel-cnn"] == clash
    assert "BROKEN" not in found["whisper", "omnikit-whisper"]


@pytest.mark.slow
def test_it_completes(place: Path) -> None:
    assert omnikit(place, "completion", "words", "omnikit train recipe.yaml audio/encoder=fr").split() == [
        "audio/encoder=frames", "audio/encoder=frames_64"]


@pytest.mark.slow
def test_it_is_shown_with_its_licence_and_file(place: Path) -> None:
    shown = omnikit(place, "show", "frames_64")
    assert "package  foreign-frames 1.2.3\nlicence  MIT\n" in shown and "hidden size 64, 50 Hz" in shown
    assert str(place / "site/foreign_frames/config.py") in shown


@pytest.mark.slow
def test_it_checks_in_a_recipe_written_without_it(place: Path) -> None:
    assert "hidden size 64, 50 Hz" in omnikit(place, "check", "recipe.yaml", "audio/encoder=frames_64")


@pytest.mark.slow
def test_a_clash_is_refused_when_it_is_used(place: Path) -> None:
    assert omnikit(place, "check", "recipe.yaml", code=2) == (
        "omnikit: audio/encoder: encoder 'mel_cnn' is published by foreign-clash and by omnikit-mel-cnn;"
        " uninstall one of them.\n")


@pytest.mark.slow
def test_it_trains_three_steps(place: Path) -> None:
    table = omnikit(place, "train", "recipe.yaml", "audio/encoder=frames_64", "run=run")
    assert "understand  audio.encoder, audio.projector, backbone  3 " in table
    assert (place / "run/understand/weights.safetensors").is_file()
    assert len((place / "run/understand/metrics.csv").read_text().splitlines()) == 4, "a heading and three steps"
