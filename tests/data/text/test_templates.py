"""Conversations as segments."""

import hashlib
from dataclasses import replace

import pytest
from doubles import TEMPLATE

from omnikit.contracts.specs import Template
from omnikit.contracts.types import ContentPart, Message
from omnikit.data.text.templates import TextSegment, answer_texts, prompt, render
from omnikit.errors import DataError
from omnikit.recipe.presets import read_mapping
from omnikit.recipe.schema import construct
from omnikit.registry import preset

AUDIO = ContentPart("audio", path="q.wav")
LLAMA = Template("<B>", "<S>{content}</S>", "<U>{content}</U>", "<A>", "</A>", (), default_system="Be kind.")


def user(*parts: ContentPart) -> Message:
    return Message("user", parts)


def text(words: str) -> ContentPart:
    return ContentPart("text", text=words)


def bot(words: str) -> Message:
    return Message("assistant", (text(words), ContentPart("audio", path="a.wav")))


def test_render_splits_at_media_and_supervises_answer_and_end() -> None:
    assert render([user(AUDIO, text("Now answer.")), bot("Yes.")], LLAMA) == [
        TextSegment("<B><S>Be kind.</S><U>"), TextSegment(media=AUDIO), TextSegment("Now answer.</U><A>"),
        TextSegment("Yes.</A>", True)]


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


def test_answer_texts_are_those_of_the_assistant() -> None:
    assert answer_texts([user(text("a")), bot("b"), user(text("c")), bot("d")]) == ["b", "d"]


SPOKEN = replace(LLAMA, behind_audio="\n", instruction="Answer.", strip=True)


@pytest.mark.parametrize(("parts", "behind"), [
    ((AUDIO,), "\nAnswer.</U><A>"),
    ((AUDIO, text("And now? ")), "\nAnd now?</U><A>"),
    ((AUDIO, text(" ")), "\n Answer.</U><A>"),
    ((text(" Hear: "), AUDIO), "</U><A>"),
], ids=["alone", "with text", "with space", "behind text"])
def test_text_behind_audio(parts: tuple[ContentPart, ...], behind: str) -> None:
    segments = render([user(*parts), bot("x")], SPOKEN)
    place = next(index for index, segment in enumerate(segments) if segment.media)
    assert segments[place + 1].text == behind


def test_space_around_messages_is_dropped() -> None:
    segments = render([user(text(" \nHow? ")), bot(" So. ")], SPOKEN)
    assert [segment.text for segment in segments] == ["<B><S>Be kind.</S><U>How?</U><A>", "So.</A>"]


def test_an_empty_system_prompt_leaves_its_block_out() -> None:
    assert render([Message("system", (text(""),)), user(text("Hi")), bot("Hi")], LLAMA)[0].text == "<B><U>Hi</U><A>"


IMAGE, VIDEO = ContentPart("image", path="p.png"), ContentPart("video", path="v.mp4")
STATES = replace(LLAMA, states={"audio": "1", "noise": "2", "text": "3"}, systems={"text": "T", "image": "I", "video": "V"})


def answers(messages: list[Message], template: Template = STATES) -> list[str]:
    return [segment.text for segment in render(messages, template) if segment.supervised]


def test_state_follows_whether_the_last_question_was_spoken() -> None:
    assert answers([user(AUDIO), bot("a"), user(text("b")), bot("c")]) == ["1a</A>", "3c</A>"]


def test_state_of_a_row_comes_first() -> None:
    assert answers([user(AUDIO), replace(bot("a"), state="noise")]) == ["2a</A>"]


def test_unknown_state_is_refused() -> None:
    with pytest.raises(DataError, match=r"state 'noise', but the template has audio; give it one of them\."):
        answers([user(AUDIO), replace(bot("a"), state="noise")], replace(STATES, states={"audio": "1"}))


def test_state_without_states_is_not_written() -> None:
    assert answers([user(AUDIO), replace(bot("a"), state="noise")], LLAMA) == ["a</A>"]


def test_cut_answer_has_no_end() -> None:
    assert answers([user(AUDIO), replace(bot("a"), cut=True), user(AUDIO), bot("b")]) == ["1a", "1b</A>"]


def test_bare_text_has_no_states_without_media() -> None:
    bare = replace(STATES, bare_text=True, pieces=True)
    assert answers([user(text("a")), bot("b")], bare) == ["b</A>"]
    assert answers([user(IMAGE), bot("a"), user(text("b")), bot("c")], bare) == ["3a</A>", "3c</A>"]


@pytest.mark.parametrize(("parts", "system"), [((text("x"),), "T"), ((AUDIO,), "T"), ((IMAGE, AUDIO), "I"),
                                               ((VIDEO, text("x")), "V"), ((VIDEO, IMAGE), "I")])
def test_system_prompt_by_what_is_shown(parts: tuple[ContentPart, ...], system: str) -> None:
    assert render([user(*parts), bot("x")], STATES)[0].text.startswith(f"<B><S>{system}</S>")


def test_system_of_the_row_replaces_every_system() -> None:
    messages = [Message("system", (text("Own."),)), user(IMAGE), bot("x")]
    assert render(messages, STATES)[0].text == "<B><S>Own.</S><U>"


@pytest.mark.parametrize(("parts", "written"), [
    ((IMAGE, text("\nWhat?")), "[image]\nWhat?"),
    ((IMAGE, text("\n\nWhat?")), "[image]\nWhat?"),
    ((text("What?\n"), IMAGE), "[image]\nWhat?"),
    ((IMAGE, text("\n"), AUDIO, text("\n")), "[image]\n[audio]"),
    ((text("Hear:\n"), AUDIO), "Hear:\n[audio]"),
    ((IMAGE, text("\n"), IMAGE, text("\nBoth?")), "[image]\n[image]\nBoth?"),
    ((text("Which?"), IMAGE, IMAGE), "[image]\n[image]\nWhich?"),
    ((text("See\n"), VIDEO, text("\n here.")), "See[video]\n here."),
    ((AUDIO,), "[audio]"),
    ((IMAGE, text("Pick:\n\nA\n\n\n\nB")), "[image]\nPick:\nA\n\nB"),
    ((text("Pick:\n\nA"), AUDIO), "Pick:\n\nA[audio]"),
], ids=["image first", "two newlines", "image last", "image and audio", "audio last", "two images", "two last",
        "inside", "audio alone", "paragraphs under an image", "paragraphs with audio"])
def test_tidy_question(parts: tuple[ContentPart, ...], written: str) -> None:
    template = replace(LLAMA, default_system="", tidy=True, behind_image="\n", behind_video="\n")
    segments = render([user(*parts), bot("x")], template)
    found = "".join(f"[{segment.media.type}]" if segment.media else segment.text for segment in segments)
    assert found == f"<B><U>{written}</U><A>x</A>"


def test_first_question_shares_the_frame_of_the_system_prompt() -> None:
    template = replace(LLAMA, system="[{content}\n", first="{content}]", user="[{content}]", assistant="", bos="")
    segments = render([user(text("Q")), bot("A"), user(text("Q2"))], template)
    assert "".join(segment.text for segment in segments) == "[Be kind.\nQ]A</A>[Q2]"


@pytest.mark.parametrize("name", ["qwen2p5_vita", "mixtral_two", "nemo"])
def test_system_prompts_of_vita_are_the_published_ones(name: str) -> None:
    systems = read_mapping(preset("template", name).path)["systems"]  # type: ignore[union-attr]  # the preset is ours
    hashes = {key: hashlib.sha256(words.encode()).hexdigest()[:16] for key, words in systems.items()}
    assert hashes == {"text": "bb0dce8b2e325b89", "image": "9c6f6b56ee8d5b6a", "video": "b4c4b477649f999d"}


def conversation(name: str) -> str:
    template = construct(Template, read_mapping(preset("template", name).path), name, [])  # type: ignore[union-attr]  # ours
    assert template
    return "".join(s.text for s in prompt([user(text("Q")), bot("A"), user(text("Q2"))], replace(template, states={})))


@pytest.mark.parametrize(("name", "tail"), [
    ("mixtral_two", "with the user.</s>\nuser:Q</s>\nbot:A</s>\nuser:Q2</s>\nbot:"),
    ("nemo", "with the user.\nQ[/INST]A</s>[INST]Q2[/INST]"),
    ("qwen2p5_vita", "<|im_end|>\n<|im_start|>user\nQ2<|im_end|>\n<|im_start|>assistant\n"),
])
def test_templates_of_vita_are_rendered_as_published(name: str, tail: str) -> None:
    assert conversation(name).endswith(tail)
