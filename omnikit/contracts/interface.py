"""The version of what plugins import and of what omnikit reads of them, and which plugins it is for.

A minor version adds: a plugin written for 1.0 works with 1.3. A major one removes or changes what a plugin may rely on. A name
that goes away warns for one minor version before.
"""

import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

VERSION = "1.0"
"""MAJOR.MINOR. A plugin declares the one it was written for by an entry point `"1.0" = "package"` of `omnikit.interface`."""
SHAPE = re.compile(r"\d+\.\d+")


def incompatible(declared: str, version: str = VERSION) -> str:
    """Give why a plugin that declares a version does not work with this one, in words; "" where it does.

    It works with the declared version and with later ones of the same major version.
    """
    if not SHAPE.fullmatch(declared):
        return f"declares interface {declared!r}, but a version is MAJOR.MINOR, as {version} of the omnikit that is installed"
    wanted, given = (tuple(map(int, each.split("."))) for each in (declared, version))
    if wanted[0] == given[0] and wanted[1] <= given[1]:
        return ""
    return (f"is for interface {declared} up to {wanted[0] + 1}.0, but the omnikit that is installed has {version}; install a"
            f" version of the package for {version}, or {'a later' if wanted > given else 'an earlier'} omnikit")


def deprecated_names(module: str, names: Mapping[str, tuple[str, object, str]]) -> Callable[[str], Any]:
    """Give the `__getattr__` of a module for names that go away with the next minor version.

        __getattr__ = deprecated_names(__name__, {"OldSpec": ("NewSpec", NewSpec, "1.2")})

    Args:
        names: old name → its new name, what that is, and the version that deprecates the old one. Using one warns.
    """
    def lookup(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        new, found, since = names[name]
        major, minor = map(int, since.split("."))
        warnings.warn(f"{module}.{name} is deprecated since interface {since} and goes away with {major}.{minor + 1}; use"
                      f" {new}.", DeprecationWarning, stacklevel=2)
        return found

    return lookup
