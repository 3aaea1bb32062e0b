"""`omnikit forecast`: what it prints, what it refuses, and a measured stage beside its forecast."""

import json
from pathlib import Path

import pytest

from omnikit.cli import main
from omnikit.training.measure import peak_memory


def test_it_prints_the_table_what_is_assumed_and_what_makes_it_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", "llama_omni/full", "--memory", "80GiB", "--text-tokens", "256"]) == 0
    printed = capsys.readouterr().out
    assert "Assumed: 256 tokens of text in a row" in printed
    assert "understand fits 80.0 GiB, " in printed and "stages.understand.train.backbone=lora" in printed


def test_json_has_bytes_and_changes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", "llama_omni/full_lora", "--memory", "80GiB", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["understand"]
    assert found["fits"] and found["changes"] == []
    assert found["gradients"] == 4 * found["trained"]


@pytest.mark.parametrize(("argument", "value", "words"), [("--memory", "big", "must be a size such as 80GiB"),
                                                          ("--devices", "0", "must be at least 1"),
                                                          ("--text-tokens", "-1", "must be at least 1")])
def test_nonsense_is_refused(argument: str, value: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", "llama_omni/full", f"{argument}={value}"]) == 2
    assert words in capsys.readouterr().err


def test_check_prints_one_line_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "asr/tiny"]) == 0
    assert capsys.readouterr().out.count("Memory: at most 0.") == 1


def test_peak_of_a_process_grows_by_what_is_held() -> None:
    with peak_memory() as before:
        sum(range(2_000_000))
    with peak_memory() as peak:
        held = bytearray(b"1" * 300_000_000)
        sum(range(2_000_000))
    assert 0.9 * len(held) < peak[0] - before[0] < 2.2 * len(held)


@pytest.mark.slow
def test_a_measured_stage_is_near_its_forecast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OMNIKIT_CACHE", str(tmp_path))
    assert main(["forecast", "asr/tiny", "data.readings.size=64", "--measure"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("  listen: 0.") and line.endswith("s a step")
    assert abs(int(line.partition("(")[2].partition("%")[0])) <= 15
