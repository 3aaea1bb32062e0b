"""A model of ours as a folder of transformers. What its class cannot express goes into config.json under one key of ours and
into a file of its own; a model that the class can express completely gets neither.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_utils import PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from omnikit.contracts.configs import Describe, ModelDescription
from omnikit.contracts.types import LazyTensor
from omnikit.errors import OmnikitError, RunError
from omnikit.recipe.model_folder import TokenizerFolder
from omnikit.recipe.schema import plain
from omnikit.store.layouts import additions, part_settings, write_config, write_extras
from omnikit.store.shards import save_shards
from omnikit.store.tensors import in_memory
from omnikit_hf_models.classes import ModelClass
from omnikit_hf_models.convert import CLASSES, OF_T5, opened, recipe
from omnikit_hf_models.layout import HFModel

FILES = ("weights",)  # fields of parts that name files whose tensors are in the model by now
Named = Mapping[str, LazyTensor]


def write(model: ModelDescription, tensors: Mapping[str, Named], folder: Path, describe: Describe) -> None:
    """Write a model's files into a folder that holds its tokenizer already.

    Raises:
        RunError: no class of transformers has such parts.
    """
    kind = _class_of(model)
    held: dict[str, LazyTensor] = {}
    extras: dict[str, LazyTensor] = {}
    for part, named in tensors.items():
        for name, tensor in named.items():
            if part in kind.uses:
                held[kind.theirs(part, name)] = tensor
            else:
                extras[f"{part}.{name}"] = tensor
    config = _config(model, kind, folder)
    save_shards(held | _unused(kind, config, held), folder)
    write_extras(extras, folder)
    kind.more(model, folder)
    write_config(config, folder, lambda: _additions(model, folder, describe))


def _class_of(model: ModelDescription) -> ModelClass:
    """Give the class that holds a model's parts."""
    found = [kind for kind in (*CLASSES.values(), *OF_T5.values()) if kind.fits_uses(model.uses) and kind.fits(model)]
    if not found:
        parts = ", ".join(f"{part}: {use}" for part, use in model.uses.items())
        raise RunError(f"this run has {parts}, but layout hf_model holds {_held()}; such a model cannot be exported in it.")
    return found[0]


def _held() -> str:
    return "; or ".join(f"{kind.architecture} ({', '.join(f'{part}: {use}' for part, use in kind.uses.items())})"
                        for kind in (*CLASSES.values(), *OF_T5.values()))


def _config(model: ModelDescription, kind: ModelClass, folder: Path) -> dict[str, object]:
    """Give config.json."""
    fields = plain(model.parts["backbone"])
    tokenizer, ends = TokenizerFolder(folder), list(model.parts["backbone"].ends)
    end: object = ends[0] if len(ends) == 1 else ends or tokenizer.end
    text = {"dtype": fields["dtype"], "eos_token_id": end, "bos_token_id": None, "pad_token_id": None,
            "tie_word_embeddings": fields["tie_embeddings"]} | kind.language.text_config(fields)
    return {"architectures": [kind.architecture], "dtype": fields["dtype"], "text_config": text,
            "tie_word_embeddings": fields["tie_embeddings"], **_placeholders(kind, tokenizer, fields["vocabulary"]),
            **kind.config(model)}


def _placeholders(kind: ModelClass, tokenizer: TokenizerFolder, vocabulary: int) -> dict[str, object]:
    """Give the ids that stand for media in transformers' input; the last rows of the table where the tokenizer has none."""
    ids = tokenizer.ids
    return {key: next((ids[token] for token in tokens if token in ids), vocabulary - 1 - index)
            for index, (key, tokens) in enumerate(kind.placeholders.items())}


def _unused(kind: ModelClass, config: Mapping[str, object], held: Named) -> dict[str, LazyTensor]:
    """Give zeros for what a class has and never uses; what else is missing is our error."""
    facts = CONFIG_MAPPING[str(config["model_type"])].from_dict(dict(config))
    unused, missing = re.compile(kind.unused(facts)), dict[str, LazyTensor]()
    for name, tensor in _empty(kind, facts).items():
        own = kind.canonical(name)
        if own not in held and unused.match(own):
            zeros = torch.zeros(tensor.shape, dtype=getattr(torch, str(config["dtype"])))
            missing[own] = in_memory(own, Path(own), zeros)
        tied = own.endswith("lm_head.weight") and config["tie_word_embeddings"]
        assert own in held or own in missing or tied, f"{kind.architecture} has {own}, which no part gives"
    return missing


def _empty(kind: ModelClass, facts: PreTrainedConfig) -> dict[str, Tensor]:
    """Give the parameters of a class, without numbers."""
    name = facts.model_type.replace("-", "_")
    module = import_module(f"transformers.models.{name}.modeling_{name}")
    model_class: type[PreTrainedModel] = getattr(module, kind.architecture)
    with torch.device("meta"):
        return dict(model_class(facts).named_parameters())


def _additions(model: ModelDescription, folder: Path, describe: Describe) -> dict[str, object]:
    """Give what the files as they are would be read wrongly without."""
    own = part_settings(model, FILES)
    try:
        tree = recipe(opened(HFModel(str(folder))))
        read = describe(deepcopy(tree))
    except OmnikitError:  # a part is not in the layout's files at all
        return {"parts": own, "keys": model.settings}
    return additions(own, part_settings(read, FILES), model, read, tree)
