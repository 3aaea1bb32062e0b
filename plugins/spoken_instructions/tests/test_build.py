# ruff: noqa: E501  # an option and its sentence stand in one line
"""Whole builds: files are as the manifest states, whatever the processes and whenever they were killed."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from instructions import BAD, TWICE, mixed
from numpy.typing import NDArray
from omnikit_espeak.config import Espeak
from omnikit_spoken_instructions.config import SpokenInstructions
from omnikit_spoken_instructions.mixing import with_noise, with_voice
from omnikit_spoken_instructions.script import Job
from omnikit_spoken_instructions.worker import record

from omnikit import cli
from omnikit.contracts.builders import TextGenerator, Units
from omnikit.contracts.codes import Code
from omnikit.contracts.types import BuildReport
from omnikit.data.build.recordings import Utterance
from omnikit.errors import ConfigError, DataError, OmnikitError, RunError

ROWS = 40
NOISE = {"noise_fraction": 0.4, "overlap_fraction": 0.4}


class NoRuns:
    """No run is there; a codec that gives a waveform's length in tenths of a second, and a model whose text is fixed."""

    version, sample_rate = "1", 16000

    def text_generator(self, run: str) -> TextGenerator:
        return FixedText()

    def units(self, run: str) -> Units:
        return self

    def __call__(self, waveform: NDArray[np.float32]) -> list[Code]:
        return [(len(waveform) // 1600,), (1,)]


class FixedText:
    version = "1"

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, instructions: str, texts: Sequence[str]) -> list[str]:
        self.calls += 1
        if self.calls > 2 and os.environ.get("STOP"):
            raise KeyboardInterrupt
        return [f"This is about {' '.join(text.split()[-3:])}" for text in texts]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "instructions.json"
    path.write_text(json.dumps(mixed(ROWS)))
    return path


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BuildReport]:
    folder = tmp_path_factory.mktemp("built") / "out"
    return folder, SpokenInstructions(str(source), **NOISE).build().make(folder, NoRuns())


def content(folder: Path) -> dict[str, bytes]:
    """Give the files of a dataset, without the builder's own."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and ".build" not in path.parts}


def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def test_manifest_names_every_file_with_its_hash(built: tuple[Path, BuildReport]) -> None:
    folder, _ = built
    manifest = json.loads((folder / "manifest.json").read_text())
    files = {name: hashlib.sha256(data).hexdigest() for name, data in content(folder).items() if name != "manifest.json"}
    assert manifest["files"] == files
    assert manifest["counts"]["seconds"]["answer"] == pytest.approx(
        sum(soundfile.info(path).duration for path in folder.glob("audio/*-answer.wav")), abs=0.1)


def test_every_entry_is_a_row_or_rejected_for_a_reason(built: tuple[Path, BuildReport]) -> None:
    folder, found = built
    expected = dict.fromkeys([*BAD, "asked before"], 1)
    rejected = [json.loads(line)["reason"] for line in (folder / "rejected.jsonl").read_text().splitlines()]
    assert found.rejected == expected and sorted(rejected) == sorted(expected)
    assert found.rows == len(rows(folder)) == ROWS - len(expected)
    assert sum(row["messages"][0]["content"][0]["text"].endswith("allest animal?") for row in rows(folder)) == 1, TWICE


def test_answers_have_one_voice_and_questions_many(built: tuple[Path, BuildReport]) -> None:
    folder, _ = built
    row = rows(folder)[0]
    text, audio = row["messages"][1]["content"]
    waveform, rate = Espeak().build().speak(text["text"], "en-us", 175, 50)
    found, found_rate = soundfile.read(folder / audio["path"], dtype="float32")
    assert (rate, audio["text"]) == (found_rate, text["text"])
    np.testing.assert_allclose(found, waveform, atol=2 / 32768)  # 16-bit samples
    assert len({row["facts"]["voice"] for row in rows(folder)}) > 5


def test_facts_hold_what_is_mixed_into_a_question(built: tuple[Path, BuildReport]) -> None:
    facts = [row["facts"] for row in rows(built[0])]
    noisy, overlapped = ([fact for fact in facts if key in fact] for key in ("noise_snr_db", "overlap"))
    assert 3 < len(noisy) < len(facts) and 3 < len(overlapped) < len(facts)
    assert all(5 <= float(fact["noise_snr_db"]) <= 20 for fact in noisy)
    assert all(10 <= float(fact["overlap_db"]) <= 20 for fact in overlapped)


def test_number_of_processes_changes_nothing(built: tuple[Path, BuildReport], source: Path, tmp_path: Path) -> None:
    SpokenInstructions(str(source), workers=1, **NOISE).build().make(tmp_path / "out", NoRuns())
    assert content(tmp_path / "out") == content(built[0])


def test_killed_build_goes_on_to_the_same_files(built: tuple[Path, BuildReport], source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    words = ["data", "build", "spoken_instructions", f"source={source}", f"out={folder}", *(f"{k}={v}" for k, v in NOISE.items())]
    process = subprocess.Popen([sys.executable, "-c", "import sys; from omnikit.cli import main; main(sys.argv[1:])", *words])
    journal = folder / ".build" / "spoken.jsonl"
    while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") > 5):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    done = journal.read_bytes().count(b"\n")
    with journal.open("ab") as file:
        file.write(b'{"id": "cut sho')  # what a kill within a write leaves
    (folder / "audio" / ".half.wav.1.part").write_bytes(b"half")
    found = SpokenInstructions(str(source), **NOISE).build().make(folder, NoRuns())
    assert content(folder) == content(built[0])
    assert found.made <= built[1].made - done


def test_finished_build_makes_nothing_again(built: tuple[Path, BuildReport], source: Path) -> None:
    folder, found = built
    before = content(folder)
    assert SpokenInstructions(str(source), **NOISE).build().make(folder, NoRuns()) == replace(found, made=0)
    assert content(folder) == before


def test_lost_audio_file_is_made_again(source: Path, tmp_path: Path) -> None:
    options = SpokenInstructions(str(source), limit=12)
    options.build().make(tmp_path / "out", NoRuns())
    before = content(tmp_path / "out")
    min((tmp_path / "out" / "audio").iterdir()).unlink()
    assert options.build().make(tmp_path / "out", NoRuns()).made == 1
    assert content(tmp_path / "out") == before


def test_codes_of_a_run_come_with_the_rows(source: Path, tmp_path: Path) -> None:
    found = SpokenInstructions(str(source), limit=6, units="a_run").build().make(tmp_path, NoRuns())
    audio = rows(tmp_path)[0]["messages"][1]["content"][1]
    assert audio["codes"] == [soundfile.info(tmp_path / audio["path"]).frames // 1600, 1]
    assert found.provides[-1] == "codes"


def test_model_s_texts_stay_when_it_is_stopped(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = SpokenInstructions(str(source), rewriter="a_run", limit=26)
    options.build().make(tmp_path / "whole", NoRuns())
    monkeypatch.setenv("STOP", "1")
    with pytest.raises(KeyboardInterrupt):
        options.build().make(tmp_path / "stopped", NoRuns())
    monkeypatch.delenv("STOP")
    before = (tmp_path / "stopped" / ".build" / "rewritten.jsonl").read_bytes()
    options.build().make(tmp_path / "stopped", NoRuns())
    assert before and (tmp_path / "stopped" / ".build" / "rewritten.jsonl").read_bytes().startswith(before)
    assert content(tmp_path / "stopped") == content(tmp_path / "whole")


@pytest.mark.parametrize(("changes", "kind", "sentence"), [
    ({"seed": 1}, RunError, r"was built with options\.seed 0, but it is 1 now; name another folder"),
    ({"voices": ("en-us", "xx")}, ConfigError, "espeak-ng has no voice 'xx'"),
    ({"speeds": (10, 200)}, ConfigError, "speed is 10, but espeak-ng speaks 80 to 450"),
    ({"source": "gone.json"}, DataError, "gone.json cannot be read"),
    ({"tts": "espak"}, OmnikitError, "tts 'espak' is not installed. Did you mean 'espeak'"),
], ids=["other options", "voice", "speed", "source", "tts"])
def test_what_cannot_be_built_is_one_sentence(built: tuple[Path, BuildReport], source: Path, changes: dict[str, object],
                                              kind: type[OmnikitError], sentence: str) -> None:
    options = SpokenInstructions(**{"source": str(source), **NOISE, **changes})
    with pytest.raises(kind, match=sentence):
        options.build().make(built[0], NoRuns())


def test_changed_source_is_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(mixed(20)[:4]))
    options = SpokenInstructions(str(tmp_path / "a.json"))
    options.build().make(tmp_path / "out", NoRuns())
    (tmp_path / "a.json").write_text(json.dumps(mixed(21)[:3]))
    with pytest.raises(RunError, match="was built with source_sha256"):
        options.build().make(tmp_path / "out", NoRuns())


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(json.dumps([BAD["link"], BAD["code"]]))
    with pytest.raises(DataError, match="No row is left of 2: 1 code, 1 link"):
        SpokenInstructions(str(tmp_path / "bad.json")).build().make(tmp_path / "out", NoRuns())


def test_ids_of_the_source_stay(tmp_path: Path) -> None:
    whole = {"messages": [{"role": "user", "content": "Is it late?"}, {"role": "assistant", "content": "It is late."}]}
    (tmp_path / "in.json").write_text(json.dumps([{"id": 12, **whole}, {"prompt_id": "p", "data": ["Why?"]},
                                                  {"id": "again", **whole}, BAD["link"], BAD["code"]]))
    SpokenInstructions(str(tmp_path / "in.json")).build().make(tmp_path / "out", NoRuns())
    assert [row["facts"]["source_id"] for row in rows(tmp_path / "out")] == ["12"]  # type: ignore[index]  # of JSON
    rejected = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert [row.get("source_id") for row in rejected] == ["p", "again", None, None]


def test_folder_in_which_nothing_was_left_is_free_for_another_source(source: Path, built: tuple[Path, BuildReport], tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(json.dumps([BAD["link"], BAD["code"]]))
    with pytest.raises(DataError, match="No row is left"):
        SpokenInstructions(str(tmp_path / "bad.json")).build().make(tmp_path / "out", NoRuns())
    (tmp_path / "out" / ".build" / "rewritten.jsonl").write_text('{"said": []}\n')  # as a model's build leaves it
    SpokenInstructions(str(source), limit=12).build().make(tmp_path / "out", NoRuns())
    assert not (tmp_path / "out" / ".build" / "rewritten.jsonl").exists() and rows(tmp_path / "out")


def test_question_that_is_too_long_when_spoken_is_rejected(source: Path, tmp_path: Path) -> None:
    found = SpokenInstructions(str(source), limit=12, seconds=3.0).build().make(tmp_path, NoRuns())
    assert found.rejected["question sounds too long"] > 0
    assert all(soundfile.info(path).duration <= 3 for path in tmp_path.glob("audio/*-question.wav"))


class Refuses:
    """Speaks, but for what holds one of two words."""

    version = "1"

    def speak(self, text: str, voice: str, speed: int, pitch: int) -> tuple[NDArray[np.float32], int]:
        if "never" in text:
            raise DataError("no sound for this text")
        return np.full(800, np.nan if "broken" in text else 0.1, np.float32), 8000


@pytest.mark.parametrize("texts", [("never", "a", None), ("a", "never", None), ("a", "b", "never"), ("a", "broken", None)], ids=str)
def test_row_that_the_voice_refuses_is_rejected_alone(texts: tuple[str, str, str | None], tmp_path: Path) -> None:
    question, answer, other = (Utterance(text, "v") if text else None for text in texts)
    assert question and answer
    job = Job("alpaca-1", question, answer, 9.0, "1", other=other)
    assert record(job, tmp_path, Refuses()) == {"id": "alpaca-1", "rejected": "cannot be spoken"}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("snr", [0.0, 10.0, 25.0])
def test_noise_lies_at_the_stated_distance(snr: float) -> None:
    waveform = 0.2 * np.sin(np.arange(16000) / 10).astype(np.float32)
    noise = with_noise(waveform, snr, np.random.default_rng(0)) - waveform  # nothing is clipped, so nothing was scaled down
    assert 10 * np.log10(np.mean(waveform**2) / np.mean(noise**2)) == pytest.approx(snr, abs=0.01)


def test_other_voice_begins_in_the_first_half_and_is_cut() -> None:
    waveform = 0.1 * np.ones(1000, np.float32)
    added = with_voice(waveform, np.ones(5000, np.float32), 20.0, np.random.default_rng(3)) - waveform
    start = int(np.flatnonzero(np.abs(added) > 1e-6)[0])
    assert 0 <= start < 500 and len(added) == 1000
    assert 10 * np.log10(np.mean(waveform**2) / np.mean(added**2)) == pytest.approx(20, abs=0.01)


def test_loud_mix_is_turned_down_as_a_whole() -> None:
    waveform = 0.9 * np.sin(np.arange(16000) / 10).astype(np.float32)
    assert np.abs(with_noise(waveform, 0.0, np.random.default_rng(0))).max() == pytest.approx(0.99, abs=1e-4)


@pytest.mark.parametrize(("options", "sentence"), [
    ({"fillers": 2.0}, "fillers is 2.0, but a fraction is between 0 and 1"), ({"workers": 0}, "workers is 0, but must be at least 1"),
    ({"speeds": (200, 100)}, r"speeds is \[200, 100\], but must go from the lower"), ({"limit": 0}, "limit is 0"),
    ({"voices": ()}, "voices is empty"), ({"seconds": 0.0}, "seconds is 0")], ids=str)
def test_impossible_options_are_refused(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SpokenInstructions("x", **options)


def test_command_prints_rejected_rows_by_reason(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "build", "spoken_instructions", f"source={source}", f"out={tmp_path / 'out'}", "limit=12"]) == 0
    shown = capsys.readouterr().out
    assert "rows      7" in shown and "rejected  5" in shown and "1  code\n" in shown
    assert "provides=[audio,transcript,answer,speech]" in shown


def chinese(folder: Path) -> str:
    path = folder / "rows.json"
    rows = [{"instruction": "法国的首都是哪里？", "output": "法国的首都是巴黎。"}, {"instruction": "Name a colour", "output": "Red."},
            {"instruction": "把“你好”翻译成英文", "output": "Hello."}, {"instruction": "日本の首都はどこですか", "output": "東京です。"}]
    path.write_text(json.dumps(rows, ensure_ascii=False))
    return str(path)


def test_each_language_is_spoken_by_its_own_voices(tmp_path: Path) -> None:
    report = SpokenInstructions(chinese(tmp_path), fillers=0).build().make(tmp_path / "out", NoRuns())
    rows = [json.loads(line) for line in (tmp_path / "out" / "train.jsonl").read_text().splitlines()]
    asked = [row["messages"][0]["content"][0]["text"] for row in rows]
    assert asked == ["法国的首都是哪里？", "Name a colour.", "把你好翻译成英文。"]
    assert [row["facts"]["voice"].startswith("cmn") for row in rows] == [True, False, True]
    assert report.rejected == {"unreadable character '日'": 1}


def test_answer_is_spoken_in_its_own_language(tmp_path: Path) -> None:
    SpokenInstructions(chinese(tmp_path), fillers=0).build().make(tmp_path / "out", NoRuns())
    row = json.loads((tmp_path / "out" / "train.jsonl").read_text().splitlines()[0])
    path = next(part["path"] for part in row["messages"][1]["content"] if part["type"] == "audio")
    expected, rate = Espeak().build().speak("法国的首都是巴黎。", "cmn")
    found, _ = soundfile.read(tmp_path / "out" / path, dtype="float32")
    assert rate == 16000 and abs(len(found) - len(expected)) <= 1600


@pytest.mark.parametrize(("options", "message"), [
    ({"voices": ("en-us", "cmn+f1")}, "voices or answer_voice holds 'cmn\\+f1', a voice of Mandarin, which would speak English"),
    ({"answer_voice": "yue"}, "holds 'yue', a voice of Mandarin"),
    ({"mandarin_voices": ("en-us",)}, "mandarin_voices or mandarin_answer_voice holds 'en-us', a voice of English"),
], ids=["questions", "answers", "mandarin"])
def test_voice_of_the_other_language_is_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SpokenInstructions(chinese(tmp_path), **options).build().make(tmp_path / "out", NoRuns())
