"""YAML text: scalars against YAML 1.2's core schema, and what is too deep or too large."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from omnikit.errors import ConfigError
from omnikit.recipe.presets import mapping_of
from omnikit.recipe.yaml_text import YAMLLimitError, dump_yaml, parse_yaml

CORE: list[tuple[str, Any]] = [  # YAML 1.2.2, section 10.3.2
    ("yes", "yes"), ("No", "No"), ("on", "on"), ("true", True), ("False", False), ("12:30", "12:30"),
    ("190:20:30.15", "190:20:30.15"),
    ("010", 10), ("0o17", 15), ("0x1F", 31), ("0b11", "0b11"), ("1_000", "1_000"), ("1e-5", 1e-5), ("1.", 1.0), (".5", 0.5),
    ("-.inf", float("-inf")), ("2001-12-14", "2001-12-14"), ("~", None), ("null", None), ("Null", None), ("=", "="),
    ("-7", -7), ("+3", 3)]
BOMB = "a0: &a0 [1, 1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 25))


@pytest.mark.parametrize(("text", "value"), CORE)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    assert parse_yaml(f"x: {text}") == {"x": value}
    assert type(parse_yaml(f"x: {text}")["x"]) is type(value)


def test_texts_that_look_like_other_scalars_are_written_in_quotes() -> None:
    texts = [text for text, _ in CORE] + ["1e3", "08", "", "a: b", "- x", "#", "\u2028", "é", "\x07", "1\n"]
    assert parse_yaml(dump_yaml({"x": texts})) == {"x": texts}
    assert yaml.safe_load(dump_yaml({"x": texts})) == {"x": texts}, "as readers of YAML 1.1 read it"


def test_numbers_are_written_as_numbers() -> None:
    values = [1e-05, 1e20, 0.1, 15, -3, True, None, float("inf")]
    assert parse_yaml(dump_yaml(values)) == values == yaml.safe_load(dump_yaml(values))


def test_a_key_of_a_merged_mapping_may_be_replaced_at_any_depth() -> None:
    text = "z: &z {k: 0}\nx: {a: &a {<<: *z, k: 1}}\nc: {<<: *a}"
    assert parse_yaml(text) == {"z": {"k": 0}, "x": {"a": {"k": 1}}, "c": {"k": 1}}


def test_merge_keys_and_aliases_hold() -> None:
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a") == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1}}


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, "- " * 100_000, "x: " + "{a: " * 500 + "1" + "}" * 500])
def test_what_is_too_deep_is_refused(text: str) -> None:
    with pytest.raises(YAMLLimitError, match="line 1: mappings and lists lie more than 64 deep in one another"):
        parse_yaml(text)


def test_aliases_that_multiply_are_refused() -> None:
    with pytest.raises(YAMLLimitError, match="values with its aliases written out"):
        parse_yaml(BOMB)


def test_a_value_that_holds_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"x.yaml line 1: a value holds itself by an alias; fix the file"):
        mapping_of("x: &a [*a]", Path("x.yaml"))


def test_a_file_of_five_megabytes_is_refused() -> None:
    with pytest.raises(YAMLLimitError, match=r"has 5\.0 MB"):
        parse_yaml("x" * 5_000_000)


def test_a_duplicate_key_is_refused() -> None:
    with pytest.raises(yaml.YAMLError, match="duplicate key"):
        parse_yaml("a: 1\na: 2")
