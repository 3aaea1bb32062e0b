"""Quoted values against Hydra's own parser."""

import random
import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from omnikit.recipe.quoting import pasted, quoted

SIGNS = 'ab1 .=(@#\'"~{}[]\\,:$%ü/-+*?|\t&!<>;'
KNOWN = ["", "null", "True", "1e5", "nan", "inf", "-3", ".5", "3a", "../a", "a/b", "~/x", "C:\\x", "\\", '"', '\\"', "it's",
         "epoch=3.jsonl"]


@pytest.mark.parametrize("value", KNOWN)
def test_hydra_reads_a_quoted_text_back(value: str) -> None:
    assert OverridesParser.create().parse_override(f"key={quoted(value)}").value() == value


def test_hydra_reads_any_signs_back() -> None:
    parser, draw = OverridesParser.create(), random.Random(0)
    values = ["".join(draw.choices(SIGNS, k=draw.randint(0, 8))) for _ in range(500)]
    assert [parser.parse_override(f"key={quoted(value)}").value() for value in values] == values


def test_a_path_stays_without_quotes() -> None:
    assert pasted("run", "runs/llama_omni/tiny") == "run=runs/llama_omni/tiny"


def test_a_shell_reads_a_pasted_override_as_one_word() -> None:
    assert shlex.split(pasted("out", 'a b/ü"')) == ['out="a b/ü\\""']
