"""`omnikit list [KIND]`: what is installed, with the package it comes from and one line; imports no torch."""

import sys
from collections.abc import Iterator

from omnikit import registry
from omnikit.commands.arguments import Parser
from omnikit.contracts.members import extra
from omnikit.contracts.specs import KINDS
from omnikit.errors import ConfigError, RegistryError, nearest
from omnikit.paths import recipe_files
from omnikit.recipe import presets
from omnikit.recipe.recipe import SLOTS
from omnikit.text_table import columns

GROUPS = (*KINDS, "template", "data", "trainer")


def run(argv: list[str]) -> int:
    """List components and presets of one kind, or of all kinds; a broken or clashing one is listed with its reason."""
    parser = Parser("omnikit list", description=__doc__)
    parser.add_argument("kind", nargs="?", help=f"one of {', '.join(GROUPS)}, recipe")
    name = parser.parse_args(argv).kind
    kind = kind_of(name) if name else None
    if name and kind is None:
        raise ConfigError(f"{name!r} is not a kind of component.{nearest(name, GROUPS)} Kinds: {', '.join(GROUPS)}, recipe.")
    for group in GROUPS if kind is None else [kind]:
        if group == "recipe":
            sys.stdout.write(_recipes())
        elif lines := _components(group) + _presets(group):
            sys.stdout.write(f"{group}\n{columns(lines)}")
        if kind in KINDS:
            sys.stdout.write("".join(_notes(group)))
    if kind is None:
        sys.stdout.write(_recipes())
        sys.stdout.write("".join(f"note: {sentence}\n" for sentence in registry.misplaced()))
    return 0


def kind_of(name: str) -> str | None:
    """Give the kind that a name means: its own name, its plural, or the slot of a recipe that takes it; None for no kind."""
    known = {kind: kind for kind in (*GROUPS, "recipe")} | SLOTS | {"dataset": "data"}
    return known.get(name) or known.get(name.removesuffix("s"))


def _components(kind: str) -> list[tuple[str, str, str]]:
    lines = []
    for name, entries in (registry.components(kind) if kind in KINDS else {}).items():
        for entry in entries:
            reason = registry.problem(entry, clashes=len(entries) > 1)
            mark = "INCOMPATIBLE" if registry.incompatible_package(entry.package) else "BROKEN"
            line = f"{mark}: {reason}" if reason else (entry.load().__doc__ or "").strip().partition("\n")[0]
            lines.append((name, f"{entry.package} {entry.version}", line))
    return lines


def _notes(kind: str) -> Iterator[str]:
    """Give a line for each usable component with public members that omnikit does not read."""
    for name, entries in registry.components(kind).items():
        for entry in entries:
            ignored = () if registry.problem(entry, clashes=len(entries) > 1) else extra(kind, entry.load())
            if ignored:
                yield f"note: {name} ({entry.package}) has members that omnikit does not read: {', '.join(ignored)}\n"


def _presets(kind: str) -> list[tuple[str, str, str]]:
    lines = []
    for name, published in registry.presets(kind).items():
        for preset in published:
            line = presets.summary(preset.path)
            try:
                registry.preset(kind, name)
            except RegistryError as error:
                line = f"BROKEN: {error}"
            lines.append((f"  {name}" if kind in KINDS else name, preset.package, line))
    return lines


def _recipes() -> str:
    """Give the recipes in columns, those of published systems by the family that their full.yaml states."""
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for name, path in recipe_files().items():
        family = presets.stated(path.with_name("full.yaml"), "Family")
        groups.setdefault(f"recipe: {family.rstrip('.')}" if family else "recipe", []).append(
            (name, "omnikit", presets.summary(path)))
    return "".join(f"{group}\n{columns(lines)}" for group, lines in sorted(groups.items()))
