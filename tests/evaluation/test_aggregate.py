"""Numbers from saved records, by hand."""

import pytest

from omnikit.evaluation.aggregate import MEANINGS, kinds, languages, latency, modalities, scores
from omnikit.evaluation.records import Record, Timing


def record(answer: str, kind: str = "a", **more: object) -> Record:
    return Record("x", "yes", answer, facts={"kind": kind}, **more)  # type: ignore[arg-type]  # fields by name


def values(found: dict) -> dict[str, float | None]:
    return {name: one and one.value for name, one in found.items()}


def test_exact_answers_and_the_ablation() -> None:
    found = values(scores([record("yes", shuffled_audio="no"), record("no", shuffled_audio="yes"),
                           record("yes", shuffled_audio="no"), record("yes")]))
    assert (found["exact"], found["shuffled_audio"], found["text_wer"]) == (0.75, 1 / 3, 0.25)
    assert found["speech_wer"] is found["speech_cer"] is found["ground_truth_wer"] is found["words_per_second"] is None


def test_speech_is_compared_with_the_model_s_own_text_and_ground_truth_speech_with_the_expected() -> None:
    found = values(scores([record("no", speech_transcript="no", ground_truth_transcript="yet"),
                           record("one two", speech_transcript="one too", ground_truth_transcript="yes")]))
    assert (found["speech_wer"], found["speech_cer"]) == (1 / 3, 1 / 9)  # one word of three, one letter of nine
    assert (found["ground_truth_wer"], found["ground_truth_cer"]) == (1 / 2, 1 / 6)


def test_rates_are_of_all_seconds() -> None:
    rows = [record("one two, three", codes=tuple(range(30)), seconds=1.0, ground_truth_seconds=0.5, ground_truth_code_count=20),
            record("four", codes=tuple(range(10)), seconds=1.0, ground_truth_seconds=1.5, ground_truth_code_count=40),
            record("silent", seconds=0.0)]
    found = values(scores(rows))
    assert (found["words_per_second"], found["codes_per_second"]) == (2.0, 20.0)
    assert (found["ground_truth_words_per_second"], found["ground_truth_codes_per_second"]) == (1.0, 30.0)


def test_ground_truth_codes_are_unknown_where_the_run_makes_none() -> None:
    assert scores([record("yes", ground_truth_seconds=1.0)])["ground_truth_codes_per_second"] is None


def test_kinds_are_counted_apart() -> None:
    found = {kind: values(some) for kind, some in kinds([record("yes"), record("no"), record("yes", "b")]).items()}
    assert {kind: (some["exact"], some["text_wer"]) for kind, some in found.items()} == {"a": (0.5, 0.5), "b": (1.0, 0.0)}
    assert kinds([record("yes"), record("no")]) == {}


def test_latency_by_omega() -> None:
    timings = [Timing("x", 10, 0.1, 0.2, 0.6, 2.0), Timing("y", 10, 0.3, 0.4, 1.0, 2.0), Timing("z", 10, 0.2, None, 0.5, 0.0),
               Timing("x", None, 0.5, 0.5, 0.5, 2.0)]
    found = {name: values(some) for name, some in latency(timings).items()}
    assert list(found) == ["10", "offline"]
    assert found["10"] == {"ttft": 0.2, "time_to_first_audio": pytest.approx(0.3),
                           "time_to_first_audio_p90": pytest.approx(0.38),
                           "total_time": 0.6, "real_time_factor": pytest.approx(0.4)}


def test_every_number_has_a_meaning() -> None:
    assert set(MEANINGS) == set(scores([record("yes")])) | set(latency([Timing("x", None, 1.0, 1.0, 1.0, 1.0)])["offline"])


def test_ablations_of_images_and_videos() -> None:
    found = values(scores([record("yes", shuffled_image="no", shuffled_video="yes"), record("yes", shuffled_image="yes")]))
    assert (found["shuffled_image"], found["shuffled_video"]) == (0.5, 1.0)


def test_noise_is_no_answer() -> None:
    rows = [record("yes", expected_state="audio"), record("", expected_state="noise", shuffled_audio="yes")]
    found = scores(rows)
    assert found["exact"] and (found["exact"].value, found["exact"].count) == (1.0, 1)
    assert found["shuffled_audio"] is None and values(found)["text_wer"] == 0.0


def test_transcripts_of_chinese_are_counted_in_characters_and_spaces_do_not_count() -> None:
    rows = [record("yes", reference_transcripts=("三后面是什么",), transcripts=("三 后面 什么",)),
            Record("x", "yes", "yes", facts={"language": "en"}, reference_transcripts=("a red cross",),
                   transcripts=("a red cros",))]
    found = values(scores(rows))
    assert found["transcript_wer"] == pytest.approx(2 / 9)  # one of six characters, one of three words
    assert found["transcript_cer"] == pytest.approx(2 / 17)
    apart = {name: values(some)["transcript_cer"] for name, some in languages(rows).items()}
    assert apart == {"": pytest.approx(1 / 6), "en": pytest.approx(1 / 11)}


def test_modalities_are_counted_apart() -> None:
    rows = [record("yes", modality="audio"), record("no", modality="image, audio")]
    assert {name: values(some)["exact"] for name, some in modalities(rows).items()} == {"audio": 1.0, "image, audio": 0.0}
