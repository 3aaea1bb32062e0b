"""The order of a recipe's stages: the file's, and each behind the one that it names in `after`."""

from typing import Protocol, TypeVar


class Following(Protocol):
    """What may name the stage before it."""

    after: str | None


Staged = TypeVar("Staged", bound=Following)


def order_stages(stages: dict[str, Staged]) -> dict[str, Staged]:
    """Put each stage behind the one it names in `after`; the file's order holds otherwise. The plan reports bad names."""
    order: list[str] = []
    for name in stages:
        _insert(name, stages, order, ())
    return {name: stages[name] for name in order}


def _insert(name: str, stages: dict[str, Staged], order: list[str], above: tuple[str, ...]) -> None:
    if name in order or name in above:  # a circle is reported by the plan
        return
    parent = stages[name].after
    if parent in stages:
        _insert(parent, stages, order, (*above, name))
    order.append(name)
