"""Stages that take weights from a published checkpoint (`objective: import`): their layout found, their settings checked.

Whether the files are there is not looked at: a finished import needs them no more.
"""

from __future__ import annotations

from collections.abc import Sequence

from omnikit import registry
from omnikit.contracts.configs import ImporterConfig
from omnikit.errors import OmnikitError, nearest
from omnikit.recipe.recipe import Stage
from omnikit.recipe.schema import construct

OTHER = "other"
"""What `allow` calls tensors of a checkpoint that belong to no part."""


def find_importer(stage: Stage, where: str, errors: list[str]) -> ImporterConfig | None:
    """Make the dataclass that reads a stage's source; without one, append a sentence and give None."""
    use = stage.source.get("use")
    if not isinstance(use, str):
        known = ", ".join(registry.components("importer")) or "none is installed"
        errors.append(f"{where}.source names no layout; write {{use: <layout>, folder: <folder>}}. Layouts: {known}.")
        return None
    try:
        fields = {key: value for key, value in stage.source.items() if key != "use"}
        made: ImporterConfig | None = construct(registry.component("importer", use), fields, f"{where}.source", errors)
    except OmnikitError as error:
        errors.append(f"{where}.source: {error}")
        return None
    return made


def check_import(where: str, stage: Stage, trained: Sequence[str], errors: list[str]) -> None:
    """Append a sentence for each setting that an import cannot have, or lacks."""
    find_importer(stage, where, errors)
    for key in ("loss", "data"):
        if getattr(stage, key):
            errors.append(f"{where}.{key} is set, but an import learns nothing; take it out, or learn in a stage after it.")
    if stage.init_from is not None:
        errors.append(f"{where}.init_from is set, but an import starts from its source; take it out.")
    for part in stage.allow:
        if part not in (*trained, OTHER):
            errors.append(f"{where}.allow names {part}, which this stage does not import.{nearest(part, (*trained, OTHER))}"
                          f" It imports: {', '.join(trained)}; {OTHER!r} stands for tensors that belong to no part.")


def check_no_source(where: str, stage: Stage, errors: list[str]) -> None:
    """Append a sentence if a stage that learns names a source."""
    for key in ("source", "allow"):
        if getattr(stage, key):
            errors.append(f"{where}.{key} is set, but only `objective: import` reads it; take it out, or make the import a"
                          " stage of its own before this one.")
