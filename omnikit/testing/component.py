"""The component that is checked: its kind and name, found in the registry by its class or by its members."""

from dataclasses import dataclass
from typing import Any

from omnikit import registry
from omnikit.contracts.members import INSTEAD, lacking
from omnikit.contracts.specs import KINDS
from omnikit.errors import ConfigError, RegistryError

BY_MEMBERS = ("importer", "backbone", "head", "codec", "encoder", "vad", "projector", "reader")  # the most members first


@dataclass(frozen=True)
class Component:
    """One component.

    Args:
        name: in the registry; the name of its class where it is not installed.
        config: its dataclass, filled.
        entry: how its package publishes it; None where it is not installed.
    """

    kind: str
    name: str
    config: Any
    entry: registry.RegistryEntry | None = None

    @property
    def module(self) -> str:
        """The light module that its entry point names."""
        return self.entry.target.partition(":")[0] if self.entry else str(type(self.config).__module__)

    @property
    def fused(self) -> bool:
        """Whether it is a projector of several encoders, and of those only."""
        return self.kind in INSTEAD and not hasattr(self.config, "build")


def identify(config: Any) -> Component:
    """Give the component that a configuration belongs to.

    Raises:
        ConfigError: no installed component has its class, and its members fit no kind.
    """
    cls = type(config)
    for kind in KINDS:
        for name, entries in registry.components(kind).items():
            for entry in entries:
                if _is_of(entry, cls):
                    return Component(kind, name, config, entry)
    for kind in BY_MEMBERS:
        if not lacking(kind, cls):
            return Component(kind, cls.__name__, config)
    raise ConfigError(f"{cls.__module__}.{cls.__name__} is not an installed component, and its members fit no kind that can be"
                      f" found by members ({', '.join(sorted(BY_MEMBERS))}); publish it in an entry point omnikit.KIND.")


def _is_of(entry: registry.RegistryEntry, cls: type[Any]) -> bool:
    """Say whether an entry publishes a class; only modules of its own package are imported."""
    module, _, name = entry.target.partition(":")
    if name != cls.__name__ or module.partition(".")[0] != cls.__module__.partition(".")[0]:
        return False
    try:
        return entry.load() is cls
    except RegistryError:
        return False
