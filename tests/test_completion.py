import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_recipe import publish, write_recipe

from omnikit import cli, registry
from omnikit.commands.completion import words
from omnikit.paths import recipe_files

FULL = ["llama_omni/full", "llama_omni/full_lora", "llama_omni/full_lora_24gb"]


@pytest.fixture(params=["name", "path"])
def recipe(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(write_recipe(tmp_path)) if request.param == "path" else "llama_omni/full"


@pytest.mark.parametrize(("line", "expected"), [
    ("omnikit ", list(cli.COMMANDS)),
    ("omnikit c", ["chat", "check", "check-head", "compare", "completion"]),
    ("omnikit train llama_omni/f", FULL),
    ("omnikit check ", list(recipe_files())),
    ("omnikit list enc", ["encoder"]),
    ("omnikit list re", ["reader", "recipe"]),
    ("omnikit bench ", ["duplex"]),
    ("omnikit data ", ["build", "check", "inspect"]),
    ("omnikit data build sp", ["spoken_instructions", "spoken_questions"]),
    ("omnikit data build spoken_instructions seed=1 noise", ["noise_fraction=", "noise_snr_db="]),
    ("omnikit data inspect llama_omni/f", FULL),
    ("omnikit data check llama_omni/f", FULL),
    ("omnikit import ll", ["llama_omni"]),
    ("omnikit nonsense x", []),
], ids=str)
def test_words_before_the_overrides(line: str, expected: list[str]) -> None:
    assert sorted(words(line)) == sorted(expected)


@pytest.mark.parametrize("command", ["chat", "eval", "check-head", "bundle", "replay", "bench duplex",
                                     "compare", "compare some/run"])
def test_commands_on_runs_complete_to_recipes_that_have_one(
        command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "llama_omni" / "tiny").mkdir(parents=True)
    assert words(f"omnikit {command} llama_omni/") == ["llama_omni/tiny"]


def test_a_group_completes_to_its_kinds(recipe: str) -> None:
    assert {"audio/encoder=", "audio/projector="} <= set(words(f"omnikit train {recipe} audio/"))


def test_a_group_completes_to_presets_and_components(recipe: str) -> None:
    found = words(f"omnikit check {recipe} audio/encoder=wh")
    assert "audio/encoder=whisper" in found and "audio/encoder=whisper_large_v3" in found
    assert all(word.startswith("audio/encoder=wh") for word in found)


def test_the_backbone_completes_to_presets(recipe: str) -> None:
    assert "backbone=qwen2_5_7b_instruct" in words(f"omnikit train {recipe} backbone=q")


def test_a_dot_completes_to_fields(recipe: str) -> None:
    found = words(f"omnikit show {recipe} audio.encoder.")
    assert {"audio.encoder.dim=", "audio.encoder.layers="} <= set(found)


def test_stages_complete_to_their_keys(recipe: str) -> None:
    assert set(words(f"omnikit train {recipe} stages.")) == {"stages.speak.", "stages.understand."}
    assert "stages.speak.optim.lr=" in words(f"omnikit train {recipe} stages.speak.optim.l")


def test_earlier_overrides_and_flags_do_not_disturb(recipe: str) -> None:
    found = words(f"omnikit train -m {recipe} audio/projector=qformer --cfg job audio.projector.que")
    assert found == ["audio.projector.queries="]


@pytest.mark.parametrize("line", ["omnikit train nothing.yaml audio/", "omnikit train no/recipe audio/"])
def test_a_recipe_that_is_not_there_completes_to_nothing(line: str) -> None:
    assert words(line) == []


def test_a_broken_recipe_completes_to_nothing(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, ("whisper_tiny_random", "whispr"))
    assert words(f"omnikit train {recipe} audio.enc") == []


def test_a_broken_override_completes_to_nothing(recipe: str) -> None:
    assert words(f"omnikit train {recipe} x=[ audio.enc") == []


def test_hydras_own_keys_stay_out(recipe: str) -> None:
    assert not any("hydra" in word for word in words(f"omnikit train {recipe} "))


def test_a_plugin_from_outside_completes_without_being_imported(site: Path, tmp_path: Path) -> None:
    publish(site, "made_up", {"omnikit.encoder": {"frames": "made_up.config:Frames"},
                              "omnikit.conf": {"made_up": "made_up.conf"}},
            {"config.py": "raise SystemError", "conf/__init__.py": "", "conf/encoder/frames_64.yaml": "use: frames\n"})
    registry.forget()
    found = words(f"omnikit train {write_recipe(tmp_path)} audio/encoder=fr")
    assert found == ["audio/encoder=frames", "audio/encoder=frames_64"]
    assert "made_up.config" not in sys.modules


def test_the_script_completes_in_bash(tmp_path: Path) -> None:
    program = tmp_path / "omnikit"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -m omnikit.cli \"$@\"\n")
    program.chmod(0o755)
    script = ('eval "$(omnikit completion bash)"; COMP_LINE="omnikit train llama_omni/full audio/encoder=mel_c";'
              'COMP_POINT=${#COMP_LINE};'
              'COMP_WORDS=($COMP_LINE); COMP_CWORD=3; _omnikit; printf "%s\\n" "${COMPREPLY[@]}"')
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, check=True)
    names = ("mel_cnn", "mel_cnn_tiny_random", "mel_cnn_tiny_relative_random", "mel_cnn_vita")
    assert done.stdout.split() == [f"audio/encoder={name}" for name in names]


def test_other_shells_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "zsh"]) == 2
    assert capsys.readouterr().err == 'omnikit: completion is for bash, not zsh; write: eval "$(omnikit completion bash)".\n'
