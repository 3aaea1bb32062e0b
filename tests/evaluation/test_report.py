"""The report from saved records alone: the same bytes again, numbers with their conditions, a page that stands alone."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from omnikit.errors import RunError
from omnikit.evaluation import report
from omnikit.evaluation.conditions import ConditionsFile
from omnikit.evaluation.records import Record, Timing, write_lines

CONDITIONS: dict[str, Any] = {  # as a report states them
    "date": "2026-01-02 03:04 UTC", "recipe": "some/recipe", "run": "abc", "weights": "def", "seed": 3,
    "decoding": {"temperature": 0.0, "max_new_tokens": 9}, "speaks_with": "codec",
    "asr": {"recipe": "asr/tiny", "run": "ghi", "weights": "0123456789abcdef"},
    "data": {"spoken": {"dataset": "d", "fingerprint": "jkl"}}, "limit": None, "batch_size": 4,
    "latency": {"data": "spoken", "rows": 2, "omegas": [10], "independent_segments": True, "temperature": 0.0},
    "hardware": {"machine": "m", "cores": 2}, "versions": {"torch": "1"},
}
RECORDS = [
    Record("r1", "one two", "one two", ("say <one> two",), {"kind": "a"}, "no", "one too", "one two", (1, 2, 3), 0.7, 0.8, 31),
    Record("r2", "three", "tree <b>", (None,), {"kind": "b"}, "three", "tree", "three", (4,), 0.4, 0.6, 12),
]
TIMINGS = [Timing(f"r{i}", omega, 0.1 * i, 0.3 * i, 0.5 * i, 0.9) for omega in (10, None) for i in (1, 2)]


def saved(folder: Path, **changes: object) -> Path:
    """Write the records of an evaluation."""
    now = {**CONDITIONS, **changes}
    data, clock = now.pop("data"), now.pop("latency")
    folder.mkdir(exist_ok=True)
    file = ConditionsFile(folder, now)
    for title, dataset in data.items():
        file.finish(title, dataset, RECORDS)
    if clock:
        file.write_timings(clock, TIMINGS)
    return folder


def test_scoring_again_gives_the_same_bytes(tmp_path: Path) -> None:
    first = saved(tmp_path / "first")
    report.make(first)
    second = tmp_path / "second"
    shutil.copytree(first, second, ignore=shutil.ignore_patterns("report.*"))
    report.make(second)
    for name in ("report.json", "report.html"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_every_number_carries_the_id_of_its_conditions(tmp_path: Path) -> None:
    content = report.make(saved(tmp_path))
    [(identifier, conditions)] = content["conditions"].items()
    assert json.loads((tmp_path / "report.json").read_text()) == content
    assert {key: conditions[key] for key in CONDITIONS} == CONDITIONS
    assert "lower case" in conditions["normaliser"] and "bootstrap" in conditions["intervals"]
    groups = [*content["latency"].values()]
    for found in content["scores"].values():
        groups += [found["numbers"], *found["kinds"].values()]
    numbers = [one for group in groups for one in group.values() if one]
    assert len(numbers) > 20 and {one["conditions"] for one in numbers} == {identifier}


def test_other_conditions_have_another_id(tmp_path: Path) -> None:
    ids = {next(iter(report.make(saved(tmp_path / str(seed), seed=seed))["conditions"])) for seed in (1, 2)}
    assert len(ids) == 2


def test_numbers_of_the_report_are_right(tmp_path: Path) -> None:
    found = report.make(saved(tmp_path))["scores"]["spoken"]
    assert (found["dataset"], found["rows"]) == ("d", 2)
    assert found["numbers"]["exact"]["value"] == 0.5 and found["numbers"]["ground_truth_wer"]["value"] == 0.0
    assert found["numbers"]["speech_wer"]["value"] == pytest.approx(2 / 4)  # too for two; b is missing


def test_page_shows_numbers_plots_and_conditions_and_needs_no_other_file(tmp_path: Path) -> None:
    content = report.make(saved(tmp_path))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<title>some/recipe: evaluation report</title>" in page
    assert page.count("<svg") == 3 and "Ω: codes of a segment at least" in page
    assert "300" in page and "exact answers" in page  # ms
    assert next(iter(content["conditions"])) in page and "0123456789abcdef" in page and "lower case" in page
    assert "tree &lt;b&gt;" in page and "<b>tree" not in page  # a model's words are no markup
    assert not re.search(r"<script|<link|src=|url\(\s*['\"]?http|@import", page)
    assert set(re.findall(r'href="([^"#]*)', page)) <= {""}


def test_page_has_audio_of_saved_answers_and_numbers_of_the_codec(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    again = {"codec_transcript": "one", "mel_distance": 0.25, "stoi": 0.5, "used_codes": (1, 2, 9), "codebook_size": 20}
    (folder / "wavs").mkdir()
    (folder / "wavs" / "a.wav").write_bytes(b"RIFF")
    write_lines(folder / "spoken.jsonl", [replace(RECORDS[0], **again, ltas_correlation=0.5, wav="wavs/a.wav"),
                                         replace(RECORDS[1], **{**again, "used_codes": (2, 4)}, wav="wavs/gone.wav")])
    found = report.make(folder)["scores"]["spoken"]["numbers"]
    values = {name: found[name]["value"] for name in ("codec_wer", "mel_distance", "stoi", "codebook_utilisation",
                                                      "ltas_correlation")}
    assert values == {"codec_wer": 2 / 3, "mel_distance": 0.25, "stoi": 0.5, "codebook_utilisation": 0.2,
                      "ltas_correlation": 0.5}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<audio") == 1 and 'src="data:audio/wav;base64,UklGRg=="' in page
    assert "<h2>Codec and voice</h2>" in page and "20.0\N{NARROW NO-BREAK SPACE}%" in page


def test_run_without_speech_or_asr_model_has_a_report(tmp_path: Path) -> None:
    folder = saved(tmp_path, asr=None, latency=None)
    write_lines(folder / "spoken.jsonl", [Record("r1", "one", "one"), Record("r2", "two", "")])
    content = report.make(folder)
    assert content["latency"] == {} and content["scores"]["spoken"]["numbers"]["speech_wer"] is None
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<h2>Speech</h2>" not in page and "<h2>Latency</h2>" not in page and "(nothing)" in page


def test_speech_without_a_transcript_has_its_rate(tmp_path: Path) -> None:
    folder = saved(tmp_path, asr=None)
    write_lines(folder / "spoken.jsonl", [Record("r1", "one", "one", codes=(1, 2), seconds=0.5)])
    report.make(folder)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "The speech was not transcribed" in page and "words/s" in page and "4.00" in page


def test_no_saved_answers_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"conditions\.json cannot be read, so there are no saved answers to score again"):
        report.make(tmp_path)


@pytest.mark.parametrize("line", ["{", '{"id": "x", "colour": "red"}', "[1]"], ids=["cut", "foreign", "list"])
def test_other_lines_are_one_sentence(tmp_path: Path, line: str) -> None:
    folder = saved(tmp_path)
    (folder / "spoken.jsonl").write_text(line + "\n")
    with pytest.raises(RunError, match=r"spoken\.jsonl does not hold records of omnikit eval .* without --rescore"):
        report.make(folder)


def test_missing_answers_are_one_sentence(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    (folder / "latency.jsonl").unlink()
    with pytest.raises(RunError, match=r"latency\.jsonl does not hold records of omnikit eval"):
        report.make(folder)
