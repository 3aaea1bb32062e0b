"""What a plugin may import, as text: every public name of the rooms for plugins, with signatures, fields and members.

    python tools/public_surface.py            writes tests/contracts/public_surface.txt

A line that goes away or changes is a change of the interface: omnikit.contracts.VERSION, docs/howto/write_a_plugin.md.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

ROOMS = ("omnikit.errors", "omnikit.contracts", "omnikit.ops", "omnikit.testing")
FILE = Path(__file__).parents[1] / "tests" / "contracts" / "public_surface.txt"


def surface() -> str:
    """Give the text."""
    return "".join(f"{line}\n" for room in ROOMS for module in modules(room) for line in lines(module))


def modules(room: str) -> Iterator[str]:
    """Give a room's modules; of omnikit.testing what it exports alone."""
    yield room
    folder = getattr(importlib.import_module(room), "__path__", None)
    if folder and room != "omnikit.testing":
        yield from sorted(f"{room}.{found.name}" for found in pkgutil.iter_modules(folder))


def lines(name: str) -> Iterator[str]:
    """Give a line for each public name that a module defines, and for each member of a class."""
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", None)
    for key, value in sorted(vars(module).items()):
        if key in exported if exported is not None else defines(name, key, value):
            yield from described(f"{name}.{key}", value)


def defines(module: str, key: str, value: object) -> bool:
    """Whether a public name is a module's own: a class or function of it, or a constant."""
    if key.startswith("_") or inspect.ismodule(value) or key in ("annotations", "TYPE_CHECKING"):
        return False
    return getattr(value, "__module__", module) == module


def described(path: str, value: object) -> Iterator[str]:
    """Give the lines of one name."""
    if inspect.isclass(value):
        yield f"class {path}"
        if is_dataclass(value):
            yield from (f"{path}.{item.name}: {getattr(item.type, '__name__', item.type)}" for item in fields(value))
        for key, member in sorted(vars(value).items()):
            if not key.startswith("_") and (inspect.isfunction(member) or isinstance(member, property | staticmethod)):
                kind = "property " if isinstance(member, property) else ""
                function = member.__func__ if isinstance(member, staticmethod) else member
                yield f"{kind}{path}.{key}{inspect.signature(function) if inspect.isfunction(function) else ''}"
    elif inspect.isfunction(value):
        yield f"{path}{inspect.signature(value)}"
    else:
        yield f"{path}"


if __name__ == "__main__":
    FILE.write_text(surface(), encoding="utf-8")
