"""Which settings of a case count as read."""

import json
import re
import shutil
from pathlib import Path

import pytest
from parity.replay import main
from parity.settings import Settings

GOLDENS = Path(__file__).parent / "goldens"


def test_settings_are_read_where_all_are_asked_for() -> None:
    settings = Settings({"a": {"b": 1, "c": 2}, "d": 3, "e": {"f": 4}})
    assert settings["a"]["b"] == 1 and settings.unread() == ["a.c", "d", "e.f"]
    assert {**settings["e"]} == {"f": 4} and settings.unread() == ["a.c", "d"]


def test_settings_that_change_nothing_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(GOLDENS / "internvit_300m_style", tmp_path / "one", copy_function=shutil.copyfile))
    facts = json.loads((folder / "case.json").read_text())
    facts["config"]["never_seen"] = 3
    (folder / "case.json").write_text(json.dumps(facts))
    assert main([str(folder)]) == 0
    line = capsys.readouterr().out
    assert re.search(r"; not read: .*use_flash_attn.*never_seen", line) and "patch_size" not in line
