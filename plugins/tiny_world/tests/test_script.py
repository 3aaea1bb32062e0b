"""Rows before anything is drawn or spoken: what is held out, that answers are right, and that the vocabulary is closed."""

import re
from collections import Counter
from itertools import product

import pytest
from omnikit_tiny_world import questions, scenes, statements
from omnikit_tiny_world.config import SPOKEN, VIEWS, TinyWorld
from omnikit_tiny_world.row import TRAINING_VOICES, UNSEEN_VOICES, Row
from omnikit_tiny_world.scenes import MANY, Scene
from omnikit_tiny_world.script import rows
from omnikit_tiny_world.sentences import texts
from omnikit_tiny_world.words import COLORS, COUNTS, DIRECTIONS, LANGUAGES, SHAPES, hold_out

from omnikit.data.text.tokenizer import load

WITH_AUDIO = [view for view, held in VIEWS.items() if "audio" in held]
ENGLISH = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
TENS = "一二三四五六七八九十"


def written(view: str, split: str, size: int = 240, **settings: object) -> list[Row]:
    return rows(TinyWorld(view=view, split=split, **settings), size)  # type: ignore[arg-type]  # any of its fields


def combination(scene: Scene) -> tuple[str, ...]:
    return scene.color, scene.shape, scene.count, scene.word, scene.direction


def test_no_held_out_combination_is_shown_in_training_in_any_view() -> None:
    seen = {combination(row.scene) for view in VIEWS for row in written(view, "train") if row.scene}
    asked = {combination(row.scene) for view in VIEWS for row in written(view, "test", 400) if row.scene}
    assert not seen & asked
    held = {combination(scene) for sort in scenes.HELD for scene in scenes.divide(sort, 0)[1]}
    assert asked == held and len(held) == sum(scenes.HELD.values())


def test_half_of_the_printed_words_of_training_have_no_color_of_their_own() -> None:
    for view in ("captions", "images"):
        printed = [row for row in written(view, "train", 1000) if row.scene and row.scene.word and row.kind != "color"]
        assert 0.4 < sum(row.scene.color == MANY for row in printed if row.scene) / len(printed) < 0.6
        assert not any(row.scene and row.scene.color == MANY for row in written(view, "test", 400))
    assert scenes.caption(Scene(MANY, word="cat"), "en") == "the word cat"
    assert scenes.caption(Scene(MANY, word="cat"), "zh") == "词 cat"


def test_a_description_holds_all_words_of_its_scene_and_no_other() -> None:
    for view in ("captions", "images"):
        for row in written(view, "train", 200, described=1.0):
            scene = row.scene
            assert scene is not None
            color = "" if scene.color == MANY else scene.color
            count = {"1": "one", "2": "two", "3": "three", "4": "four", "": ""}[scene.count]
            assert set(re.findall("[a-z]+", row.description)) == {color, count, scene.shape, scene.position, scene.word} - {""}
    assert {row.description for row in written("images", "train", 50)} == {""}
    assert 0 < sum(bool(row.description) for row in written("images", "train", 50, described=0.5)) < 50


@pytest.mark.parametrize(("direction", "first", "last"), [("left", "right", "left"), ("right", "left", "right"),
                                                          ("up", "bottom", "top"), ("down", "top", "bottom")])
def test_a_described_video_goes_where_its_scene_goes(direction: str, first: str, last: str) -> None:
    for row in written("videos", "train", 200, described=1.0):
        if row.scene is not None and row.scene.direction == direction:
            words = re.findall("[a-z]+", row.description)
            assert len(words) == 24 and {row.scene.color, row.scene.shape} <= set(words[:6]) & set(words[18:])
            assert first in words[:6] and last not in words[:6] and last in words[18:] and first not in words[18:]


@pytest.mark.parametrize("view", ["text", "dictation"])
def test_a_stretched_question_has_the_same_words(view: str) -> None:
    spoken = {"spoken": 0.0} if view == "dictation" else {}
    plain, slow = written(view, "train", 200, **spoken), written(view, "train", 200, stretched=1.0, **spoken)
    for row, drawn in zip(plain, slow, strict=True):
        apart = " " if row.language == "en" else ""
        words = re.findall("[a-z]+" if apart else ".", drawn.question.replace(",", ""))
        once = [word for place, word in enumerate(words) if place == 0 or words[place - 1] != word]
        meant = row.question.split() if apart else list(row.question)
        assert once == [word for place, word in enumerate(meant) if place == 0 or meant[place - 1] != word]
        assert drawn.answer == row.answer and drawn.question != row.question and (drawn.state, row.state) == ("audio", None)


def test_no_held_out_question_or_statement_is_spoken_or_written_in_training() -> None:
    kinds = list(product(questions.KINDS, LANGUAGES))
    held = {item.text for kind, language in kinds for item in questions.divide(kind, language, 0)[1]}
    held |= {item.text for language in LANGUAGES for item in statements.divide(language, 0)[1]}
    trained = {row.question for view in VIEWS for row in written(view, "train")}
    trained |= {row.question for row in written("reading", "train", 1500)}
    trained |= {voice.text for row in written("noise", "train", 600) for voice in row.voices}
    assert not trained & held
    assert {row.question for view in ("speech", "text") for row in written(view, "test")} <= held


@pytest.mark.parametrize("kind", questions.KINDS)
def test_the_same_combinations_are_held_out_in_both_languages(kind: str) -> None:
    held = [{item.combination for item in questions.divide(kind, language, 0)[1]} for language in LANGUAGES]
    assert held[0] == held[1] and len(held[0]) == questions.HELD[kind]


@pytest.mark.parametrize("seed", range(5))
def test_what_a_held_out_answer_follows_from_stays_in_training(seed: int) -> None:
    for kind in questions.KINDS:
        training, held = questions.divide(kind, "en", seed)
        assert {item.group for item in held} <= {item.group for item in training}
        words = {word for item in training for word in f"{item.text} {item.answer}".split()}
        assert {word for item in held for word in f"{item.text} {item.answer}".split()} <= words
    pairs = {(scene.color, scene.shape) for scene in scenes.divide("shapes", seed)[0]}
    assert pairs == set(product(COLORS, SHAPES)) == {(scene.color, scene.shape) for scene in scenes.divide("video", seed)[0]}
    assert {scene.count for scene in scenes.divide("shapes", seed)[0]} == set(COUNTS)
    assert {scene.direction for scene in scenes.divide("video", seed)[0]} == set(DIRECTIONS)


def test_of_a_group_of_one_nothing_is_held_out() -> None:
    assert hold_out([("a", "alone"), ("b", "two"), ("c", "two")], 3, "") < {"b", "c"}


def test_sums_and_comparisons_are_right() -> None:
    found = 0
    for row in written("text", "train", 1000, language="en"):
        numbers = [ENGLISH[word] for word in row.question.split() if word in ENGLISH]
        if row.kind == "addition":
            assert row.answer == questions.number(sum(numbers), "en")
        if row.kind == "comparison":
            assert row.answer in ENGLISH and ENGLISH[row.answer] == (max if "larger" in row.question else min)(numbers)
        found += row.kind in ("addition", "comparison")
    assert found == 400


def test_mandarin_sums_and_comparisons_are_right() -> None:
    for row in written("text", "test", 200, language="zh"):
        if row.kind == "addition":
            first, second = re.fullmatch("(.+)加(.+?)(等于几|是多少)", row.question).groups()[:2]  # type: ignore[union-attr]
            total = TENS.index(first) + TENS.index(second) + 2
            assert row.answer == (TENS[total - 1] if total <= 10 else "二十" if total == 20 else f"十{TENS[total - 11]}")
        if row.kind == "comparison":
            both = re.fullmatch("(.)和(.)哪个更[大小]", row.question).groups()  # type: ignore[union-attr]
            assert row.answer == (max if row.question.endswith("大") else min)(both, key=TENS.index)


def test_answers_about_a_scene_are_what_it_shows() -> None:
    shown = Scene("red", "cross", "2", "top")
    assert [scenes.answer(shown, kind, "en") for kind in ("color", "shape", "count", "where")] == ["red", "cross", "two", "top"]
    assert [scenes.answer(shown, kind, "zh") for kind in ("color", "count", "where")] == ["红色", "两个", "上面"]
    assert scenes.caption(shown, "en") == "two red crosses at the top"
    assert scenes.caption(shown, "zh") == "上面有两个红色十字形"
    assert scenes.caption(Scene("blue", "ring", direction="up"), "en") == "a blue ring moves up"
    assert scenes.caption(Scene("blue", "ring", direction="up"), "zh") == "蓝色环形往上走"


@pytest.mark.parametrize("view", ["images", "videos", "text"])
def test_a_test_asks_each_kind_equally_in_both_languages(view: str) -> None:
    counts = Counter((row.kind, row.language) for row in written(view, "test", 400))
    assert all(counts[kind, "en"] == counts[kind, "zh"] >= 40 for kind, _ in counts)


def test_the_state_mix_holds_all_three_states() -> None:
    held = written("turns", "test", 400)
    counts = Counter(row.state or ("audio" if row.utterance else "text") for row in held)
    assert counts == {"audio": 150, "noise": 150, "text": 100}
    assert all(row.state == ("noise" if row.kind in ("statement", "sound") else None) for row in held)


@pytest.mark.parametrize("view", WITH_AUDIO)
def test_unseen_is_the_test_with_unseen_speakers(view: str) -> None:
    trained, seen, unseen = (written(view, split, 200) for split in ("train", "test", "test_unseen"))
    assert [(row.question, row.answer, row.scene) for row in seen] == [(row.question, row.answer, row.scene) for row in unseen]
    for row in trained + seen:
        assert row.utterance is None or row.utterance.voice in TRAINING_VOICES[row.language]
    for row in unseen:
        assert {utterance.voice for utterance in (row.utterance, *row.voices) if utterance} <= {UNSEEN_VOICES[row.language]}
    assert not set(UNSEEN_VOICES.values()) & {voice for voices in TRAINING_VOICES.values() for voice in voices}


def test_transcription_uses_the_recordings_of_reading() -> None:
    read, transcribed = written("reading", "train", 100), written("transcribe", "train", 100)
    assert [row.utterance for row in read] == [row.utterance for row in transcribed]
    assert [row.answer for row in transcribed] == [row.question for row in transcribed] and transcribed[0].prompt
    assert {row.answer for row in read} == {None}


def test_half_of_what_is_read_in_training_is_random_words() -> None:
    asked = {item.text for kind, tongue in product(questions.KINDS, LANGUAGES) for item in questions.divide(kind, tongue, 0)[0]}
    asked |= {item.text for tongue in LANGUAGES for item in statements.divide(tongue, 0)[0]}
    asked |= {text for wordings in scenes.QUESTIONS.values() for found in wordings.values() for text in found}
    read = [row.question for row in written("reading", "train", 1000)]
    assert 0.45 < sum(text not in asked for text in read) / len(read) <= 0.5
    assert len(set(read)) > 700


@pytest.mark.parametrize("view", VIEWS)
def test_rows_depend_on_the_seed_alone(view: str) -> None:
    assert written(view, "train", 60) == written(view, "train", 60)
    assert written(view, "train", 60) == written(view, "train", 80)[:60]
    assert written(view, "train", 60) != written(view, "train", 60, seed=1)


def test_half_of_the_questions_may_be_written() -> None:
    for view in SPOKEN:
        spoken = [row.utterance is not None for row in written(view, "train", 400, spoken=0.5)]
        assert 0.4 < sum(spoken) / len(spoken) < 0.6


def test_every_word_is_one_token_and_no_row_has_another() -> None:
    tokenizer = load("tiny_world")
    known = {word for text in texts() for word in re.findall("[a-z]+|[^a-z ]", text)}
    for word in known:
        assert len(tokenizer.ids(word)) == 1, word
        assert len(tokenizer.ids(f"a {word}")) == (2 if word.isascii() else 3), word
    for view in VIEWS:
        for row in (*written(view, "train"), *written(view, "test")):
            assert set(re.findall("[a-z]+|[^a-z ]", f"{row.question} {row.answer or ''}")) <= known


def test_state_characters_and_ends_are_one_token_in_both_vocabularies() -> None:
    for name in ("tiny_world", "tiny_world_english"):
        for text in ("☞", "☟", "☜", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>", "</s>"):
            assert len(load(name).ids(text)) == 1, (name, text)
        assert load(name).text(load(name).ids("☞red and 红色")) == "☞red and 红色"
    assert len(load("tiny_world_english").ids("红色")) > 3 > len(load("tiny_world").ids("红色")) == 2


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_asr_model_is_trained_on_every_word_that_an_answer_may_hold(language: str) -> None:
    words = re.compile(r"[a-z]+|[^a-z ]")  # a Mandarin character is one
    read = {word for row in written("reading", "train", 8000, spoken_answers=True, language=language) if row.utterance
            for word in words.findall(row.utterance.text)}
    answered = {word for view in ("images", "videos", "text") for row in written(view, "test", 400, language=language)
                for word in words.findall(row.answer or "")}
    assert len(answered) > 30 and answered <= read
