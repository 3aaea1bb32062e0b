"""Segments as ids: each alone, or whole runs by the rule of LLaVA's code with and without a tokenizer's own BOS."""

import re
from dataclasses import replace

import pytest

from omnikit.contracts.specs import Template
from omnikit.contracts.types import ContentPart, Message
from omnikit.data.text.templates import prompt, render
from omnikit.data.text.tokenise import TokenSpan, encode
from omnikit.data.text.tokenizer import Tokenizer
from omnikit.recipe.presets import read_mapping
from omnikit.recipe.schema import construct
from omnikit.registry import preset

AUDIO = ContentPart("audio", path="q.wav")
TEMPLATE = Template("^", "[{content}]", "<{content}>", "=", "$", (), pieces=True)


class Letters:
    """One id a letter, but "=x" is a single one; with `adds`, "^" stands before each text."""

    def __init__(self, adds: bool = False) -> None:
        self.adds = adds

    def __len__(self) -> int:
        return 256

    def encode(self, text: str, /, *, add_special_tokens: bool) -> list[int]:
        return [ord(letter) for letter in "^" * (add_special_tokens and self.adds) + text.replace("=x", "#")]

    def decode(self, ids: list[int], /, *, skip_special_tokens: bool) -> str:
        return "".join(map(chr, ids))


def question(answer: str) -> list[Message]:
    return [Message("user", (ContentPart("text", text="h"), AUDIO, ContentPart("text", text="w"), AUDIO)),
            Message("assistant", (ContentPart("text", text=answer),))]


def pieces(template: Template, answer: str = "y", adds: bool = False) -> list[TokenSpan]:
    return list(encode(render(question(answer), template), template, Tokenizer(Letters(adds))))


def written(found: list[TokenSpan]) -> list[str]:
    return ["@" if piece.media else "".join(map(chr, piece.ids)) for piece in found]


def supervised(found: list[TokenSpan]) -> str:
    marks = [(chr(i), mark) for piece in found for i, mark in zip(piece.ids, piece.supervised, strict=True)]
    return "".join(letter for letter, mark in marks if mark)


@pytest.mark.parametrize(("adds", "forced", "expected"), [
    (True, None, ["^^<h", "@", "w", "@", ">=y$"]),
    (False, None, ["^<h", "@", "", "@", "=y$"]),
    (False, True, ["^^<h", "@", "w", "@", ">=y$"]),
    (True, False, ["^<h", "@", "", "@", "=y$"]),
], ids=["two", "one", "two by force", "one by force"])
def test_every_run_loses_its_first_id_but_the_first_run(adds: bool, forced: bool | None, expected: list[str]) -> None:
    found = pieces(replace(TEMPLATE, adds_bos=forced), adds=adds)
    assert written(found) == expected
    assert supervised(found) == "y$"


def test_header_and_answer_are_tokenised_together() -> None:
    assert written(pieces(TEMPLATE, answer="xz"))[-1] == "#z$"


def test_answers_count_from_the_ids_before_them() -> None:
    assert supervised(pieces(TEMPLATE, answer="xz")) == "z$"  # "=" alone is one id, and so is "=x"


def test_without_pieces_an_answer_is_tokenised_alone() -> None:
    found = pieces(replace(TEMPLATE, pieces=False), answer="xz", adds=True)
    assert written(found) == ["^<h", "@", "w", "@", ">=", "xz$"]
    assert supervised(found) == "xz$"


@pytest.mark.parametrize(("fields", "text"), [
    ({"bos": "", "pieces": True, "adds_bos": True}, "adds_bos is set, but bos is empty"),
    ({"bare_text": True}, "bare_text is true, but only templates with `pieces: true` read it"),
    ({"states": {"noisy": "!"}}, "states has the key 'noisy', but takes only audio, noise, text"),
    ({"states": {"noise": "!", "text": "!"}}, "each state must have a text of its own"),
    ({"systems": {"audio": "Hear."}}, "systems has the key 'audio', but takes only text, image, video"),
    ({"adds_bos": False}, "adds_bos is false, but only templates with `pieces: true` read it"),
], ids=["no bos", "no pieces", "bare text", "state", "two states", "system"])
def test_fields_that_contradict_are_refused(fields: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        replace(Template("^", "", "", "", "", ()), **fields)  # type: ignore[arg-type]  # wrong on purpose


class Words:
    """Each word, mark, line break and special token is one id, as in Llama 3's vocabulary; nothing is added."""

    def __len__(self) -> int:
        return 1

    def encode(self, text: str, /, *, add_special_tokens: bool) -> list[int]:
        return [int(word == "<|begin_of_text|>") for word in re.findall(r"<\|\w+\|>|'s|\n+| ?\w+|[.,]", text)]

    def decode(self, ids: list[int], /, *, skip_special_tokens: bool) -> str:
        return ""


@pytest.mark.parametrize(("name", "place", "count"), [
    ("llama_omni_two_bos", 46, 64), ("llama_omni_one_bos", 45, 62), ("llama_omni", 45, 62)])
def test_llama_omnis_prompt_has_the_recorded_length(name: str, place: int, count: int) -> None:
    template = read_template(name)
    messages = [Message("user", (AUDIO,))]
    ids = [i for piece in encode(prompt(messages, template), template, Tokenizer(Words()))
           for i in ([-200] if piece.media else piece.ids)]
    assert (ids.index(-200), len(ids)) == (place, count)  # fact sheet 4.3; the fork's notes have 45 and 62


def test_the_presets_differ_in_their_bos_alone() -> None:
    either = read_template("llama_omni")
    assert replace(either, adds_bos=True) == read_template("llama_omni_two_bos")
    assert replace(either, adds_bos=False) == read_template("llama_omni_one_bos")


def read_template(name: str) -> Template:
    found, errors = preset("template", name), list[str]()
    template = construct(Template, read_mapping(found.path), name, errors) if found else None
    assert template is not None, errors
    return template


def test_new_texts_take_no_more_memory_in_the_end() -> None:
    tokenizer = Tokenizer(Letters())
    for number in range(2000):
        tokenizer.ids(str(number))
    assert tokenizer._encode.cache_info().currsize <= 512
