"""YAML text to plain values: scalars as YAML 1.2 reads them, and bounds on depth, size and what aliases expand to.

PyYAML reads YAML 1.1, where `yes` is true, `12:30` is 750 and `010` is 8, and it recurses without a bound.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import yaml

LARGEST = 4 * 2**20  # characters of a file
DEEPEST = 64  # mappings and lists in one another
MOST_VALUES = 50_000  # with every alias written out
NESTED = 2000  # brackets and list marks, up to which libyaml may recurse whatever they mean

NULL = re.compile(r"~|null|Null|NULL|")
BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


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
        children = [child for pair in node.value for child in (pair if isinstance(pair, tuple) else (pair,))] \
            if isinstance(node.value, list) else []
        found = sizes[id(node)] = 1 + sum(size(child, depth + 1) for child in children)
        return found

    total = size(root, 0)
    if total > MOST_VALUES:
        raise YAMLLimitError(f"holds {total} values with its aliases written out, but a configuration has at most"
                             f" {MOST_VALUES}")


def _too_deep(found: yaml.Event | yaml.Node) -> str:
    return f"{_line(found)}mappings and lists lie more than {DEEPEST} deep in one another"


def _line(found: yaml.Event | yaml.Node) -> str:
    return f"line {found.start_mark.line + 1}: " if found.start_mark else ""


@cache
def _loader() -> type[yaml.SafeLoader]:
    """Give a loader that refuses a key that stands twice, as OmegaConf's (which is not exported), with scalars of YAML 1.2."""
    from omegaconf._utils import get_yaml_loader

    base: type[yaml.SafeLoader] = get_yaml_loader()
    loader: type[yaml.SafeLoader] = type("Loader", (base,), {"yaml_implicit_resolvers": {}})
    for tag, form, starts in (("null", NULL, [*"~nN", ""]), ("bool", BOOL, [*"tTfF"]), ("int", INT, [*"-+0123456789"]),
                              ("float", FLOAT, [*"-+.0123456789"])):
        loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{form.pattern})$"), starts)
    merge = [(tag, form) for tag, form in base.yaml_implicit_resolvers.get("<", []) if tag.endswith("merge")]
    loader.yaml_implicit_resolvers["<"] = merge

    def integer(self: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
        value = str(self.construct_scalar(node))
        return int(value, {"0o": 8, "0x": 16}.get(value[:2], 10))

    loader.add_constructor("tag:yaml.org,2002:int", integer)
    return loader
