"""Small recipes of installed components, and packages made up on the spot, for tests."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from omnikit.errors import OmnikitError
from omnikit.recipe.compose import compose

RECIPE = """\
# @package _global_
# A small model whose every slot is filled; its two stages learn from rows.jsonl.
defaults:
  - /recipe
  - /audio/encoder: whisper_tiny_random
  - /audio/projector: linear
  - /backbone: llama_tiny_random
  - /text/head: lm
  - /speech/head: ctc_units_tiny_random
  - /speech/codec: unit_hifigan
  - /data/rows: messages_jsonl
  - _self_
data:
  rows: {path: rows.jsonl, provides: [text, audio, answer, codes], seconds: 5}
stages:
  understand:
    train: {audio: {projector: full}, backbone: full}
    loss: {text: 1.0}
    data: {rows: 1.0}
    trainer: {max_steps: 3, batch_size: 2}
  speak:
    train: {speech: {head: full}}
    loss: {speech: 1.0}
    data: {rows: 1.0}
    trainer: {max_steps: 3, batch_size: 2}
"""
ENCODER = '''\
"""An encoder from outside; imports no torch."""
from dataclasses import dataclass
from fractions import Fraction
from omnikit.contracts.specs import FeatureSpec, SignalSpec


@dataclass(frozen=True)
class Frames:
    """Cuts the wave into frames and projects each."""

    dim: int = 16
    frame: int = 320

    @property
    def input(self):
        return SignalSpec("audio", Fraction(16000))

    @property
    def output(self):
        return FeatureSpec(self.dim, rate=Fraction(16000, self.frame))

    def length(self, samples):
        return samples // self.frame

    def build(self):
        from {package}.model import FramesEncoder

        return FramesEncoder(self)
'''


def write_recipe(folder: Path, *changes: tuple[str, str], name: str = "small.yaml") -> Path:
    """Write RECIPE with changes (old, new), each of which must find its place."""
    text = RECIPE
    for old, new in changes:
        assert old in text, f"RECIPE lacks {old!r}"
        text = text.replace(old, new)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def message(recipe: str, *overrides: str) -> str:
    """Compose what must be refused, and give the sentence."""
    with pytest.raises(OmnikitError) as caught:
        compose(recipe, overrides)
    return str(caught.value)


def publish(site: Path, package: str, entries: Mapping[str, Mapping[str, str]], files: Mapping[str, str]) -> None:
    """Make a package that counts as installed once `site` is on sys.path.

    Args:
        entries: group → name → target, as in pyproject.toml.
        files: path inside the package → content; `{package}` in it stands for the package's name.
    """
    info = site / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    name = package.replace("_", "-")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nLicense: MIT\n")
    groups = [f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in names.items())
              for group, names in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(groups))
    for path, content in {"__init__.py": "", **files}.items():
        (site / package / path).parent.mkdir(parents=True, exist_ok=True)
        (site / package / path).write_text(dedent(content).replace("{package}", package))
    importlib.invalidate_caches()
