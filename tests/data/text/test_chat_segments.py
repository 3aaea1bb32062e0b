"""Conversations that a tokenizer's own chat template renders: what is supervised, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from chat_folders import FAMILIES, IM, TAGGED, THINKING, Family, write_tokenizer
from transformers import AutoTokenizer

from omnikit.contracts.specs import Template
from omnikit.contracts.types import ContentPart, Message
from omnikit.data.text.templates import prompt, render
from omnikit.data.text.text_segments import TextSegment
from omnikit.data.text.tokenise import encode
from omnikit.data.text.tokenizer import load
from omnikit.errors import ConfigError, DataError
from omnikit.plan.chat_template import auto_template

Make = Callable[[str], tuple[Template, Path]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(source: str) -> tuple[Template, Path]:
        write_tokenizer(tmp_path, Family("llama", source, IM, "<|im_end|>"))
        return auto_template(str(tmp_path)), tmp_path
    return made


def talk(*texts: str) -> list[Message]:
    return [Message(("user", "assistant")[index % 2], (ContentPart("text", text=text),)) for index, text in enumerate(texts)]


def joined(segments: list[TextSegment]) -> str:
    return "".join(segment.text for segment in segments)


def supervised(segments: list[TextSegment]) -> list[str]:
    return [segment.text for segment in segments if segment.supervised]


def theirs(folder: Path, *texts: str) -> str:
    chat = [{"role": "assistant" if index % 2 else "user", "content": text} for index, text in enumerate(texts)]
    return str(AutoTokenizer.from_pretrained(folder).apply_chat_template(chat, tokenize=False))


TEXTS = ("Why?", "<think>\nLet me see.\n</think>\n\nSo.", " And now? ", "<think>\nHm.\n</think>\n\nYes.")


def test_thoughts_that_the_template_drops_are_not_supervised(make: Make) -> None:
    template, folder = make(THINKING)
    segments = render(talk(*TEXTS), template)
    assert joined(segments) == theirs(folder, *TEXTS)
    assert supervised(segments) == ["So.<|im_end|>", "<think>\nHm.\n</think>\n\nYes.<|im_end|>"]


def test_generation_tags_of_a_template_decide_what_is_supervised(make: Make) -> None:
    template, folder = make(TAGGED.replace("{{ message.content +", "{{ 'So: ' + message.content +"))
    segments = render(talk("Why?", "Yes."), template)
    assert (joined(segments), supervised(segments)) == (theirs(folder, "Why?", "Yes."), ["So: Yes.<|im_end|>"])


def test_media_stand_where_they_stand_in_their_message(make: Make) -> None:
    template, _ = make(THINKING)
    audio = ContentPart("audio", audio="a.wav")
    asked = Message("user", (ContentPart("text", text="Listen: "), audio, ContentPart("text", text=" Well?")))
    segments = prompt([asked], template)
    assert [segment.media or segment.text for segment in segments] == [
        "<|im_start|>user\nListen: ", audio, " Well?<|im_end|>\n<|im_start|>assistant\n"]


def test_end_of_an_answer_that_was_cut_is_left_out(make: Make) -> None:
    template, _ = make(THINKING)
    question, answer = talk("Why?", "Because")
    assert supervised(render([question, replace(answer, cut=True)], template)) == ["<think>\n\n</think>\n\nBecause"]


def test_control_token_that_a_user_typed_is_letters(make: Make) -> None:
    template, folder = make(THINKING)
    tokenizer = load(str(folder))
    texts = ("Print <|im_end|> please.", "<|im_start|> it is.")
    ids = [i for span in encode(render(talk(*texts), template), template, tokenizer) for i in span.ids]
    assert [tokenizer.text_with_specials([i]) for i in ids if i < len(IM)] == [
        "<|im_start|>", "<|im_end|>", "<|im_start|>", "<|im_end|>"]
    assert tokenizer.text_with_specials(ids) == joined(render(talk(*texts), template))


def test_system_prompt_of_the_recipe_is_put_in_front(make: Make) -> None:
    template, _ = make(THINKING)
    segments = prompt(talk("Why?"), replace(template, default_system="Be kind."))
    assert joined(segments).startswith("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n")


def test_what_a_template_refuses_is_a_sentence(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, FAMILIES["mistral"])
    template = replace(auto_template(str(tmp_path)), default_system="Be kind.")
    with pytest.raises(DataError, match=r"Only user and assistant roles are supported!.*template=NAME"):
        prompt(talk("Why?"), template)


@pytest.mark.parametrize(("source", "message"), [
    pytest.param("{% for m in messages %}{{ m.content }}\n{% endfor %}", "writes no token that ends an answer", id="no end"),
    pytest.param("{% for m in messages %}{{ m.content + '<|im_end|>' }}{% endfor %}{{ '<think>' if add_generation_prompt }}",
                 "asks for an answer otherwise than it writes one", id="other opening"),
    pytest.param("{{ messages[0].content }}<|im_end|>", "leaves an answer out", id="no answer"),
    pytest.param("{% if %}", "is not Jinja", id="no Jinja"),
    pytest.param("{{ ''.__class__.__mro__[1].__subclasses__() }}", "does not take such a conversation", id="unsafe"),
    pytest.param("{{ messages.append({}) }}", "does not take such a conversation", id="changes its input"),
])
def test_ambiguous_template_asks_for_one_by_name(make: Make, source: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"{message}.*template=NAME"):
        make(source)
