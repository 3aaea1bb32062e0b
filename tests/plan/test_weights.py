"""A preset named after a public checkpoint demands its weights: in `check` as advice, in `train` as a refusal."""

from pathlib import Path

import pytest
from small_recipe import write_recipe

import omnikit
from omnikit import cli
from omnikit.errors import PlanError
from omnikit.paths import recipe_files
from omnikit.plan.plan import Plan
from omnikit.plan.weights import advice_on_weights, require_weights, unnamed_weights

FULL = {
    "llama_omni/full": {"audio.encoder": "whisper_large_v3", "backbone": "llama_3_1_8b_omni",
                        "speech.codec": "unit_hifigan_1000"},
    "vita_1_5/full": {"vision.encoder": "internvit_300m_448", "backbone": "qwen2_5_7b_instruct"},
    "vita/full": {"vision.encoder": "internvit_300m_448", "backbone": "mixtral_8x7b_vita"},
}
NAMED = ("audio.encoder.weights=/w", "backbone.weights=/l", "speech.codec.weights=/v")


def unnamed(*words: str) -> list[str]:
    return list(unnamed_weights(omnikit.check(words[0], words[1:])))


@pytest.mark.parametrize("name", [name for name in recipe_files() if name.startswith("survey/")])
def test_public_sizes_miss_the_language_model_s_weights_and_small_ones_none(name: str) -> None:
    missed = unnamed_weights(omnikit.check(name))
    assert ("backbone" in missed) == name.endswith("full") and bool(missed) == name.endswith("full")


@pytest.mark.parametrize("name", [name for name in recipe_files() if not name.startswith("survey/")])
def test_full_recipes_miss_their_checkpoints_and_no_other_does(name: str) -> None:
    assert unnamed_weights(omnikit.check(name)) == FULL.get(name.partition("_lora")[0], {})


def test_named_weights_are_not_missing() -> None:
    assert unnamed("llama_omni/full", *NAMED) == []
    assert unnamed("llama_omni/full", *NAMED[1:]) == ["audio.encoder"]


def test_random_weights_that_are_asked_for_are_not_missing() -> None:
    assert unnamed("llama_omni/full", *NAMED[1:], "audio.encoder.weights=random") == []


def test_random_reaches_the_component_as_no_weights() -> None:
    plan = omnikit.check("llama_omni/full", ["audio.encoder.weights=random"])
    assert plan.inputs["audio"].encoder == omnikit.check("llama_omni/full").inputs["audio"].encoder


def test_component_s_own_defaults_demand_nothing() -> None:
    assert unnamed("llama_omni/full", *NAMED[1:], "audio/encoder=whisper") == []


def extended(folder: Path, stage: str) -> str:
    """Write a recipe that puts one more stage into llama_omni/full."""
    file = folder / "mine.yaml"
    file.write_text(f"# @package _global_\ndefaults: [/llama_omni/full, _self_]\nstages:\n  more: {stage}\n")
    return str(file)


@pytest.mark.parametrize(("train", "missing"), [("{}", []), ("{audio: full}", ["backbone", "speech.codec"])],
                         ids=["all", "part"])
def test_part_that_a_stage_imports_needs_none(train: str, missing: list[str], tmp_path: Path) -> None:
    source = "{use: llama_omni, folder: a, vocoder: b, whisper: c}"
    assert unnamed(extended(tmp_path, f"{{objective: import, source: {source}, train: {train}}}")) == missing


def test_vocoder_that_is_trained_from_scratch_needs_none(tmp_path: Path) -> None:
    recipe = extended(tmp_path, "{objective: vocoder, train: {speech: {codec: full}}, loss: {mel: 45.0, duration: 1.0}, data:"
                                " {conversations: 1.0}, trainer: {max_steps: 1}}")
    words = ("+speech/units=mhubert_1000", "speech.units.centroids=/c.npy", "data.conversations.provides=[audio,answer,speech]")
    assert unnamed(recipe, *words) == ["audio.encoder", "backbone", "speech.units"]


def sentence(plan: Plan) -> str:
    with pytest.raises(PlanError) as caught:
        require_weights(plan)
    return str(caught.value)


def test_sentence_names_parts_presets_and_overrides() -> None:
    plan = omnikit.check("llama_omni/full", NAMED[1:])
    assert sentence(plan) == (
        "llama_omni/full names no weights for audio.encoder (whisper_large_v3), so training would start from random numbers"
        " instead of the published ones; add audio.encoder.weights=PATH, or audio.encoder.weights=random where random numbers"
        " are wanted.")
    assert advice_on_weights(omnikit.check("llama_omni/full", NAMED)) is None


@pytest.mark.parametrize("command", ["check", "show"])
def test_wiring_is_printed_with_the_advice(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "llama_omni/full"]) == 0
    printed = capsys.readouterr().out
    assert "audio.encoder    whisper_large_v3" in printed
    assert printed.splitlines()[-1].startswith("Before training: llama_omni/full names no weights for audio.encoder (whis")


def test_train_stops_before_anything_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe(tmp_path, ("/codec: unit_hifigan", "/codec: unit_hifigan_1000"))
    assert cli.main(["train", recipe.name]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("omnikit: small names no weights for speech.codec (unit_hifigan_1000), so training would start")
    assert not (tmp_path / "runs").exists()
    with pytest.raises(PlanError, match=r"add speech\.codec\.weights=PATH"):
        omnikit.train(recipe)


def test_deep_check_stops_as_train_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "llama_omni/full", "--deep"]) == 2
    assert "llama_omni/full names no weights for audio.encoder" in capsys.readouterr().err
