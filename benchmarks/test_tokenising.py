"""Tokenising conversations of more and more turns, with templates that tokenise header and answer together: linear in turns."""

import random

import pytest
from bench_table import Measures, Ratio, processor_time

from omnikit import registry
from omnikit.contracts.specs import Template
from omnikit.contracts.types import ContentPart, Message
from omnikit.data.text.templates import render
from omnikit.data.text.tokenise import encode
from omnikit.data.text.tokenizer import Tokenizer
from omnikit.recipe import presets
from omnikit.recipe.schema import construct
from omnikit.store.tokenizer_files import load_tokenizer

TURNS, TIMES, LIMIT, ROUNDS = 5, 8, 14.0, 5  # 8 times the turns for at most so many times the time
WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "many", "birds", "sing")


def conversation(turns: int) -> list[Message]:
    chance = random.Random(0)

    def text(length: int) -> tuple[ContentPart, ...]:
        return (ContentPart("text", text=" ".join(chance.choices(WORDS, k=length))),)

    return [message for _ in range(turns) for message in (Message("user", text(60)), Message("assistant", text(120)))]


@pytest.mark.parametrize("name", ["qwen2p5_vita", "mixtral_two"])
def test_time_grows_with_the_turns_and_not_with_their_square(measures: Measures, name: str) -> None:
    file = registry.preset("template", name)
    assert file is not None
    template = construct(Template, presets.read_mapping(file.path), name, [])
    assert template is not None
    coder = load_tokenizer("tiny")

    def ids(turns: int) -> int:
        tokenizer = Tokenizer(coder)  # its cache is empty
        return sum(len(span.ids) for span in encode(render(conversation(turns), template), template, tokenizer))

    assert ids(TURNS) < ids(TURNS * TIMES)
    measures.compare({"few": processor_time(lambda: ids(TURNS)), "many": processor_time(lambda: ids(TURNS * TIMES))},
                     Ratio(f"tokenising {TURNS * TIMES} turns / {TURNS} turns, {name}", "many", "few", most=LIMIT),
                     rounds=ROUNDS)
