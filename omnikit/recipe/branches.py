"""What a branch of a recipe holds beside its name: a choice for each of its parts, and how it meets the backbone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from omnikit.contracts.specs import LATER, later_defaults

FUSIONS = ("splice", "cross_attention")
"""How embeddings of a branch enter the backbone: in the place of the medium, or as what its layers attend to."""
OPTIONS = ("input", "fusion", "sources")  # keys of a branch that are no parts


@dataclass(frozen=True)
class Choice:
    """A component as YAML names it: `use` and its other fields."""

    use: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class BranchOptions:
    """How an input branch reads and enters.

    Args:
        input: the input branch whose signals it reads too; None: those of its own modality.
        fusion: how its embeddings enter the backbone, one of FUSIONS.
        sources: other input branches whose encoders' features its projector takes, behind those of its own encoder.
    """

    input: str | None = None
    fusion: str = FUSIONS[0]
    sources: tuple[str, ...] = field(default=(), metadata=LATER)

    def settings(self) -> dict[str, Any]:
        """Give the options without those that came later and stand at their default."""
        return {key: value for key, value in asdict(self).items() if key not in later_defaults(self)}


def parse_options(name: str, value: Any, errors: list[str]) -> BranchOptions:
    """Give a branch's options; what is wrong with them becomes sentences."""
    given = {key: value[key] for key in OPTIONS if isinstance(value, Mapping) and value.get(key) is not None}
    if "fusion" in given and given["fusion"] not in FUSIONS:
        errors.append(f"{name}.fusion is {given['fusion']!r}, but must be one of {', '.join(FUSIONS)}.")
    if "input" in given and not isinstance(given["input"], str):
        errors.append(f"{name}.input is {given['input']!r}, but must be the name of an input branch.")
    if "sources" in given:
        named = given["sources"]
        if isinstance(named, str) or not isinstance(named, Sequence) or not all(isinstance(each, str) for each in named):
            errors.append(f"{name}.sources is {named!r}, but must be a list of input branches, as [vision_high_resolution].")
            named = ()
        given["sources"] = tuple(named)
    if given and "encoder" not in value:
        errors.append(f"{name}.{next(iter(given))} is never read: {name} has no encoder; pick one with"
                      f" {name}/encoder=<preset>.")
    return BranchOptions(**given)


def parse_choice(where: str, value: Any, errors: list[str]) -> Choice | None:
    """Give a component that was picked; None, and a sentence, where none was."""
    if not isinstance(value, Mapping):
        errors.append(f"{where} is {value!r}, but must be a mapping with `use: <component>`; pick one with"
                      f" {where.replace('.', '/')}=<preset>.")
        return None
    if value.get("use") is not None and not isinstance(value["use"], str):
        errors.append(f"{where}.use is {value['use']!r}, but must be a component's name; pick one with"
                      f" {where.replace('.', '/')}=<name>.")
        return None
    if value.get("use") is None:
        errors.append(f"{where}.use is missing: pick a component or preset with {where.replace('.', '/')}=<name>.")
        return None
    return Choice(value["use"], {str(k): v for k, v in value.items() if k != "use"})
