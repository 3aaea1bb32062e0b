"""What the installed transformers has of an architecture: defaults and types of its configuration, read as source text.

Imports neither transformers nor torch, so that a check takes no time.
"""

import ast
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from omnikit.errors import ConfigError, nearest

TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,), "float": (float, int), "bool": (bool,), "str": (str,), "None": (type(None),), "dict": (dict,),
    "list": (list,), "list[int]": (list,), "list[str]": (list,), "list[float]": (list,), "tuple": (list,)}
"""Words of an annotation → what JSON holds for it."""

USUAL = ("silu", "gelu", "gelu_pytorch_tanh", "full_attention", "sliding_attention")  # names that need no look-up
ACTIVATIONS = ("activations.py", "ACT2CLS")
LAYER_TYPES = ("configuration_utils.py", "ALLOWED_ATTN_LAYER_TYPES")


def check_types(content: dict[str, object], model_type: str, path: Path) -> None:
    """Raise ConfigError for a value of another type than the architecture's configuration has, or a name that it lacks."""
    for key, annotation in _fields(model_type)[1].items():
        words = [word.strip() for word in annotation.split("|")]
        if key in content and all(word in TYPES for word in words) and not _is_one_of(content[key], words):
            raise ConfigError(f"{path} has {key} {str(content[key])[:40]!r}, but transformers takes {annotation} there; copy"
                              " the file again.")
    kinds = content.get("layer_types")
    for key, value in (("hidden_act", content.get("hidden_act")), ("hidden_activation", content.get("hidden_activation")),
                       *(("layer_types", kind) for kind in (kinds if isinstance(kinds, list) else ()))):
        if value is None or value in USUAL:
            continue
        known = _named(*(ACTIVATIONS if key.startswith("hidden") else LAYER_TYPES))
        if known and value not in known:
            raise ConfigError(f"{path} has {key} {str(value)[:40]!r}, which transformers does not have."
                              f"{nearest(str(value), sorted(known))}")


def architecture_defaults(model_type: str) -> dict[str, object]:
    """Give the defaults of an architecture's configuration; {} where there is none."""
    return _fields(model_type)[0]


def closest(model_type: str) -> str | None:
    """Give the architecture that a name without a configuration is likely to mean; None where none is near.

    Some names lie in a folder of another name, so that what is not found here may still be known to transformers.
    """
    spec = find_spec("transformers")
    known = [path.name for root in (spec.submodule_search_locations or ()) for path in Path(root, "models").iterdir()
             if path.is_dir()] if spec else []
    lower = model_type.lower()
    return lower if lower in known and lower != model_type else None


def _is_one_of(value: object, words: Iterable[str]) -> bool:
    fitting = [kind for word in words for kind in TYPES[word]]
    return type(value) in fitting  # true is no number here


@lru_cache(maxsize=64)
def _fields(model_type: str) -> tuple[dict[str, object], dict[str, str]]:
    """Give the constants and the annotations of the class that describes an architecture."""
    name = model_type.replace("-", "_")
    for folder in (name, name.removesuffix("_text")):
        tree = _source("models", folder, f"configuration_{folder}.py")
        for node in tree.body if tree else ():
            if isinstance(node, ast.ClassDef) and (found := _constants(node.body)).get("model_type") == model_type:
                return found, {item.target.id: ast.unparse(item.annotation) for item in node.body
                               if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)}
    return {}, {}


def _source(*parts: str) -> ast.Module | None:
    spec = find_spec("transformers")
    files = (Path(root, *parts) for root in (spec.submodule_search_locations or ())) if spec else ()
    return next((ast.parse(file.read_text(encoding="utf-8")) for file in files if file.is_file()), None)


@lru_cache(maxsize=8)
def _named(file: str, variable: str) -> frozenset[str]:
    """Give the texts in a mapping's keys, or in a tuple, of a file of transformers."""
    tree = _source(file)
    for node in tree.body if tree else ():
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == variable:
            items = node.value.keys if isinstance(node.value, ast.Dict) else getattr(node.value, "elts", [])
            return frozenset(item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str))
    return frozenset()


def _constants(body: Iterable[ast.stmt]) -> dict[str, object]:
    found: dict[str, object] = {}
    for node in body:
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Name) and isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            value = _constant(node.value)
            if value is not None:
                found[target.id] = value
    return found


def _constant(node: ast.expr) -> object:
    """Give a literal or a product of two; None for anything else."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        left, right = _constant(node.left), _constant(node.right)
        return left * right if isinstance(left, int | float) and isinstance(right, int | float) else None
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None
