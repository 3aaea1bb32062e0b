"""What a recipe names that lies elsewhere: its template, its datasets' readers, its tokenizer's size. Each mistake becomes a
sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from omnikit import registry
from omnikit.contracts.configs import BackboneConfig, ReaderConfig
from omnikit.contracts.specs import Template
from omnikit.errors import ConfigError, OmnikitError
from omnikit.plan.chat_template import AUTO, auto_template
from omnikit.recipe import presets
from omnikit.recipe.branches import Choice
from omnikit.recipe.model_folder import missing_package
from omnikit.recipe.recipe import Recipe
from omnikit.recipe.schema import construct, defaults

RANDOM = "random"
"""What a field `weights` holds where random numbers are wanted."""


def without_random(cls: type[Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give a component's fields with `weights: random` as None, which its `build()` takes for random numbers."""
    named = fields.get("weights") == RANDOM and defaults(cls).get("weights", RANDOM) is None
    return {key: None if named and key == "weights" else value for key, value in fields.items()}


def find_template(recipe: Recipe, backbone: BackboneConfig | None, errors: list[str]) -> Template | None:
    """Read the template of the recipe, else the backbone's own, and hold it against the tokens that the backbone has."""
    name = recipe.template or (backbone.template if backbone else None)
    if name is None or backbone is None:
        return None
    place = "template" if recipe.template else "backbone.template"
    try:
        if name == AUTO:
            found = auto_template(backbone.tokenizer)
            return replace(found, default_system=recipe.system or "")
        preset = registry.preset("template", name)
        if preset is None:
            errors.append(f"{place}: {presets.unknown_name('template', name, registry.presets('template'))}")
            return None
        template = construct(Template, presets.read_mapping(preset.path), str(preset.path), errors)
    except OmnikitError as error:
        errors.append(f"{place}: {error}")
        return None
    if template and recipe.system is not None:
        template = replace(template, default_system=recipe.system, systems={})
    missing = [token for token in template.specials if token not in backbone.specials] if template else []
    if missing:
        own = (f"use its own template, {backbone.template!r}, by leaving `template` out" if recipe.template
               else "set template=auto for the chat template of its folder, or template=NAME")
        errors.append(f"{place} is {name!r}, whose tokens {', '.join(missing)} the backbone's tokenizer does not know; {own}.")
    return template


def find_reader(name: str, choice: Choice | None, where: str, errors: list[str]) -> ReaderConfig | None:
    """Make the reader of a dataset: of the recipe's `data`, else of the dataset preset with that name."""
    try:
        if choice is None:
            values = presets.preset_fields("data", name)
            choice = Choice(values.pop("use"), values)
        made: ReaderConfig | None = construct(registry.component("reader", choice.use), choice.fields, where, errors)
    except OmnikitError as error:
        errors.append(f"{where}: {error}")
        return None
    return made


def tokenizer_size(reference: str) -> int | None:
    """Give the number of ids of a tokenizer file, by name (`tiny`) or path; None where only transformers can tell.

    Raises:
        ConfigError: the file is no tokenizer.
    """
    path = registry.conf_file("tokenizer", f"{reference}.json") or Path(reference).expanduser()
    if package := missing_package(path):
        raise ConfigError(f"{path} holds {package[0]}, which the package {package[1]} reads, and that is not installed; run"
                          f" `pip install {package[1]}`.")
    path = path / "tokenizer.json" if path.is_dir() else path
    if not (path.suffix == ".json" and path.is_file()):
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        vocabulary = content["model"]["vocab"]  # a list of pieces in a Unigram model, else piece → id
        ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
        return 1 + max(int(i) for i in (*ids, *(token["id"] for token in content["added_tokens"])))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(f"{path} is not a tokenizer of the tokenizers library ({type(error).__name__}); give a tokenizer.json"
                          " that it wrote.") from error
