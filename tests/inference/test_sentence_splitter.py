"""Text cut into sentences: the same in any pieces, nothing lost, neither numbers nor lists cut."""

import pytest

from omnikit.inference.sentence_splitter import SentenceSplitter

CASES = {
    "two": ("One is here. And two are there!", ["One is here.", "And two are there!"]),
    "numbers": ("It costs 1.5 euros. Yes.", ["It costs 1.5 euros.", "Yes."]),
    "list": ("1. first thing. 2. second", ["1. first thing.", "2. second"]),
    "chinese": ("今天天气很好。我们走吧！", ["今天天气很好。", "我们走吧！"]),
    "short ones go on": ("No. It is not.", ["No. It is not."]),
    "quoted": ('He said "go away." Then left.', ['He said "go away."', "Then left."]),
    "newline": ("a longer line\nnext line", ["a longer line", "next line"]),
    "nothing": ("  ", []),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_sentences_are_the_same_in_any_pieces(name: str, size: int) -> None:
    text, expected = CASES[name]
    sentences = SentenceSplitter()
    found = [one for at in range(0, len(text), size) for one in sentences.push(text[at:at + size])]
    assert [*found, *sentences.finish()] == expected


@pytest.mark.parametrize(("text", "first"), [
    ("aaaa bbbb, cccc dddd eeee", "aaaa bbbb,"), ("aaaa bbbb cccc dddd eeee", "aaaa bbbb cccc"), ("a" * 25, "a" * 20),
    ("about 1,000 apples, no more", "about 1,000 apples,"), ("it is about 1,000 apples", "it is about 1,000"),
], ids=["pause", "space", "neither", "pause behind a number", "number"])
def test_what_is_too_long_is_cut_where_it_hurts_least_and_not_lost(text: str, first: str) -> None:
    sentences = SentenceSplitter(longest=20)
    found = [*sentences.push(text), *sentences.finish()]
    assert found[0] == first
    assert "".join(found).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(("text", "expected"), [
    ("three red circles at the top. And one more there.", ["three red", "circles at the top.", "And one more there."]),
    ("one, two, three, four", ["one, two,", "three, four"]), ("uninterrupted words", ["uninterrupted", "words"]),
    ("Yes it is.", ["Yes it is."]), ("三个红色的圆形在上面", ["三个红色的圆形在上面"]),
], ids=["space", "pause", "a longer word is kept whole", "shorter", "no space"])
@pytest.mark.parametrize("size", [1, 4, 100])
def test_only_the_first_sentence_is_cut_sooner_where_words_end(text: str, expected: list[str], size: int) -> None:
    sentences = SentenceSplitter(first=12)
    found = [one for at in range(0, len(text), size) for one in sentences.push(text[at:at + size])]
    assert [*found, *sentences.finish()] == expected
