"""Numbers from kept records, by hand."""

import pytest

from omnikit.evaluation.aggregate import MEANINGS, kinds, languages, latency, modalities, scores
from omnikit.evaluation.records import Record, Timing


def record(answer: str, kind: str = "a", **more: object) -> Record:
    return Record("x", "yes", answer, facts={"kind": kind}, **more)  # type: ignore[arg-type]  # fields by name


def values(found: dict) -> dict[str, float | None]:
    return {name: one and one.value for name, one in found.items()}


def test_exact_answers_and_the_control() -> None:
    found = values(scores([record("yes", other="no"), record("no", other="yes"), record("yes", other="no"), record("yes")]))
    assert (found["exact"], found["exact_with_other_audio"], found["text_wer"]) == (0.75, 1 / 3, 0.25)
    assert found["speech_wer"] is found["speech_cer"] is found["natural_wer"] is found["words_per_second"] is None


def test_speech_is_held_against_the_model_s_own_text_and_natural_speech_against_the_expected() -> None:
    found = values(scores([record("no", heard="no", natural="yet"), record("one two", heard="one too", natural="yes")]))
    assert (found["speech_wer"], found["speech_cer"]) == (1 / 3, 1 / 9)  # one word of three, one letter of nine
    assert (found["natural_wer"], found["natural_cer"]) == (1 / 2, 1 / 6)


def test_rates_are_of_all_seconds() -> None:
    rows = [record("one two, three", codes=tuple(range(30)), seconds=1.0, natural_seconds=0.5, natural_codes=20),
            record("four", codes=tuple(range(10)), seconds=1.0, natural_seconds=1.5, natural_codes=40),
            record("silent", seconds=0.0)]
    found = values(scores(rows))
    assert (found["words_per_second"], found["units_per_second"]) == (2.0, 20.0)
    assert (found["natural_words_per_second"], found["natural_units_per_second"]) == (1.0, 30.0)


def test_natural_units_are_unknown_where_the_run_makes_none() -> None:
    assert scores([record("yes", natural_seconds=1.0)])["natural_units_per_second"] is None


def test_kinds_are_counted_apart() -> None:
    found = {kind: values(some) for kind, some in kinds([record("yes"), record("no"), record("yes", "b")]).items()}
    assert {kind: (some["exact"], some["text_wer"]) for kind, some in found.items()} == {"a": (0.5, 0.5), "b": (1.0, 0.0)}
    assert kinds([record("yes"), record("no")]) == {}


def test_latency_by_omega() -> None:
    timings = [Timing("x", 10, 0.1, 0.2, 0.6, 2.0), Timing("y", 10, 0.3, 0.4, 1.0, 2.0), Timing("z", 10, 0.2, None, 0.5, 0.0),
               Timing("x", None, 0.5, 0.5, 0.5, 2.0)]
    found = {name: values(some) for name, some in latency(timings).items()}
    assert list(found) == ["10", "offline"]
    assert found["10"] == {"first_text": 0.2, "first_sound": pytest.approx(0.3), "first_sound_90": pytest.approx(0.38),
                           "whole": 0.6, "real_time_factor": pytest.approx(0.4)}


def test_every_number_says_what_it_means() -> None:
    assert set(MEANINGS) == set(scores([record("yes")])) | set(latency([Timing("x", None, 1.0, 1.0, 1.0, 1.0)])["offline"])


def test_controls_of_pictures_and_films() -> None:
    found = values(scores([record("yes", other_image="no", other_video="yes"), record("yes", other_image="yes")]))
    assert (found["exact_with_other_picture"], found["exact_with_other_film"]) == (0.5, 1.0)


def test_noise_is_no_answer() -> None:
    rows = [record("yes", expected_state="audio"), record("", expected_state="noise", other="yes")]
    found = scores(rows)
    assert found["exact"] and (found["exact"].value, found["exact"].count) == (1.0, 1)
    assert found["exact_with_other_audio"] is None and values(found)["text_wer"] == 0.0


def test_transcripts_of_chinese_are_counted_in_characters_and_spaces_do_not_count() -> None:
    rows = [record("yes", said=("三后面是什么",), transcripts=("三 后面 什么",)),
            Record("x", "yes", "yes", facts={"language": "en"}, said=("a red cross",), transcripts=("a red cros",))]
    found = values(scores(rows))
    assert found["transcript_wer"] == pytest.approx(2 / 9)  # one of six characters, one of three words
    assert found["transcript_cer"] == pytest.approx(2 / 17)
    apart = {name: values(some)["transcript_cer"] for name, some in languages(rows).items()}
    assert apart == {"": pytest.approx(1 / 6), "en": pytest.approx(1 / 11)}


def test_modalities_are_counted_apart() -> None:
    rows = [record("yes", modality="audio"), record("no", modality="image, audio")]
    assert {name: values(some)["exact"] for name, some in modalities(rows).items()} == {"audio": 1.0, "image, audio": 0.0}
