"""Tensors by the names that a model has without the wrappers around it: taken off where asked for or certain, else offered."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError
from omnikit.recipe.wrappers import FIELD, advice, behind, front, without_inner

Named = Mapping[str, LazyTensor]


def named(found: Named, prefix: str, where: Path) -> dict[str, LazyTensor]:
    """Give tensors by their names without a prefix and without words that torch's wrappers put inside.

    Args:
        prefix: what stands before the names; tensors without it are left out.

    Raises:
        RunError: no tensor has the prefix, or two have one name without the words inside.
    """
    return _without_inner(_behind(found, prefix, where), where)


def advised(problems: Sequence[str], missing: Sequence[str], unexpected: Named, otherwise: str, field: str = FIELD) -> str:
    """Give the end of a sentence: the first problem, how many more there are, and the prefix that explains them, if one does.

    Args:
        missing: names that a model has and the files lack, `unexpected`: tensors that it has no place for, by any names.
    """
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    prefix = found_prefix(missing, unexpected)
    return f"{problems[0]}{more}; {advice(prefix, field) if prefix else otherwise}"


def found_prefix(missing: Sequence[str], unexpected: Named) -> str:
    """Give what stands before most of the missing names in the files; "" where nothing does."""
    names = [tensor.name for tensor in unexpected.values()]
    outer = {f"{name.partition('.')[0]}." for name in missing}
    of_base = front([name.partition(".")[2] for name in missing if name.count(".") > 1], names)
    return front(missing, names) or ("" if of_base in outer else of_base)


def _behind(found: Named, prefix: str, where: Path) -> Named:
    inside = behind(found, prefix)
    if found and not inside:
        raise RunError(f"{FIELD} is {prefix!r}, but no tensor of {where} begins with it, for example {next(iter(found))}; leave"
                       f" {FIELD} out, or set it to what stands before the model's own names.")
    return inside


def _without_inner(found: Named, where: Path) -> dict[str, LazyTensor]:
    changed = without_inner(found)
    if not changed:
        return dict(found)
    if len({changed.get(name, name) for name in found}) < len(found):
        raise RunError(f"{where} holds {next(iter(changed))} with a wrapper's word in its name and without it; save the state"
                       " dict of the model inside again.")
    logging.getLogger(__name__).warning("%s: the words of wrappers inside %d names are left out, as in %s.", where,
                                        len(changed), next(iter(changed)))
    return {changed.get(name, name): tensor for name, tensor in found.items()}
