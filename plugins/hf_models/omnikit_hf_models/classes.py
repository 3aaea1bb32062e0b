"""What is known of each class of transformers: its parts in a recipe, the names of their tensors, and its config.json."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omnikit.errors import RunError
from omnikit_hf_models.language import CAUSAL, Language

if TYPE_CHECKING:
    from transformers.configuration_utils import PreTrainedConfig

    from omnikit.contracts.configs import ModelDescription


@dataclass(frozen=True)
class Source:
    """A folder's config.json, with the defaults of transformers where it is silent.

    Args:
        file: the config.json.
        facts: the configuration of transformers.
    """

    file: Path
    facts: PreTrainedConfig

    def refuse(self, key: str, value: object, only: str) -> RunError:
        """Give the error for a value of config.json that no part of ours has."""
        return RunError(f"{self.file} has {key} {value!r}, but layout hf_model holds {only}; such a model cannot be imported.")


Tree = dict[str, dict[str, object]]  # branch → slot or option → settings


@dataclass(frozen=True)
class ModelClass:
    """One class of transformers.

    Args:
        architecture: its name.
        branches: input branches of a recipe from a folder.
        uses: part → the component that the layout holds there.
        names: (begin of a name in the files, our part, begin of our name), the first that fits counts.
        placeholders: key of config.json that holds the id of a medium → tokens that may have it.
        aliases: (pattern, replacement): other names of the same tensors, of other versions of transformers.
        fits: whether it holds the settings of parts that are of the components in `uses`.
        unused: pattern, by the configuration, of tensors that the class has and never uses; they are written as zeros.
        template: that a conversation becomes text by, where the folder has no chat template for texts.
        config: the keys of config.json beside those of the language model.
        more: writes what else the folder needs.
        language: the kind of its language model.
        repeats: pattern of tensors that hold the embedding table again.
    """

    architecture: str
    branches: Callable[[Source], Tree]
    uses: Mapping[str, str]
    names: tuple[tuple[str, str, str], ...]
    config: Callable[[ModelDescription], dict[str, object]]
    placeholders: Mapping[str, tuple[str, ...]]
    aliases: tuple[tuple[str, str], ...] = ()
    fits: Callable[[ModelDescription], bool] = lambda _: True
    unused: Callable[[PreTrainedConfig], str] = lambda _: r"(?!)"
    template: str = "llava_1_5"
    more: Callable[[ModelDescription, Path], None] = lambda model, folder: None
    language: Language = CAUSAL
    repeats: str = r"(?!)"

    def fits_uses(self, uses: Mapping[str, str]) -> bool:
        """Whether a model has the components that the layout holds."""
        return all(uses.get(part) == use for part, use in self.uses.items())

    def canonical(self, name: str) -> str:
        """Give the name that `names` are written for."""
        for pattern, replacement in self.aliases:
            name = re.sub(pattern, replacement, name)
        return name

    def ours(self, name: str) -> tuple[str, str] | None:
        """Give part and our name of a tensor of the files; None where it belongs to no part."""
        name = self.canonical(name)
        for theirs, part, own in self.names:
            if name.startswith(theirs):
                return part, own + name.removeprefix(theirs)
        return None

    def theirs(self, part: str, name: str) -> str:
        """Give the name in the files of a tensor of ours."""
        for theirs, owner, own in self.names:
            if owner == part and name.startswith(own):
                return theirs + name.removeprefix(own)
        return f"{part}.{name}"
