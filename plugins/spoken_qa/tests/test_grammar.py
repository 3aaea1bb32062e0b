"""The grammar and the script: what is held out, and that right answers are right."""

from collections import Counter
from statistics import mean

import pytest
from omnikit_spoken_qa.grammar import HELD, KINDS, NUMBERS, divide
from omnikit_spoken_qa.script import ANSWER_VOICE, UNSEEN, VOICES, readings, rows, texts

TESTS = ("test", "test_unseen")


@pytest.mark.parametrize("kind", KINDS)
def test_no_held_out_question_or_combination_is_in_training(kind: str) -> None:
    training, held = divide(kind, 0)
    groups = {question.group for question in training} - {""}
    assert len(held) >= min(HELD, len(groups) or HELD)  # of a group at most one combination is held out
    assert not {question.text for question in training} & {question.text for question in held}
    assert not {question.combination for question in training} & {question.combination for question in held}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_held_out_answer_needs_stays_in_training(kind: str) -> None:
    training, held = divide(kind, 0)
    assert {question.group for question in held} <= {question.group for question in training}
    words = {word for question in training for word in f"{question.text} {question.answer}".split()}
    assert {word for question in held for word in f"{question.text} {question.answer}".split()} <= words


@pytest.mark.parametrize("split", TESTS)
def test_each_kind_is_a_sixth_of_a_scored_split(split: str) -> None:
    counts = Counter(row.question.kind for row in rows(split, 300, 0))
    assert counts == dict.fromkeys(KINDS, 50)


@pytest.mark.parametrize("split", TESTS)
def test_no_question_of_a_scored_split_is_in_the_training_rows(split: str) -> None:
    trained = {row.question.text for row in rows("train", 9600, 0)}
    assert not trained & {row.question.text for row in rows(split, 300, 0)}


def test_answers_have_three_words_and_more() -> None:
    lengths = [len(row.question.answer.split()) for row in rows("test", 300, 0)]
    assert min(lengths) >= 3
    assert mean(lengths) > 4


def test_unseen_voice_speaks_in_its_split_only() -> None:
    assert {row.question_utterance.voice for row in rows("test_unseen", 60, 0)} == {UNSEEN}
    assert {row.question_utterance.voice for row in rows("train", 600, 0)} == set(VOICES)
    assert UNSEEN not in {item.voice for item in readings("train", 600, 0)}
    assert {row.answer_utterance.voice for row in rows("train", 60, 0)} == {ANSWER_VOICE}


def test_sums_are_sums() -> None:
    value = {word: number for number, word in enumerate(NUMBERS)}
    sums = [question.answer.split() for question in KINDS["addition"]()]
    assert all(value[a] + value[b] == value[c] for a, _, b, _, c in sums)


def test_comparisons_are_true() -> None:
    value = {word: number for number, word in enumerate(NUMBERS)}
    claims = [question.answer.split() for question in KINDS["comparison"]()]
    assert all((value[a] > value[b]) == (claim == "larger") for a, _, claim, _, b in claims)


def test_next_and_previous_undo_each_other() -> None:
    answers = {question.answer for question in KINDS["sequence"]()}
    mirrored = {f"{c} comes before {a}" for a, _, direction, c in map(str.split, answers) if direction == "after"}
    assert mirrored == {answer for answer in answers if " before " in answer}


def test_a_question_has_one_answer() -> None:
    questions = [question for kind in KINDS for question in KINDS[kind]()]
    answers = {question.text: question.answer for question in questions}
    assert all(answers[question.text] == question.answer for question in questions)


def test_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    assert rows("train", 120, 1) == rows("train", 120, 1)
    assert rows("train", 120, 1) != rows("train", 120, 2)


def test_readings_hold_no_held_out_answer_and_half_are_random_words() -> None:
    held = {question.answer for kind in KINDS for question in divide(kind, 0)[1]}
    training = [question for kind in KINDS for question in divide(kind, 0)[0]]
    sentences = {text for question in training for text in (question.text, question.answer)}
    texts = [item.text for item in readings("train", 1000, 0)]
    assert not held & set(texts)
    assert sum(text in sentences for text in texts) == pytest.approx(500, abs=10)  # random words may be a sentence
    assert {item.text for item in readings("test", 1000, 0)} == held


def test_texts_for_the_tokenizer_hold_no_held_out_question() -> None:
    held = {question.text for kind in KINDS for question in divide(kind, 0)[1]}
    assert not held & set(texts())
