from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from fractions import Fraction
from typing import Any, Literal

import pytest
from omegaconf import OmegaConf

from omnikit import registry
from omnikit.contracts.specs import KINDS
from omnikit.recipe.recipe import Stage
from omnikit.recipe.schema import construct, convert, defaults, editable, key_paths, plain

COMPONENTS = [(kind, name) for kind in KINDS for name in registry.components(kind)]


@dataclass(frozen=True)
class Inner:
    size: int = 1


@dataclass(frozen=True)
class Outer:
    name: str
    width: int = 8
    rate: float = 0.5
    causal: bool = True
    pace: Fraction = Fraction(1, 2)
    mode: Literal["cosine", "linear"] = "cosine"
    limit: int | None = None
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[int, str] = (1, "a")
    inner: Inner = Inner()
    shares: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width is {self.width}, but must be at least 1")


def mistakes(**values: object) -> list[str]:
    errors: list[str] = []
    made = construct(Outer, {"name": "x", **values}, "audio.encoder", errors)
    assert (made is None) == bool(errors)
    return errors


def test_construct_fills_fields_and_keeps_defaults() -> None:
    errors: list[str] = []
    values = {"name": "x", "rate": 2, "pace": "1/3", "limit": 4, "sizes": [3], "pair": [2, "b"], "inner": {"size": 5},
              "shares": {"a": 1}}
    made = construct(Outer, values, "here", errors)
    assert errors == []
    assert made == Outer("x", 8, 2.0, True, Fraction(1, 3), "cosine", 4, (3,), (2, "b"), Inner(5), {"a": 1.0})


def test_construct_makes_floats_of_whole_numbers() -> None:
    made = construct(Outer, {"name": "x", "rate": 2}, "here", [])
    assert made is not None and isinstance(made.rate, float)


@pytest.mark.parametrize(("values", "sentence"), [
    ({"widht": 3}, "audio.encoder.widht is not a field of Outer. Did you mean 'width'? It has: causal, inner, limit,"
                   " mode, name, pace, pair, rate, shares, sizes, width."),
    ({"width": "wide"}, "audio.encoder.width is 'wide', but must be a whole number."),
    ({"width": 2.5}, "audio.encoder.width is 2.5, but must be a whole number."),
    ({"width": True}, "audio.encoder.width is True, but must be a whole number."),
    ({"width": None}, "audio.encoder.width is None, but must be a whole number."),
    ({"width": 0}, "audio.encoder: width is 0, but must be at least 1."),
    ({"rate": "fast"}, "audio.encoder.rate is 'fast', but must be a number."),
    ({"causal": 1}, "audio.encoder.causal is 1, but must be true or false."),
    ({"pace": "1/0"}, "audio.encoder.pace is '1/0', but must be a fraction."),
    ({"mode": "cosin"}, "audio.encoder.mode is 'cosin', but must be one of cosine, linear. Did you mean 'cosine'?"),
    ({"limit": "none"}, "audio.encoder.limit is 'none', but must be a whole number."),
    ({"sizes": 3}, "audio.encoder.sizes is 3, but must be a list."),
    ({"sizes": "abc"}, "audio.encoder.sizes is 'abc', but must be a list."),
    ({"sizes": [1, "b"]}, "audio.encoder.sizes[1] is 'b', but must be a whole number."),
    ({"pair": [1]}, "audio.encoder.pair has 1 values, but must have 2."),
    ({"inner": {"sise": 2}}, "audio.encoder.inner.sise is not a field of Inner. Did you mean 'size'? It has: size."),
    ({"inner": 3}, "audio.encoder.inner is 3, but must be a mapping."),
    ({"shares": [1]}, "audio.encoder.shares is [1], but must be a mapping."),
    ({"shares": {"a": "b"}}, "audio.encoder.shares.a is 'b', but must be a number."),
], ids=str)
def test_construct_names_what_is_wrong_where(values: dict[str, object], sentence: str) -> None:
    assert mistakes(**values) == [sentence]


def test_construct_names_a_missing_field() -> None:
    errors: list[str] = []
    assert construct(Outer, {}, "data.rows", errors) is None
    assert errors == ["data.rows.name is missing, but Outer needs a word there."]


def test_construct_reports_every_mistake_at_once() -> None:
    assert len(mistakes(width="wide", rate="fast", mode="no", nonsense=1)) == 4


def test_convert_of_a_union_lists_all_that_would_do() -> None:
    errors: list[str] = []
    convert([], int | str, "x", errors)
    assert errors == ["x is [], but must be a whole number or a word."]


def test_defaults_are_plain_values_and_mark_what_is_missing() -> None:
    assert defaults(Outer) == {"name": "???", "width": 8, "rate": 0.5, "causal": True, "pace": "1/2", "mode": "cosine",
                               "limit": None, "sizes": [1, 2], "pair": [1, "a"], "inner": {"size": 1}, "shares": {}}


def test_plain_and_construct_are_inverse() -> None:
    made = Outer("x", pace=Fraction(2, 3), sizes=(4, 5), shares={"a": 0.5})
    assert construct(Outer, plain(made), "here", []) == made


@pytest.mark.parametrize(("values", "paths"), [
    ({"a": {"_target_": 1}}, ["a._target_"]),
    ({"_target_": {"_target_": 1}}, ["_target_", "_target_._target_"]),
    ({"a": [{"b": {"_target_": 1}}]}, ["a[0].b._target_"]),
    ({"a": "_target_"}, []),
], ids=str)
def test_key_paths_finds_a_key_at_any_depth(values: Mapping[str, Any], paths: list[str]) -> None:
    assert key_paths("_target_", values) == paths


def test_editable_gives_a_node_that_can_be_written() -> None:
    node = OmegaConf.structured(editable(Stage))
    node.objective, node.optim.lr = "units", 3
    assert (node.objective, node.optim.lr) == ("units", 3.0)


def test_editable_keeps_every_default() -> None:
    assert OmegaConf.to_container(OmegaConf.structured(editable(Stage))) == defaults(Stage)


@pytest.mark.parametrize(("kind", "name"), COMPONENTS, ids="/".join)
def test_every_component_is_frozen_and_its_defaults_are_yaml(kind: str, name: str) -> None:
    cls = registry.component(kind, name)
    assert is_dataclass(cls) and cls.__dataclass_params__.frozen  # type: ignore[attr-defined]  # set by the decorator
    written = defaults(cls)
    assert OmegaConf.to_container(OmegaConf.create(OmegaConf.to_yaml(OmegaConf.create(written)))) == written


@pytest.mark.parametrize(("kind", "name"), COMPONENTS, ids="/".join)
def test_every_component_has_a_one_line_summary(kind: str, name: str) -> None:
    line = (registry.component(kind, name).__doc__ or "").partition("\n")[0]
    assert line.endswith((".", ";")) and "(" not in line[:1] and len(line) < 130
