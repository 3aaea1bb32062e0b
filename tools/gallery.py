"""The page of each recipe of a published system, and the table of all systems, from recipes/survey.

    python tools/gallery.py            writes recipes/survey/*/README.md, wiring.svg and docs/gallery.md
    python tools/gallery.py --check    exits with 1 where one of them is not what it would write

What a page states is in the recipe: the first lines of full.yaml, the wiring and the parameters of its parts, counted without
weights. systems.yaml lists all systems, with what those without a recipe lack.
"""

import sys
from pathlib import Path

import yaml

import omnikit
from omnikit.commands.show import parameter_table, wiring_table
from omnikit.plan.diagram_svg import draw

ROOT = Path(__file__).parents[1]
SURVEY, TABLE = ROOT / "recipes" / "survey", ROOT / "docs" / "gallery.md"


def facts(recipe: Path) -> dict[str, str]:
    """Give what the first lines of a recipe state: title, Family, Public, Differs."""
    lines = [line.removeprefix("# ") for line in recipe.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
    found = {"title": lines[1]}
    for line in lines[2:]:
        key, _, text = line.partition(": ")
        if key in ("Family", "Public", "Differs"):
            found[key] = text.rstrip(".")
    return found
