"""A folder named by `weights` fills the fields of its component: over the values of a preset, under those of a recipe.

A preset's value is one that the recipe leaves as the preset has it. What a recipe itself sets and the folder contradicts is one
sentence that names both values and both places.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from omnikit import registry
from omnikit.contracts.folders import FolderValue
from omnikit.errors import OmnikitError, PlanError
from omnikit.recipe import presets
from omnikit.recipe.answers import Generate
from omnikit.recipe.model_folder import model_folder
from omnikit.recipe.recipe import OWN_KEYS, SLOTS
from omnikit.recipe.schema import defaults
from omnikit.recipe.weight_files import check_weights
from omnikit.recipe.wrappers import FIELD

GENERATE = "generate."  # before the names of values that are not the component's, but how answers are made


def folder_values(values: Mapping[str, Any], picks: Mapping[str, str], overrides: Collection[str]) -> dict[str, object]:
    """Give what the folders of a recipe's parts change in it: dotted path → value.

    Args:
        values: the composed recipe.
        picks: part → the preset or component that was picked for it.
        overrides: dotted paths that the command line sets.

    Raises:
        PlanError: a recipe sets what its folder contradicts, or a folder's files cannot be read.
    """
    errors, found = list[str](), dict[str, object]()
    for path, kind in _parts(values).items():
        try:
            for key, value in _of_part(values, path, kind, picks.get(path), overrides).items():
                _add(found, path, key, value, errors)
        except OmnikitError as error:
            errors.append(f"{path}.weights: {error}")
    if errors:
        raise PlanError(*errors)
    found |= _head_tokenizers(values, found)
    return {path: value for path, value in found.items()
            if not path.startswith(GENERATE) or _is_default(values, path, overrides)}


def _add(found: dict[str, object], path: str, key: str, value: "FolderValue | str", errors: list[str]) -> None:
    if isinstance(value, str):
        errors.append(value)
    else:
        found[key if key.startswith(GENERATE) else f"{path}.{key}"] = value.value


def _parts(values: Mapping[str, Any]) -> dict[str, str]:
    """Give path → kind of the parts that name a folder or id in `weights`."""
    found = {"backbone": "backbone"} | {f"{branch}.{slot}": kind for branch, slots in values.items()
                                        if branch not in OWN_KEYS and isinstance(slots, Mapping)
                                        for slot, kind in SLOTS.items()}
    return {path: kind for path, kind in found.items() if isinstance((part := _at(values, path)), Mapping)
            and isinstance(part.get("weights"), str) and isinstance(part.get("use"), str)}


def _of_part(values: Mapping[str, Any], path: str, kind: str, pick: str | None,
             overrides: Collection[str]) -> dict[str, FolderValue | str]:
    """Give what a part's folder states; a sentence where the recipe's own value contradicts it."""
    fields = _at(values, path)
    if fields["use"] not in registry.components(kind):
        return {}
    cls = registry.component(kind, fields["use"])
    read: Callable[[Mapping[str, Any]], Mapping[str, FolderValue]] | None = getattr(cls, "folder_fields", None)
    if read is None:
        return {}
    base = presets.preset_fields(kind, pick) if pick in presets.names(kind) else {"use": fields["use"]}
    own = {key for key, value in fields.items() if f"{path}.{key}" in overrides or key not in base or base[key] != value}
    found: dict[str, FolderValue | str] = {}
    for key, stated in read({**defaults(cls), **fields}).items():
        if key not in own:
            found[key] = stated
        elif stated.contradicts(fields[key]):
            found[key] = (f"{path}.{key} is {fields[key]!r}, but {stated.place} of {fields['weights']} states"
                          f" {stated.value!r}; leave {path}.{key} out, or set {path}.weights to another checkpoint.")
    if folder := model_folder(fields["weights"]):
        check_weights(folder, str(fields.get(FIELD) or ""), f"{path}.{FIELD}")
    return found


def _head_tokenizers(values: Mapping[str, Any], found: Mapping[str, object]) -> dict[str, object]:
    """Let heads that write transcripts keep a shipped tokenizer: another one for the backbone is none for their frames."""
    former = _at(values, "backbone.tokenizer")
    if found.get("backbone.tokenizer", former) == former or not registry.conf_file("tokenizer", f"{former}.json"):
        return {}
    heads = {f"{branch}.head": _at(values, f"{branch}.head") for branch in values if branch not in OWN_KEYS}
    return {f"{path}.tokenizer": former for path, fields in heads.items()
            if isinstance(fields, Mapping) and "tokenizer" in fields and fields["tokenizer"] is None}


def _is_default(values: Mapping[str, Any], path: str, overrides: Collection[str]) -> bool:
    """Say whether a recipe leaves a setting of `generate` at its default."""
    key = path.removeprefix(GENERATE)
    given = values.get("generate")
    return path not in overrides and isinstance(given, Mapping) and given.get(key) == defaults(Generate).get(key)


def _at(values: Mapping[str, Any], path: str) -> Any:
    found: Any = values
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
