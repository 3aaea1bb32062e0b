"""Which components and presets are installed, read from package metadata; only the chosen light module is imported.

Everything is an entry point: `omnikit.<kind>` names a component's dataclass, `omnikit.conf` names a package that holds
presets (`<kind>/<preset>.yaml`), shared files (`data/`, `template/`, `tokenizer/`) and trained runs (`run/<recipe>/`);
`omnikit.interface` declares, as the name of its entry point, the omnikit.contracts.VERSION that a package was written for.
Nothing else registers anything.
"""

import sys
from dataclasses import dataclass, is_dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omnikit.contracts.interface import incompatible
from omnikit.contracts.members import lacking, misspelt
from omnikit.contracts.specs import KINDS
from omnikit.errors import RegistryError, nearest

CONF, INTERFACE = "omnikit.conf", "omnikit.interface"
GROUPS = (*(f"omnikit.{kind}" for kind in KINDS), CONF, INTERFACE)


@dataclass(frozen=True)
class RegistryEntry:
    """One component as its package publishes it; loading it imports one light module."""

    kind: str
    name: str
    target: str  # module:Class
    package: str
    version: str

    def load(self) -> type[Any]:
        """Import the dataclass; a plugin that fails to import is a RegistryError with the plugin's own reason.

        So is one that was written for another version of the interface; nothing of it is imported.
        """
        if reason := incompatible_package(self.package):
            raise RegistryError(f"{self.kind} {self.name!r} of package {self.package} is incompatible: the package {reason}.")
        module, _, name = self.target.partition(":")
        try:
            cls = getattr(import_module(module), name)
        except (Exception, SystemExit) as error:  # a third-party module may raise anything; its reason is passed on
            raise RegistryError(f"{self.kind} {self.name!r} of package {self.package} is broken:"
                                f" {self.target} raised {type(error).__name__}: {' '.join(str(error).split())}.") from error
        if not (isinstance(cls, type) and is_dataclass(cls)):
            raise RegistryError(f"{self.kind} {self.name!r} of package {self.package} is broken:"
                                f" {self.target} is not a dataclass.")
        self._check_members(cls)
        return cls

    def _check_members(self, cls: type[Any]) -> None:
        if missing := lacking(self.kind, cls):
            raise RegistryError(f"{self.kind} {self.name!r} of package {self.package} is broken: {self.target} lacks"
                                f" {', '.join(missing)}, which each {self.kind} has.")
        for name, known in misspelt(self.kind, cls).items():
            raise RegistryError(f"{self.kind} {self.name!r} of package {self.package} is broken: {self.target} has {name},"
                                f" which omnikit does not read, but {known} is an optional member of each {self.kind}; rename"
                                f" it {known}, or _{name} if it is the plugin's own.")


@dataclass(frozen=True)
class Preset:
    """One YAML file of a package's conf folder; its name is the file's name."""

    kind: str
    name: str
    package: str
    path: Path


@cache
def components(kind: str) -> dict[str, tuple[RegistryEntry, ...]]:
    """Give name → entries of one kind, without importing any plugin; more than one entry under a name is a clash."""
    found: dict[str, dict[str, RegistryEntry]] = {}
    for point in _points(f"omnikit.{kind}"):
        entry = RegistryEntry(kind, point.name, point.value, *_origin(point))
        found.setdefault(point.name, {})[f"{entry.package}:{entry.target}"] = entry
    return {name: tuple(entries.values()) for name, entries in sorted(found.items())}


def component(kind: str, name: str) -> type[Any]:
    """Give the dataclass of one component; raises RegistryError if unknown, published twice or broken."""
    known = components(kind)
    if name not in known:
        hints = "".join(f" {sentence}" for sentence in misplaced() if f"'{name}'" in sentence)
        raise RegistryError(f"{kind} {name!r} is not installed.{nearest(name, known)}{hints} {_installed(known)}")
    if len(known[name]) > 1:
        raise RegistryError(_clash(kind, name, [e.package for e in known[name]]))
    return known[name][0].load()


def presets(kind: str) -> dict[str, tuple[Preset, ...]]:
    """Give name → presets of one group (`encoder`, `template`, `data`, …); more than one under a name is a clash."""
    found: dict[str, list[Preset]] = {}
    for package, folder in conf_folders():
        for path in sorted((folder / kind).glob("*.yaml")):
            found.setdefault(path.stem, []).append(Preset(kind, path.stem, package, path))
    return {name: tuple(items) for name, items in sorted(found.items())}


def preset(kind: str, name: str) -> Preset | None:
    """Give one preset, or None if there is none; two packages with that name, or a component with it, is an error."""
    found = presets(kind).get(name, ())
    if len(found) > 1:
        raise RegistryError(_clash(f"{kind} preset", name, [p.package for p in found]))
    if found and kind in KINDS and name in components(kind):
        packages = [found[0].package, components(kind)[name][0].package]
        raise RegistryError(_clash(f"{kind} preset and component", name, packages))
    return found[0] if found else None


def conf_file(group: str, filename: str) -> Path | None:
    """Find `<group>/<filename>` in the conf folders, for example ("tokenizer", "tiny.json")."""
    for _, folder in conf_folders():
        if (folder / group / filename).is_file():
            return folder / group / filename
    return None


def shipped_run(name: str) -> Path | None:
    """Find the trained run that a package ships of a recipe, by the recipe's name: `run/asr/tiny`."""
    inside = not Path(name).is_absolute() and ".." not in Path(name).parts
    manifest = conf_file("run", f"{name}/manifest.json") if inside else None
    return manifest.parent if manifest else None


@cache
def conf_folders() -> tuple[tuple[str, Path], ...]:
    """Give (package, folder) of every published conf package that can be found; omnikit's own comes first."""
    folders = {}
    for point in sorted(_points(CONF), key=lambda p: p.name != "omnikit"):
        folder = _folder(point.value)
        if folder is not None:
            folders[folder] = _origin(point)[0]
    return tuple((package, folder) for folder, package in folders.items())


def broken() -> dict[str, str]:
    """Import every component's light module and give "kind name (package)" → reason for those that fail or clash."""
    reasons = {}
    for kind in KINDS:
        for name, entries in components(kind).items():
            for entry in entries:
                reason = problem(entry, len(entries) > 1)
                if reason:
                    reasons[f"{kind} {name} ({entry.package})"] = reason
    return reasons


def problem(entry: RegistryEntry, clashes: bool) -> str:
    """Say in one sentence why a component cannot be used, or give an empty string."""
    if clashes:
        return _clash(entry.kind, entry.name, [e.package for e in components(entry.kind)[entry.name]])
    try:
        entry.load()
    except RegistryError as error:
        return str(error)
    return ""


def incompatible_package(package: str) -> str:
    """Give why a package does not work with this omnikit, in words after its name; "" where it does or declares nothing."""
    return next((reason for declared in _interfaces().get(package, ()) if (reason := incompatible(declared))), "")


def declared_interfaces(package: str) -> tuple[str, ...]:
    """Give the versions of the interface that a package declares it was written for; of its name capitals do not count."""
    return tuple(declared for name, found in _interfaces().items() if name.lower() == package.lower() for declared in found)


def misplaced() -> list[str]:
    """Give a sentence for each entry point that omnikit does not read: of an unknown group, or of a missing folder."""
    found = []
    for point in _all_points():
        if point.group not in GROUPS:
            found.append(f"Package {_origin(point)[0]} publishes {point.name!r} in the entry point group {point.group}, which"
                         f" omnikit does not read.{nearest(point.group, GROUPS)}")
        elif point.group == CONF and _folder(point.value) is None:
            found.append(f"Package {_origin(point)[0]} publishes presets in {point.value}, which cannot be found or is no"
                         f" package; name a package of it, with an __init__.py, in the entry point group {CONF}.")
    return found


def forget() -> None:
    """Drop what was read from package metadata; for tests and notebooks that install packages while running."""
    for known in (components, conf_folders, _all_points, _interfaces, _named):
        known.cache_clear()


@cache
def _all_points() -> tuple[EntryPoint, ...]:
    """Read every installed distribution's entry points, once: a file for each; of two with one name the first counts."""
    found: dict[str, list[EntryPoint]] = {}
    for distribution in distributions():
        points = [point for point in distribution.entry_points if point.group.startswith("omnikit")]
        if points:
            found.setdefault(_named(distribution)[0], points)
    return tuple(point for points in found.values() for point in points)


@cache
def _interfaces() -> dict[str, list[str]]:
    """Give what each package declares, by its name."""
    found: dict[str, list[str]] = {}
    for point in _points(INTERFACE):
        found.setdefault(_origin(point)[0], []).append(point.name)
    return found


def _points(group: str) -> list[EntryPoint]:
    return [point for point in _all_points() if point.group == group]


def _origin(point: EntryPoint) -> tuple[str, str]:
    return _named(point.dist) if point.dist is not None else ("unknown package", "0")


@cache
def _named(distribution: Distribution) -> tuple[str, str]:
    """Give name and version; importlib parses a distribution's metadata each time that it is asked for one of them."""
    metadata = distribution.metadata
    return metadata["Name"], metadata["Version"]


def _folder(package: str) -> Path | None:
    """Find a package's folder; a plugin whose own package raises has no presets (and `list` shows it as broken)."""
    try:
        spec = sys.modules[package].__spec__ if package in sys.modules else find_spec(package)
    except (Exception, SystemExit):  # the parent package of a broken plugin may raise anything; `broken()` reports it
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _installed(known: dict[str, tuple[RegistryEntry, ...]]) -> str:
    return f"Installed: {', '.join(known)}." if known else "No component of this kind is installed."


def _clash(what: str, name: str, packages: list[str]) -> str:
    return f"{what} {name!r} is published by {' and by '.join(sorted(packages))}; uninstall one of them."
