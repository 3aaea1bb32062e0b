"""The ids of a prompt are the first of the ids that training takes, or the row is refused; three tokenizer families."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from doubles import FakeBackbone, make_plan
from families import CUTTING, MERGING, SPECIALS, write
from tokenizers import Tokenizer as Fast

from omnikit.contracts.specs import Template
from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.batch.collate import Collator
from omnikit.data.text.templates import prompt, render
from omnikit.data.text.tokenise import TokenSpan, encode
from omnikit.data.text.tokenizer import Tokenizer, load
from omnikit.errors import DataError
from omnikit.plan.plan import Plan
from omnikit.recipe.presets import read_mapping
from omnikit.recipe.schema import construct
from omnikit.registry import preset

AUDIO = ContentPart("audio", path="q.wav")
TEMPLATES = ("llama_omni", "llama_omni_one_bos", "llama_omni_two_bos", "qwen2p5_vita", "nemo", "mixtral_two")
ANSWERS = ("Hello there", "Me too", "7 of them")
PLAIN = Template("", "[{content}]", "<{content}>", "=", "$", (), pieces=True)


def template_of(name: str) -> Template:
    found, errors = preset("template", name), list[str]()
    template = construct(Template, read_mapping(found.path), name, errors) if found else None
    assert template is not None, errors
    return template


def turns(*answers: str, spoken: bool = True) -> list[Message]:
    asked = Message("user", (AUDIO,) if spoken else (ContentPart("text", text="Who is it?"),))
    return [message for answer in answers for message in (asked, Message("assistant", (ContentPart("text", text=answer),)))]


def mismatches(messages: list[Message], template: Template, path: str) -> list[str]:
    return [piece.mismatch for piece in encode(render(messages, template), template, load(path)) if piece.mismatch]


def flat(pieces: list[TokenSpan]) -> list[tuple[int, bool]]:
    """Ids with whether they are supervised; a medium is -1."""
    return [(i, mark) for piece in pieces
            for i, mark in ([(-1, False)] if piece.media else zip(piece.ids, piece.supervised, strict=True))]


@pytest.mark.parametrize("spoken", [True, False], ids=["spoken", "written"])
@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("family", CUTTING)
def test_prompts_ids_are_the_first_of_the_rows_and_the_rest_is_supervised(tmp_path: Path, family: str, name: str,
                                                                          spoken: bool) -> None:
    template, tokenizer = template_of(name), load(write(tmp_path, CUTTING[family]()))
    messages = turns(*ANSWERS, spoken=spoken)
    whole = list(encode(render(messages, template), template, tokenizer))
    asked = flat(list(encode(prompt(messages[:-1], template), template, tokenizer)))
    seen = [i for i, _ in flat(whole)]
    assert not any(piece.mismatch for piece in whole)
    assert seen[: len(asked)] == [i for i, _ in asked]
    assert all(mark for _, mark in flat(whole)[len(asked):]) and tokenizer.text(seen[len(asked):]).endswith(ANSWERS[-1])


@pytest.mark.parametrize(("family", "name", "merged", "alone"), [
    ("byte-level BPE", "llama_omni", r"'\n' (id ", r"'\n\n' (id "),
    ("sentencepiece BPE", "llama_omni", r"'\n\nHe' (id ", r"'\n\n' (id "),
    ("unigram", "llama_omni", r"'\n\nHe' (id ", r"'\n\n' (id "),
    ("sentencepiece BPE", "qwen2p5_vita", r"'\n☞' (id ", r"'\n' (id "),
    ("unigram", "qwen2p5_vita", r"'\n☞' (id ", r"'\n' (id "),
    ("sentencepiece BPE", "mixtral_two", "':<' (id ", "':' (id "),
    ("unigram", "mixtral_two", "':<' (id ", "':' (id "),
])
def test_token_that_joins_header_and_answer_is_named(tmp_path: Path, family: str, name: str, merged: str, alone: str) -> None:
    path = write(tmp_path, MERGING[family]())
    sentence, = mismatches(turns("Hello"), template_of(name), path)
    assert f" the tokenizer writes {merged}" in sentence and f" where the answer follows, but {alone}" in sentence


@pytest.mark.parametrize("place", range(3))
def test_any_answer_of_a_conversation_is_compared(tmp_path: Path, place: int) -> None:
    answers = ["Me too"] * 3
    answers[place] = "Hello"
    path = write(tmp_path, MERGING["unigram"]())
    assert len(mismatches(turns(*answers), template_of("llama_omni"), path)) == 1
    assert len(mismatches(turns(*answers, spoken=False), template_of("llama_omni"), path)) == 1


def test_token_that_joins_an_answers_end_and_the_next_turn_is_named() -> None:
    tokenizer = Tokenizer(Pairs("$<"))
    sentence, = {piece.mismatch for piece in encode(render(turns("a", "b", spoken=False), PLAIN), PLAIN, tokenizer)}
    assert "writes '$<' (id 1) where the next turn follows, but '$' (id 36) where nothing does" in sentence


def test_id_that_a_tokenizer_adds_at_the_end_is_named() -> None:
    sentence, = {piece.mismatch for piece in encode(render(turns("a"), PLAIN), PLAIN, Tokenizer(Pairs(ends=True)))} - {""}
    assert "the tokenizer writes 'a' (id 97) where the answer follows, but '^' (id 94) where nothing does" in sentence


def test_answer_whose_first_id_is_dropped_is_named() -> None:
    template = replace(PLAIN, bos="^", user="{content}", assistant="", adds_bos=False)
    sentence, = {piece.mismatch for piece in encode(render(turns("ab"), template), template, Tokenizer(Pairs()))} - {""}
    assert "right behind a medium, where the template drops the first id, 'a' (id 97)" in sentence


def test_comparison_tokenises_nothing_more_than_the_run_and_its_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnikit.data.text.tokenizer.CACHED_CHARACTERS", 0)  # nothing is remembered
    coder = Pairs()
    list(encode(render(turns("answer", spoken=False), PLAIN), PLAIN, Tokenizer(coder)))
    assert coder.asked == ["", "<Who is it?>=answer$", "<Who is it?>="]  # what it adds by itself, run, prompt


@pytest.fixture
def plan(tmp_path: Path) -> Callable[[Fast], Plan]:
    """A plan of a backbone with a tokenizer and LLaMA-Omni's template."""
    def make(made: Fast) -> Plan:
        path = write(tmp_path, made)
        backbone = FakeBackbone(path, vocabulary=1000, context=4096, specials=SPECIALS)
        return replace(make_plan(path), tokenizer=path, backbone=backbone, template=template_of("llama_omni"))
    return make


@pytest.mark.parametrize("family", MERGING)
def test_collator_refuses_the_row(plan: Callable[[Fast], Plan], family: str) -> None:
    with pytest.raises(DataError, match=r"Row r7: behind '.*' the tokenizer writes .*; choose a template") as caught:
        Collator(plan(MERGING[family]()), ["text"]).row(Sample("r7", tuple(turns("Hello", spoken=False))))
    assert caught.value.kind == "merged token"


@pytest.mark.parametrize("family", MERGING)
def test_question_is_asked_whatever_its_row_answers(plan: Callable[[Fast], Plan], family: str) -> None:
    made = plan(MERGING[family]())
    asked = Collator(made, ["text"], prompt_only=True).row(Sample("r7", tuple(turns("Hello", spoken=False))))
    assert made.tokenizer and load(made.tokenizer).text_with_specials(asked.tokens).endswith("<|end_header_id|>\n\n")


class Pairs:
    """One id a letter, but a pair is a single one; with `ends`, "^" stands behind each text."""

    def __init__(self, pair: str = "\0\0", ends: bool = False) -> None:
        self.pair, self.ends, self.asked = pair, ends, list[str]()

    def __len__(self) -> int:
        return 256

    def encode(self, text: str, /, *, add_special_tokens: bool) -> list[int]:
        self.asked.append(text)
        return [ord(letter) for letter in text.replace(self.pair, "\1") + "^" * (add_special_tokens and self.ends)]

    def decode(self, ids: list[int], /, *, skip_special_tokens: bool) -> str:
        return "".join(map(chr, ids)).replace("\1", self.pair)
