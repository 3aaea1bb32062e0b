"""What importers of published layouts share: settings of config.json, and what a layout cannot express. Uses no layout.

A model of ours may hold more than a layout can express. `omnikit export` writes that beside the layout's own files: whole
parts and top-level keys under KEY in config.json, their tensors by our names in EXTRAS. An import reads both back.
"""

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from omnikit.contracts.configs import ModelDescription
from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError
from omnikit.recipe.causal_config import check_ids
from omnikit.recipe.model_folder import check_tokenizer, read_object
from omnikit.recipe.recipe import OWN_KEYS, SLOTS
from omnikit.recipe.schema import plain
from omnikit.store.files import atomic_file
from omnikit.store.tensors import in_file

KEY = "omnikit"
EXTRAS = "omnikit.safetensors"
STATED = "stated"  # in KEY: what the file's own keys gave, where KEY holds against them
FREE = {"use", "tokenizer", "template", "specials"}  # fields that no key of config.json gives
HEAD, TABLE = "lm_head.weight", "model.embed_tokens.weight"  # of causal language models of transformers
_WEIGHT_NORM = ((".weight_g", ".parametrizations.weight.original0"), (".weight_v", ".parametrizations.weight.original1"))


# ---- names -----------------------------------------------------------------------------------------------------------


def from_legacy_weight_norm(name: str) -> str:
    """Give torch's present name of a tensor under weight norm."""
    for legacy, present in _WEIGHT_NORM:
        name = name.removesuffix(legacy) + present if name.endswith(legacy) else name
    return name


def to_legacy_weight_norm(name: str) -> str:
    """Give the name that a tensor under weight norm had before torch 2.0."""
    for legacy, present in _WEIGHT_NORM:
        name = name.removesuffix(present) + legacy if name.endswith(present) else name
    return name


# ---- reading ---------------------------------------------------------------------------------------------------------


def integer_of(config: Mapping[str, object], key: str, file: Path) -> int:
    """Give a whole number of a config.json; raises RunError where there is none."""
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RunError(f"{file} has {key} {value!r}, but it must be a whole number, which nothing else states; write it there.")
    return value


def end_ids(config: Mapping[str, object], file: Path) -> list[int]:
    """Give the ids that end an answer, of a config.json and the generation_config.json beside it; one below 0 stands for none.

    Raises:
        ConfigError: an id is outside the embedding table.
    """
    beside = file.with_name("generation_config.json")
    ids: list[int] = []
    for path, content in ((file, config), (beside, read_object(beside))):
        check_ids(content, str(path), config.get("vocab_size"))
        found = content.get("eos_token_id")
        ids += [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, int) and one >= 0]
    return list(dict.fromkeys(ids))


def special_tokens(tokenizer: Path, candidates: Sequence[str]) -> list[str]:
    """Give those candidates that a tokenizer has; all of them where only transformers can read its file."""
    if tokenizer.suffix != ".json" or not tokenizer.is_file():
        return list(candidates)
    try:
        known = {token["content"] for token in json.loads(tokenizer.read_text(encoding="utf-8"))["added_tokens"]}
    except (ValueError, LookupError, TypeError) as error:
        raise RunError(f"{tokenizer} is not a tokenizer of the tokenizers library; copy it again.") from error
    return [token for token in candidates if token in known]


def tokenizer_in(given: str | None, *folders: Path | None) -> Path:
    """Give the tokenizer that is given, or the first that lies in a folder: tokenizer.json, or the folder for other files.

    Raises:
        RunError: no folder has one.
    """
    if given:
        return Path(given).expanduser()
    there = [folder for folder in folders if folder is not None]
    for place in there:
        check_tokenizer(place)
        if (place / "tokenizer.json").is_file():
            return place / "tokenizer.json"
        if (place / "tokenizer.model").is_file() or (place / "vocab.json").is_file():  # vocab.json: Qwen's older form
            return place
    raise RunError(f"{there[0]} has no tokenizer.json; give one, or the folder of the language model's, with --tokenizer.")


def common_dtype(tensors: Mapping[str, LazyTensor]) -> str:
    """Give the one dtype of a language model's tensors, or float32, which holds every other."""
    found = {tensor.dtype for tensor in tensors.values()}
    return found.pop() if len(found) == 1 and all(getattr(torch, d).is_floating_point for d in found) else "float32"


def is_tied(config: Mapping[str, object], file: Path, tensors: Mapping[str, LazyTensor]) -> bool:
    """Whether the output matrix is the embedding table: where config.json states it, unless the files hold another one.

    Args:
        file: the config.json, for messages.
    """
    head, table = tensors.get(HEAD), tensors.get(TABLE)
    if not config.get("tie_word_embeddings") or head is None or table is None:
        return bool(config.get("tie_word_embeddings"))
    if head.shape == table.shape and torch.equal(head.read().to(table.read().dtype), table.read()):
        return True
    logging.getLogger(__name__).warning("%s states tie_word_embeddings, but %s is a matrix of its own: both are read, as"
                                        " transformers does.", file, HEAD)
    return False


def read_extras(folder: Path) -> dict[str, LazyTensor]:
    """Give the tensors that the layout cannot express, by part and our name."""
    return in_file(folder / EXTRAS) if (folder / EXTRAS).is_file() else {}


def split_extras(extras: Mapping[str, LazyTensor]) -> Iterator[tuple[str, str, LazyTensor]]:
    """Give part, name and tensor of each; the part is "other" where a name has none."""
    for name, tensor in extras.items():
        found = re.match(r"(backbone|\w+\.\w+)\.(.+)", name)
        yield (found[1], found[2], tensor) if found else ("other", name, tensor)


def with_additions(tree: MutableMapping[str, object], config: Mapping[str, object], file: Path,
                   backbone: Mapping[str, object]) -> dict[str, object]:
    """Lay what `omnikit export` wrote under KEY over a recipe.

    Args:
        tree: the recipe that the layout's own files give; it is changed.
        config: of `file`, the config.json.
        file: for messages.
        backbone: settings of the backbone that the import gives, which win.

    Raises:
        RunError: KEY holds something else, or the file's own keys were edited since and KEY holds against them.
    """
    added = config.get(KEY)
    if added is None:
        return dict(tree)
    parts, keys = _parts_and_keys(added) or (None, None)
    if parts is None or keys is None or not isinstance(added, Mapping):
        raise RunError(f"{file} has {KEY} {added!r}, which `omnikit export` did not write; remove it.")
    _refuse_edited(tree, parts, added.get(STATED, {}), file)
    for path, part in parts.items():
        if path == "backbone":
            tree[path] = {**(part or {}), **backbone}
            continue
        branch, _, slot = path.partition(".")
        slots = tree.setdefault(branch, {})
        assert isinstance(slots, dict), "a branch is a mapping of slots"
        slots.pop(slot, None)
        slots |= {slot: part} if part else {}
        if not slots:
            del tree[branch]
    return {**tree, **keys}


def stated(own: Mapping[str, Mapping[str, object]], tree: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Give part → the fields that the layout's files alone give otherwise than a model has them, for KEY: see _refuse_edited.

    Args:
        own: the settings of the model's parts.
        tree: the recipe that the files give.
    """
    found = {part: {name: value for name, value in _at(tree, part).items()
                    if name in fields and name not in FREE and fields[name] != value}
             for part, fields in own.items()}
    return {part: values for part, values in found.items() if values}


def _refuse_edited(tree: Mapping[str, object], parts: Mapping[str, Mapping[str, object] | None], before: object,
                   file: Path) -> None:
    """Raise RunError where KEY and the file's own keys contradict each other, and did not when both were written."""
    for path, part in parts.items():
        now, then = _at(tree, path), before.get(path, {}) if isinstance(before, Mapping) else {}
        if part is None or now.get("use") != part.get("use"):
            continue
        for name in sorted(now.keys() & part.keys() - FREE):
            if part[name] != now[name] and now[name] != then.get(name, part[name]):
                raise RunError(f"{file} has {KEY}.parts.{path}.{name} {part[name]!r}, but its own keys state {now[name]!r} by"
                               f" now; write {now[name]!r} in both places, or undo the edit.")


def _at(tree: Mapping[str, object], part: str) -> dict[str, object]:
    """Give the fields of a part in a recipe, as YAML has them."""
    found: object = tree
    for key in part.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return plain(found) if isinstance(found, Mapping) else {}


def _parts_and_keys(added: object) -> tuple[dict[str, dict[str, object] | None], dict[str, object]] | None:
    """Give parts (None: there is none) and top-level keys as `omnikit export` writes them; None where it cannot have."""
    if not isinstance(added, Mapping) or not added.keys() <= {"parts", "keys", STATED}:
        return None
    parts, keys = added.get("parts", {}), added.get("keys", {})
    if not isinstance(parts, dict) or not isinstance(keys, dict) or not keys.keys() <= {"system", "generate"}:
        return None
    known = all((path == "backbone" and part is not None) or _is_slot(path) for path, part in parts.items())
    used = all(part is None or (isinstance(part, dict) and isinstance(part.get("use"), str)) for part in parts.values())
    return (parts, keys) if known and used else None


def _is_slot(path: str) -> bool:
    branch, _, slot = path.partition(".")
    return branch not in OWN_KEYS and slot in SLOTS


# ---- writing ---------------------------------------------------------------------------------------------------------


def part_settings(model: ModelDescription, files: Sequence[str]) -> dict[str, dict[str, object]]:
    """Give part → how a recipe writes it, with every field, in the order of names.

    Args:
        model: the model.
        files: fields that name files whose tensors are in the model; they are left empty.
    """
    found = {}
    for part, config in model.parts.items():
        named = [f.name for f in fields(config) if f.name in files and isinstance(getattr(config, f.name), str)]
        config = replace(config, **dict.fromkeys(named))
        if part == "backbone":
            config = replace(config, tokenizer="", template=model.template_name or config.template)
        found[part] = {"use": model.uses[part], **plain(config)}
    return dict(sorted(found.items()))


def additions(own: Mapping[str, Mapping[str, object]], theirs: Mapping[str, object], model: ModelDescription,
              read: ModelDescription, tree: Mapping[str, object]) -> dict[str, object]:
    """Give what KEY must hold: parts that the layout's files alone would give otherwise (None: there is none), and keys.

    Args:
        own: the settings of the model's parts, `theirs`: of those that the written files give.
        model: the model, `read`: what the written files give, `tree`: the recipe that they give.
    """
    parts: dict[str, object] = {part: choice for part, choice in own.items() if choice != theirs.get(part)}
    parts |= {part: None for part in theirs if part not in own}
    differing = {key: value for key, value in model.settings.items() if value != read.settings[key]}
    before = stated({part: choice for part, choice in own.items() if part in parts}, tree)
    return {key: value for key, value in (("parts", parts), ("keys", differing), (STATED, before)) if value}


def write_extras(extras: Mapping[str, LazyTensor], folder: Path) -> None:
    """Write the tensors that the layout cannot express; no file where there are none."""
    if extras:
        with atomic_file(folder / EXTRAS) as part:
            save_file({name: tensor.read().contiguous() for name, tensor in extras.items()}, part, {"format": "pt"})


def write_config(config: Mapping[str, object], folder: Path, added: Callable[[], Mapping[str, object]]) -> None:
    """Write config.json, and once more with `added`, which reads the folder; and tokenizer_config.json where it is missing."""
    write_json(folder / "config.json", config)
    beyond = added()
    if beyond:
        write_json(folder / "config.json", {**config, KEY: beyond})
    if not (folder / "tokenizer_config.json").is_file() and (folder / "tokenizer.json").is_file():
        write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})


def write_json(path: Path, values: object) -> None:
    """Write a file as the layouts' own are: indented by two."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
