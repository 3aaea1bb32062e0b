# ruff: noqa: E501  # a text and what becomes of it stand in one line
"""Written text becomes what a voice can say, or is refused with a reason; models' replies pass the same rules."""

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from instructions import BAD, good, mixed
from omnikit_spoken_instructions import rules
from omnikit_spoken_instructions.config import SpokenInstructions
from omnikit_spoken_instructions.numbers import cardinal, in_words, ordinal
from omnikit_spoken_instructions.rewriter import ByModel, Rewritten, Rules, unrepeated
from omnikit_spoken_instructions.sources import Entry, Rejected, read

from omnikit.errors import DataError

ONES = dict(zip(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"], range(20), strict=True))
TENS = {f"{word}ty": 10 * digit for digit, word in enumerate(["twen", "thir", "for", "fif", "six", "seven", "eigh", "nine"], 2)}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}


def value(words: str) -> int:
    """Read a number in words, as schoolbooks teach it."""
    total = group = 0
    for word in words.split():
        if word == "hundred":
            group *= 100
        elif word in SCALES:
            total, group = total + group * SCALES[word], 0
        else:
            group += ONES[word] if word in ONES else TENS[word]
    return total + group


@pytest.mark.parametrize("digits", range(1, 16))
def test_cardinals_read_back_to_their_number(digits: int) -> None:
    numbers = [random.Random(digits).randrange(10 ** (digits - 1), 10**digits) for _ in range(50)]
    assert [value(cardinal(number)) for number in numbers] == numbers


@pytest.mark.parametrize(("number", "expected"), [(1, "first"), (2, "second"), (12, "twelfth"), (20, "twentieth"), (21, "twenty first"),
                                              (100, "one hundredth"), (103, "one hundred third")])
def test_ordinals(number: int, expected: str) -> None:
    assert ordinal(number) == expected


@pytest.mark.parametrize(("written", "expected"), [
    ("3.14", "three point one four"), ("-5 degrees", "minus five degrees"), ("2/3", "two thirds"), ("1/2", "one half"),
    ("99.9%", "ninety nine point nine percent"), ("$3.50", "three dollars and fifty cents"), ("$2 million", "two million dollars"),
    ("£2.01", "two pounds and one penny"), ("9:05 pm", "nine oh five p m"), ("10:00", "ten o'clock"), ("1990s", "nineteen nineties"),
    ("in 1905", "in nineteen oh five"), ("in 2024", "in twenty twenty four"), ("in 2005", "in two thousand five"), ("3-5", "three to five"),
    ("1,234", "one thousand two hundred thirty four"), ("COVID-19", "COVID nineteen"), ("3D", "three D"), ("20°C", "twenty degrees celsius"),
    ("007", "zero zero seven"), ("the 2nd", "the second"), ("5 km", "five kilometers"), ("no digits", "no digits")])
def test_numbers_are_read_as_a_speaker_reads_them(written: str, expected: str) -> None:
    assert in_words(written) == expected


@pytest.mark.parametrize(("written", "expected"), [
    ("**Yes** (probably) & no", "Yes and no."), ("a cat/dog", "A cat or dog."), ("# Title\nText: more; end", "Title. Text, more, end."),
    ("1. Start small\n2. Go on", "Start small and go on."), ("* one fish\n* New York\n* a hat", "One fish, New York and a hat."),
    ("He said “hi” – twice…", "He said hi, twice."), ("e.g. tea, etc.", "For example tea, and so on."), ("naïve café?", "Naïve café?"),
    ("_so_ it is", "So it is."), ("well-known", "Well known."), ("It is *Paris* now", "It is Paris now."),
    ("What is 7*8 + 2?", "What is seven times eight plus two?"), ("6 ÷ 3 = 2", "Six divided by three equals two.")])
def test_marks_become_words_or_go(written: str, expected: str) -> None:
    assert rules.plain(written) == expected


def test_answer_is_cut_behind_a_whole_sentence() -> None:
    assert rules.answer("One two three. Four five. Six seven eight.", 6) == "One two three. Four five."


@pytest.mark.parametrize("reason", BAD)
def test_each_bad_row_is_rejected_for_its_reason(reason: str, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps([BAD[reason]]))
    entry, = read(tmp_path / "one.json", None)
    entry, = Rules(SpokenInstructions("x"))([entry]) if isinstance(entry, Entry) else [entry]
    assert isinstance(entry, Rejected) and entry.reason == reason


def test_spoken_text_holds_nothing_that_a_voice_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "all.json").write_text(json.dumps(good(150)))
    entries = [entry for entry in read(tmp_path / "all.json", None) if isinstance(entry, Entry)]
    items = [item for item in Rules(SpokenInstructions("x"))(entries) if isinstance(item, Rewritten)]
    assert len(items) == 150
    assert all(re.fullmatch(r"[A-Za-zÀ-ſ ,.?!']+", item.question + item.answer) for item in items)
    assert max(len(item.answer.split()) for item in items) <= 60


def test_fillers_have_the_fraction_of_the_options() -> None:
    rng = random.Random(0)
    changed = [rules.with_filler("What is it, then?", 0.3, rng) != "What is it, then?" for _ in range(2000)]
    assert sum(changed) / 2000 == pytest.approx(0.3, abs=0.04)  # four standard deviations


def test_filler_keeps_names_and_lowers_beginnings() -> None:
    assert rules.with_filler("Is it?", 1.0, random.Random(1)).endswith(", is it?")
    assert rules.with_filler("NASA is what?", 1.0, random.Random(1)).endswith(", NASA is what?")


@pytest.mark.parametrize(("row", "entry"), [
    ({"instruction": "Add.", "input": "1 and 2", "output": "3"}, ("alpaca", "Add: 1 and 2", "3")),
    ({"id": "7", "data": ["Q", "A", "B", "C"]}, ("ultrachat", "Q", "A")),
    ({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"},
                   {"role": "user", "content": "X"}]}, ("messages", "Q", "A")),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Q"}]}, {"role": "assistant", "content": "A"}]},
     ("messages", "Q", "A")),
    ({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}, ("conversations", "Q", "A")),
], ids=["alpaca", "ultrachat", "messages", "parts", "conversations"])
def test_first_round_of_each_shape(row: dict[str, object], entry: tuple[str, str, str], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(row)}\n\n{{broken\n")
    first, second = read(tmp_path / "rows.jsonl", None)
    assert first == Entry(f"{entry[0]}-000000", *entry, source_id=str(row.get("id", "")))
    assert second == Rejected("000001", "not JSON")


@pytest.mark.parametrize(("content", "sentence"), [
    ("", "is empty, but must hold at least one instruction"), ("[]", "is an empty list"), ("[{]", "is not JSON"),
    (b"\xff\xfe", "is not a text in UTF-8")], ids=["empty", "empty list", "broken", "binary"])
def test_file_that_cannot_be_read_is_one_sentence(content: str | bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=sentence):
        read(tmp_path / "rows.json", None)


def test_file_of_words_names_the_place_and_the_shapes(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text('\n{"a": 1 2}\nThese are words.\n')
    with pytest.raises(DataError, match=r"words.txt is not JSON: line 2, column 9: Expecting ',' delimiter; write a list, or one"
                                        r' object in a line, each \{"instruction": …, "output": …\}, .*"conversations"'):
        read(tmp_path / "words.txt", None)


def test_question_asked_before_is_rejected_whatever_its_fillers() -> None:
    first, second, other = (Rewritten(name, "alpaca", text, "Yes.") for name, text in
                            (("a", "So, is it late?"), ("b", "Is it late?"), ("c", "Is it later?")))
    assert unrepeated([first, second, other]) == [first, Rejected("b", "asked before", "Is it late?"), other]


def test_a_line_ends_at_a_line_feed_only(tmp_path: Path) -> None:
    row = {"instruction": "Why?\u2028Really?", "output": "So\x85it\u2029is."}
    (tmp_path / "a.jsonl").write_text(2 * (json.dumps(row, ensure_ascii=False) + "\r\n"), newline="")
    found = read(tmp_path / "a.jsonl", None)
    assert [(entry.question, entry.answer) for entry in found if isinstance(entry, Entry)] == 2 * [tuple(row.values())]


def test_limit_and_order_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps(mixed(40)))
    assert [entry.id[-6:] for entry in read(tmp_path / "rows.json", 5)] == [f"{index:06}" for index in range(5)]


def test_model_rewrites_question_then_answers_it_and_rules_hold() -> None:
    asked: list[tuple[str, tuple[str, ...]]] = []

    def write(instructions: str, texts: Sequence[str]) -> list[str]:
        asked.append((instructions, tuple(texts)))
        if "question" in instructions[-40:]:
            return [json.dumps({"question": f"so um {text.lower()}"}) if "long" not in text else " ..." for text in texts]
        return [f'Sure: {{"response": "I have {len(text)} (roughly) of them"}}' for text in texts]

    entries = [Entry("a", "alpaca", "How many?", "unused"), Entry("b", "alpaca", "long", "unused")]
    first, second = ByModel(SpokenInstructions("x"), write)(entries)
    assert first == Rewritten("a", "alpaca", "So um how many?", "I have fifteen of them.")
    assert second == Rejected("b", "rewritten question: nothing to say", "long")
    assert [texts for _, texts in asked] == [("How many?", "long"), ("So um how many?",)]


def test_text_too_long_for_the_model_is_rejected_alone() -> None:
    def write(instructions: str, texts: Sequence[str]) -> list[str]:
        if any(len(text) > 20 for text in texts):
            raise DataError("Row x has 99 positions, but the backbone's context is 64.")
        return ["Fine."] * len(texts)

    entries = [Entry("a", "alpaca", "Why?", ""), Entry("b", "alpaca", "Why is it so very long?", "")]
    first, second = ByModel(SpokenInstructions("x"), write)(entries)
    assert isinstance(first, Rewritten)
    assert second == Rejected("b", "rewritten question: nothing to say", "Why is it so very long?")
