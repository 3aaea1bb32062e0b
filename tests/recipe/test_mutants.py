"""Damaged configurations by the thousand: each is accepted, or refused in whole sentences; none ends in a trace or hangs."""

import random
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from mutants import damaged_overrides, damaged_text, damaged_tree
from omegaconf import OmegaConf

from omnikit import registry
from omnikit.contracts.specs import KINDS
from omnikit.errors import OmnikitError
from omnikit.paths import recipe_files
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose, compose_tree
from omnikit.recipe.presets import mapping_of
from omnikit.recipe.recipe import parse
from omnikit.recipe.schema import construct

SECONDS = 20  # of processor time, for one of them
RECIPES = sorted(recipe_files())
PRESETS = sorted((kind, name) for kind in KINDS for name in registry.presets(kind))
TREES, TEXTS, OVERRIDES, PRESET_TEXTS = 3400, 400, 200, 1000  # 5000 together


@cache
def tree(recipe: str) -> dict[str, Any]:
    values = OmegaConf.to_container(compose_tree(recipe), resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


@contextmanager
def time_limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"not done after {SECONDS} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def outcome(work: Callable[[], object]) -> str | None:
    """Give what is wrong with how it ended; None: it was accepted, or refused in sentences."""
    try:
        with time_limit(), warnings.catch_warnings():
            warnings.simplefilter("error")
            work()
    except OmnikitError as error:
        return next((f"not a sentence: {one!r}" for one in error.sentences if not one.endswith((".", "?"))), None)
    except Exception as error:  # the point of this test
        return f"{type(error).__name__}: {error}"
    return None


def failures(count: int, damaged: Callable[[random.Random], Callable[[], object]]) -> dict[int, str]:
    """Give seed → what is wrong."""
    found = {seed: outcome(damaged(random.Random(seed))) for seed in range(count)}
    return {seed: problem for seed, problem in found.items() if problem}


@pytest.mark.parametrize("part", range(4))
def test_damaged_trees_are_refused_in_sentences(part: int) -> None:
    def damaged(draw: random.Random) -> Callable[[], object]:
        draw.seed(draw.random() + part)
        recipe = draw.choice(RECIPES)
        values = damaged_tree(tree(recipe), draw)
        return lambda: make(parse(values, recipe))

    assert failures(TREES // 4, damaged) == {}


def test_damaged_files_are_refused_in_sentences(tmp_path: Path) -> None:
    def damaged(draw: random.Random) -> Callable[[], object]:
        path = tmp_path / "damaged.yaml"
        text = damaged_text(recipe_files()[draw.choice(RECIPES)].read_text(encoding="utf-8"), draw)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return lambda: make(compose(str(path)))

    assert failures(TEXTS, damaged) == {}


def test_damaged_overrides_are_refused_in_sentences() -> None:
    def damaged(draw: random.Random) -> Callable[[], object]:
        recipe = draw.choice(RECIPES)
        overrides = damaged_overrides(tree(recipe), draw)
        return lambda: make(compose(recipe, overrides))

    assert failures(OVERRIDES, damaged) == {}


def test_damaged_presets_are_refused_in_sentences(tmp_path: Path) -> None:
    def damaged(draw: random.Random) -> Callable[[], object]:
        kind, name = draw.choice(PRESETS)
        preset = registry.preset(kind, name)
        assert preset is not None
        text = damaged_text(preset.path.read_text(encoding="utf-8"), draw)
        return lambda: built(kind, mapping_of(text, tmp_path / "damaged.yaml"))

    assert failures(PRESET_TEXTS, damaged) == {}


def built(kind: str, values: dict[str, Any]) -> None:
    """Read a preset's mapping as a part of a recipe is read."""
    use = values.pop("use", None)
    errors: list[str] = []
    if isinstance(use, str) and use in registry.components(kind):
        construct(registry.component(kind, use), values, "part", errors)
    if errors:
        raise OmnikitError(*errors)
