"""The components of an installed package, in the sizes that they are checked in, and what the checks found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

from omnikit import registry
from omnikit.contracts.specs import KINDS
from omnikit.errors import ConfigError, OmnikitError, nearest
from omnikit.recipe import presets
from omnikit.recipe.schema import construct
from omnikit.testing.results import CheckResult
from omnikit.testing.suite import Session

TINY = "tiny"  # in the name of a preset: of a size that is quick to build and run


@dataclass(frozen=True)
class Checked:
    """One component in one size.

    Args:
        preset: its preset; None: its defaults.
        results: of the checks; empty where there is nothing that they could run.
        problem: why there are none.
        broken: whether it can be used by nobody; else its checks need fields that have no default.
    """

    kind: str
    component: str
    preset: str | None
    results: tuple[CheckResult, ...] = ()
    problem: str = ""
    broken: bool = False

    @property
    def title(self) -> str:
        """Component and preset in words."""
        return f"{self.kind} {self.component}{f' ({self.preset})' if self.preset else ''}"

    @property
    def failed(self) -> bool:
        """Whether something is wrong with it."""
        return self.broken or any(result.status == "failed" for result in self.results)


def check_package(name: str, progress: Callable[[float], None] = lambda share: None) -> list[Checked]:
    """Check each component that an installed package publishes: its presets that have "tiny" in their names, else its defaults.

    Raises:
        ConfigError: no package of that name publishes a component.
    """
    entries = _entries(name)
    found: list[Checked | None] = []
    configs, titles = [], []
    for entry in entries:
        for preset in list[str | None](_tiny(entry)) or [None]:
            title = Checked(entry.kind, entry.name, preset)
            try:
                needed = [] if preset else _needed(entry)
                if needed:
                    found.append(replace(title, problem=f"{', '.join(needed)} has no default; publish a preset with {TINY} in"
                                                        " its name, or check it in a test by parametrize_with_checks."))
                    continue
                configs.append(_config(entry, preset))
                titles.append(title)
                found.append(None)
            except (OmnikitError, TypeError, ValueError) as error:
                found.append(replace(title, problem=" ".join(str(error).split()), broken=True))
    session = Session(configs)
    checked = []
    for index, title in enumerate(titles):
        checked.append(replace(title, results=tuple(session.results(index))))
        progress((index + 1) / len(titles))
    results = iter(checked)
    return [one if one is not None else next(results) for one in found]


def version_of(name: str) -> str:
    """Give the version of a package that publishes components; raises ConfigError as check_package does."""
    return _entries(name)[0].version


def _entries(name: str) -> list[registry.RegistryEntry]:
    published = [entry for kind in KINDS for entries in registry.components(kind).values() for entry in entries]
    entries = [entry for entry in published if _normalised(entry.package) == _normalised(name)]
    if not entries:
        packages = sorted({entry.package for entry in published})
        raise ConfigError(f"no installed package {name!r} publishes a component.{nearest(name, packages)} There is:"
                          f" {', '.join(packages)}.")
    return entries


def _normalised(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _needed(entry: registry.RegistryEntry) -> list[str]:
    """Give the fields of a component that have no default; raises RegistryError where it is broken."""
    return [item.name for item in fields(entry.load())
            if item.init and item.default is MISSING and item.default_factory is MISSING]


def _tiny(entry: registry.RegistryEntry) -> Iterator[str]:
    """Give the tiny presets of a component that its own package publishes."""
    for name, published in registry.presets(entry.kind).items():
        for preset in published:
            if TINY in name and preset.package == entry.package and presets.read_mapping(preset.path).get("use") == entry.name:
                yield name


def _config(entry: registry.RegistryEntry, preset: str | None) -> Any:
    """Give a component's configuration: a preset of it, or its defaults."""
    if len(registry.components(entry.kind)[entry.name]) > 1:
        raise ConfigError(registry.problem(entry, clashes=True))
    fields = presets.preset_fields(entry.kind, preset or entry.name)
    fields.pop("use")
    errors: list[str] = []
    found = construct(entry.load(), fields, f"{entry.kind} {entry.name}", errors)
    if errors:
        raise ConfigError(*errors)
    return found
