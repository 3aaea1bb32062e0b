"""The small recipe with one thing changed: what the tests of plan, wiring and staging share."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest

from omnikit.errors import PlanError
from omnikit.plan.plan import Plan, make
from omnikit.recipe.presets import preset_fields
from omnikit.recipe.recipe import parse

GONE = object()
ROWS = {"use": "messages_jsonl", "path": "rows.jsonl"}


def changed(values: Mapping[str, Any], changes: Mapping[str, object]) -> Plan:
    """Make a plan of a recipe with dotted places set to other values, or removed."""
    copy = deepcopy(dict(values))
    for place, value in changes.items():
        *above, last = place.split(".")
        node: dict[str, Any] = copy
        for word in above:
            node = node.setdefault(word, {})
        node.pop(last, None)
        if value is not GONE:
            node[last] = deepcopy(value)
    return make(parse(copy, "changed"))


def pick(kind: str, name: str, **fields: object) -> dict[str, object]:
    return {**preset_fields(kind, name), **fields}


def mistakes(values: Mapping[str, Any], changes: Mapping[str, object]) -> list[str]:
    with pytest.raises(PlanError) as caught:
        changed(values, changes)
    return list(caught.value.sentences)
