"""docs/explanation/design.md draws the tree as it is; the glossary names places in the code that exist."""

import re
import runpy
from pathlib import Path
from pkgutil import resolve_name

import pytest

ROOT = Path(__file__).parents[1]
GLOSSARY = ROOT / "docs" / "explanation" / "glossary.md"
TERM = re.compile(r"^\| \*\*([^*]+)\*\* \| (.+) \| `([\w.]+)` \|$", re.MULTILINE)
TERMS = TERM.findall(GLOSSARY.read_text(encoding="utf-8"))


def exists(place: str) -> bool:
    """Give whether a module, a class, a function or a field of a class is there; a field without default is no attribute."""
    owner, _, name = place.rpartition(".")
    try:
        resolve_name(place)
    except AttributeError:
        found = resolve_name(owner)
        return name in {**getattr(found, "__dataclass_fields__", {}), **getattr(found, "__annotations__", {})}
    return True


def test_design_draws_the_tree_as_it_is() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "design_tree.py"))
    text = tool["PAGE"].read_text(encoding="utf-8")
    assert text == tool["page"](text), "run python tools/design_tree.py"


def test_every_room_has_a_purpose() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "design_tree.py"))
    bare = [path for path in sorted((ROOT / "omnikit").rglob("__init__.py")) if not tool["summary"](path)]
    assert not bare


@pytest.mark.parametrize(("term", "meaning", "place"), TERMS, ids=[term for term, _, _ in TERMS])
def test_a_term_is_defined_where_the_glossary_points(term: str, meaning: str, place: str) -> None:
    assert exists(place) and meaning.endswith(".")


def test_glossary_is_sorted_and_names_each_term_once() -> None:
    names = [term.casefold() for term, _, _ in TERMS]
    assert names == sorted(set(names)) and len(names) >= 50


def test_every_line_of_the_glossary_is_read() -> None:
    lines = [line for line in GLOSSARY.read_text(encoding="utf-8").splitlines() if line.startswith("| **")]
    assert len(lines) == len(TERMS)
