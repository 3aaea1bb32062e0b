"""YAML text to plain values and back: scalars as YAML 1.2 reads them; bounds on depth, size and what aliases expand to.

PyYAML reads YAML 1.1, where `yes` is true, `12:30` is 750 and `010` is 8, and it recurses without a bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import yaml

LARGEST = 4 * 2**20  # characters of a file
DEEPEST = 64  # mappings and lists in one another
MOST_VALUES = 50_000  # with every alias written out
NESTED = 2000  # brackets and list marks, up to which libyaml may recurse whatever they mean

TAG = "tag:yaml.org,2002:"
SCALARS: dict[str, tuple[str, str, Callable[[str], object]]] = {  # YAML 1.2.2, 10.3.2: form, first signs, value
    "null": (r"~|null|Null|NULL|", "~nN", lambda text: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF", lambda text: text.lower() == "true"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789",
            lambda text: int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))),
    "float": (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+.0123456789",
              lambda text: float(re.sub(r"\.(?=[iInN])", "", text))),
}


class YAMLLimitError(ValueError):
    """A text is deeper or larger than any configuration; the message ends a sentence that begins with its place."""


def parse_yaml(text: str) -> Any:
    """Give what YAML holds, None where it is empty.

    Raises:
        YAMLLimitError: it is too large, too deep, or refers to itself.
        yaml.YAMLError: it is not YAML, or a key stands twice.
    """
    if len(text) > LARGEST:
        raise YAMLLimitError(f"has {len(text) / 1e6:.1f} MB, but a configuration has at most {LARGEST / 1e6:.1f}")
    if text.count("[") + text.count("{") + text.count("- ") > NESTED:
        _check_depth(text)
    root = _root(text)
    if root is None:
        return None
    _check_size(root)
    return _loader()("").construct_document(root)


def dump_yaml(values: Any) -> str:
    """Give plain values as YAML that `parse_yaml` reads back."""
    import yaml

    text: str = yaml.dump(values, Dumper=_dumper(), sort_keys=False, allow_unicode=True)
    return text


def _check_depth(text: str) -> None:
    """Count the depth without building anything: libyaml's own composer recurses until the process crashes."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise YAMLLimitError(_too_deep(event))


def _root(text: str) -> yaml.Node | None:
    """Parse YAML to its root node: by libyaml, many times as fast, unless something is wrong, which PyYAML words better."""
    import yaml

    loader = _loader()
    fast = type("Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),),
                {"yaml_implicit_resolvers": loader.yaml_implicit_resolvers})
    try:
        return yaml.compose(text, Loader=fast)
    except yaml.YAMLError:
        return yaml.compose(text, Loader=loader)


def _check_size(root: yaml.Node) -> None:
    """Count values as if every alias were written out; each node is looked at once."""
    sizes: dict[int, int | None] = {}  # None: being counted

    def size(node: yaml.Node, depth: int) -> int:
        if depth > DEEPEST:
            raise YAMLLimitError(_too_deep(node))
        if id(node) in sizes:
            known = sizes[id(node)]
            if known is None:
                raise YAMLLimitError(f"{_line(node)}a value holds itself by an alias")
            return known
        sizes[id(node)] = None
        _check_keys(node)
        children = [child for pair in node.value for child in (pair if isinstance(pair, tuple) else (pair,))] \
            if isinstance(node.value, list) else []
        found = sizes[id(node)] = 1 + sum(size(child, depth + 1) for child in children)
        return found

    total = size(root, 0)
    if total > MOST_VALUES:
        raise YAMLLimitError(f"holds {total} values with its aliases written out, but a configuration has at most"
                             f" {MOST_VALUES}")


def _check_keys(node: yaml.Node) -> None:
    """Raise yaml.YAMLError where a mapping has a key twice, which a loader would drop."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
            raise yaml.MarkedYAMLError(problem=f"found duplicate key {key.value}", problem_mark=key.start_mark)
        seen.add((key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key))


def _too_deep(found: yaml.Event | yaml.Node) -> str:
    return f"{_line(found)}mappings and lists lie more than {DEEPEST} deep in one another"


def _line(found: yaml.Event | yaml.Node) -> str:
    return f"line {found.start_mark.line + 1}: " if found.start_mark else ""


@cache
def _loader() -> type[yaml.SafeLoader]:
    """Give a loader of YAML 1.2's core schema, with merge keys; other tags are errors."""
    import yaml

    base = yaml.SafeLoader
    merge = [(tag, form) for tag, form in base.yaml_implicit_resolvers["<"] if tag == f"{TAG}merge"]
    kept = {tag: read for tag, read in base.yaml_constructors.items() if tag in (None, f"{TAG}str", f"{TAG}seq", f"{TAG}map")}
    own = {"yaml_implicit_resolvers": {"<": merge}, "yaml_constructors": kept}
    loader: type[yaml.SafeLoader] = type("Loader", (base,), own)
    _add_scalars(loader)
    for name in SCALARS:
        loader.add_constructor(f"{TAG}{name}", partial(_scalar, name=name))
    return loader


@cache
def _dumper() -> type[yaml.SafeDumper]:
    """Give a dumper that puts quotes around texts that YAML 1.1 or 1.2 would read as something else, and has no aliases."""
    import yaml

    dumper: type[yaml.SafeDumper] = type("Dumper", (yaml.SafeDumper,), {"ignore_aliases": lambda self, data: True})
    _add_scalars(dumper)
    return dumper


def _add_scalars(user: type[yaml.SafeLoader] | type[yaml.SafeDumper]) -> None:
    for name, (form, starts, _) in SCALARS.items():
        first = [*starts, ""] if name == "null" else [*starts]
        user.add_implicit_resolver(f"{TAG}{name}", re.compile(rf"(?:{form})\Z"), first)


def _scalar(loader: yaml.SafeLoader, node: yaml.ScalarNode, name: str) -> object:
    import yaml

    form, _, read = SCALARS[name]
    text = str(loader.construct_scalar(node))
    if not re.fullmatch(form, text):  # which its tag hides
        raise yaml.MarkedYAMLError(problem=f"{text!r} is tagged !!{name}, but is not one", problem_mark=node.start_mark)
    return read(text)
