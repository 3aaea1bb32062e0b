"""Conversations as segments."""

from dataclasses import replace

import pytest
from doubles import TEMPLATE

from omnikit.data.templates import Segment, prompt, render, said
from omnikit.specs import Template
from omnikit.types import Message, Part

AUDIO = Part("audio", path="q.wav")
LLAMA = Template("<B>", "<S>{content}</S>", "<U>{content}</U>", "<A>", "</A>", (), default_system="Be kind.")


def user(*parts: Part) -> Message:
    return Message("user", parts)


def text(words: str) -> Part:
    return Part("text", text=words)


def bot(words: str) -> Message:
    return Message("assistant", (text(words), Part("audio", path="a.wav")))


def test_render_splits_at_media_and_supervises_answer_and_end() -> None:
    assert render([user(AUDIO, text("Now answer.")), bot("Yes.")], LLAMA) == [
        Segment("<B><S>Be kind.</S><U>"), Segment(media=AUDIO), Segment("Now answer.</U><A>"), Segment("Yes.</A>", True)]


def test_own_system_prompt_replaces_the_default() -> None:
    messages = [Message("system", (text("Be brief."),)), user(text("Hi")), bot("Hi")]
    assert render(messages, LLAMA)[0].text == "<B><S>Be brief.</S><U>Hi</U><A>"


def test_every_turn_is_supervised() -> None:
    rendered = render([user(text("a")), bot("b"), user(text("c")), bot("d")], LLAMA)
    assert [s.text for s in rendered if s.supervised] == ["b</A>", "d</A>"]


def test_neighbouring_media_stay_apart() -> None:
    assert [s.media for s in render([user(AUDIO, AUDIO), bot("x")], TEMPLATE) if s.media] == [AUDIO, AUDIO]


def test_prompt_is_what_stands_before_the_answer() -> None:
    messages = [user(text("a")), bot("b"), user(AUDIO), bot("d")]
    assert prompt(messages, LLAMA) == render(messages, LLAMA)[:-1]


def test_said_gives_the_answers() -> None:
    assert said([user(text("a")), bot("b"), user(text("c")), bot("d")]) == ["b", "d"]


SPOKEN = replace(LLAMA, behind_audio="\n", instruction="Answer.", strip=True)


@pytest.mark.parametrize(("parts", "behind"), [
    ((AUDIO,), "\nAnswer.</U><A>"),
    ((AUDIO, text("And now? ")), "\nAnd now?</U><A>"),
    ((AUDIO, text(" ")), "\n Answer.</U><A>"),
    ((text(" Hear: "), AUDIO), "</U><A>"),
], ids=["alone", "with text", "with space", "behind text"])
def test_what_stands_behind_audio(parts: tuple[Part, ...], behind: str) -> None:
    segments = render([user(*parts), bot("x")], SPOKEN)
    place = next(index for index, segment in enumerate(segments) if segment.media)
    assert segments[place + 1].text == behind


def test_space_around_messages_is_dropped() -> None:
    segments = render([user(text(" \nHow? ")), bot(" So. ")], SPOKEN)
    assert [segment.text for segment in segments] == ["<B><S>Be kind.</S><U>How?</U><A>", "So.</A>"]


def test_an_empty_system_prompt_leaves_its_block_out() -> None:
    assert render([Message("system", (text(""),)), user(text("Hi")), bot("Hi")], LLAMA)[0].text == "<B><U>Hi</U><A>"
