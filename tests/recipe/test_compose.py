# ruff: noqa: E501  # a table of sentences reads best with one in a line

import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from small_recipe import message, write_recipe

import omnikit
from omnikit import registry
from omnikit.errors import ConfigError
from omnikit.paths import recipe_files
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose, compose_tree, run_jobs
from omnikit.recipe.recipe import Recipe, parse
from omnikit.recipe.schema import defaults

# ---- grammar ---------------------------------------------------------------------------------------------------------


def test_slash_picks_a_component(recipe: str) -> None:
    made = compose(recipe, ["audio/projector=stack_mlp"])
    assert made.branches["audio"]["projector"].use == "stack_mlp"
    assert made.branches["audio"]["projector"].fields == {
        "stride": 5, "hidden": 256, "tail": "drop", "uneven": False, "activation": "relu", "bias": True}


def test_slash_picks_a_preset(recipe: str) -> None:
    assert compose(recipe, ["audio/encoder=whisper_small"]).branches["audio"]["encoder"].fields["dim"] == 768


def test_slash_replaces_every_field_of_what_was_there(recipe: str) -> None:
    made = compose(recipe, ["audio/encoder=mel_cnn"])
    assert made.branches["audio"]["encoder"].fields == defaults(registry.component("encoder", "mel_cnn"))


def test_dot_sets_a_field_of_what_was_picked(recipe: str) -> None:
    made = compose(recipe, ["audio/projector=stack_mlp", "audio.projector.stride=2"])
    assert made.branches["audio"]["projector"].fields["stride"] == 2


def test_dot_sets_a_field_of_a_stage_that_the_recipe_left_alone(recipe: str) -> None:
    made = compose(recipe, ["stages.speak.optim.lr=1e-4", "stages.speak.trainer.accumulate=4"])
    assert (made.stages["speak"].optim.lr, made.stages["speak"].trainer.accumulate) == (1e-4, 4)
    assert made.stages["understand"].optim.lr == 1e-3


def test_plus_adds_a_branch_of_any_name(recipe: str) -> None:
    made = compose(recipe, ["+left_audio/encoder=mel_cnn", "+left_audio/projector=qformer", "left_audio.projector.queries=8"])
    assert made.branches["left_audio"]["encoder"].use == "mel_cnn"
    assert made.branches["left_audio"]["projector"].fields["queries"] == 8


def test_plus_adds_a_dataset(recipe: str) -> None:
    made = compose(recipe, ["+data/more=messages_jsonl", "data.more.path=more.jsonl", "+stages.speak.data.more=0.5"])
    assert made.data["more"].fields["path"] == "more.jsonl"
    assert made.stages["speak"].data == {"rows": 1.0, "more": 0.5}


def test_tilde_removes_a_part(recipe: str) -> None:
    assert "codec" not in compose(recipe, ["~speech/codec"]).branches["speech"]


def test_the_backbone_stands_alone_and_brings_its_template(recipe: str) -> None:
    made = compose(recipe, ["backbone=qwen2_tiny_random"])
    assert made.backbone is not None and made.backbone.fields["template"] == "qwen2p5_instruct"
    assert made.template is None


def test_a_comma_is_refused_as_a_sweep(recipe: str) -> None:
    assert message(recipe, "seed=1,2") == "seed=1,2 names several values; a sweep needs -m (omnikit train … -m), a list needs brackets."


# ---- where recipes come from -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recipe_files())
def test_every_shipped_recipe_composes_by_name_and_by_path(name: str) -> None:
    by_name = compose(name)
    assert by_name.name == name
    assert compose(str(recipe_files()[name])).branches == by_name.branches


@pytest.mark.parametrize("name", ["my.recipe.yaml", "with space.yaml", "other.yml", "recipe.yaml", "hydra.yaml", "audio.yaml",
                                  "backbone.yaml", "llama_omni.yaml", "Größe.yaml"])
def test_a_recipe_may_have_any_file_name(tmp_path: Path, name: str) -> None:
    made = compose(str(write_recipe(tmp_path, name=name)))
    assert made.name == Path(name).stem and list(made.branches) == ["audio", "text", "speech"]


def test_a_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_recipe(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert compose("small.yaml").name == "small"


def test_a_recipe_given_by_path_does_not_linger(tmp_path: Path) -> None:
    first = write_recipe(tmp_path, name="first.yaml")
    compose(str(first))
    assert message("first").startswith("recipe 'first' is unknown.")


def test_two_recipes_of_one_name_are_not_confused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = write_recipe(tmp_path / "a"), write_recipe(tmp_path / "b", ("whisper_tiny_random", "mel_cnn"))
    assert compose(str(one)).branches["audio"]["encoder"].use == "whisper"
    assert compose(str(two)).branches["audio"]["encoder"].use == "mel_cnn"


def test_a_recipe_extends_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("""\
# @package _global_
defaults:
  - /llama_omni/full
  - override /audio/encoder: whisper_tiny_random
  - override /backbone: llama_tiny_random
  - _self_
seed: 7
stages: {speak: {trainer: {max_steps: 5}}, more: {train: {backbone: full}, loss: {text: 1.0}, data: {instruct_s2s: 1.0}}}
""")
    made = compose(str(tmp_path / "mine.yaml"))
    assert made.branches["audio"]["encoder"].fields["dim"] == 128
    assert (made.seed, list(made.stages)) == (7, ["understand", "speak", "more"])
    assert made.stages["speak"].trainer.max_steps == 5 and made.stages["speak"].trainer.max_epochs == 3


def test_a_recipe_leaves_out_a_part_and_a_stage_of_the_one_below(tmp_path: Path) -> None:
    file = tmp_path / "voiceless.yaml"
    file.write_text("defaults: [/llama_omni/tiny, override /speech/units: null, _self_]\n"
                    "stages: {units: null, understand: {after: listen}, voice: null}\n")
    whole, found = compose("llama_omni/tiny"), compose(str(file))
    assert set(whole.branches["speech"]) - set(found.branches["speech"]) == {"units"}
    assert [name for name in whole.stages if name not in found.stages] == ["units", "voice"]
    assert found.stages["speak"] == whole.stages["speak"]


def test_what_is_left_out_must_be_there(tmp_path: Path) -> None:
    file = tmp_path / "voiceless.yaml"
    file.write_text("defaults: [/llama_omni/tiny, _self_]\nstages: {unit: null}\n")
    with pytest.raises(ConfigError, match=r"stages\.unit is empty, but must be a mapping"):
        compose(str(file))


def test_a_run_keeps_no_stage_that_was_left_out(tmp_path: Path) -> None:
    file = tmp_path / "voiceless.yaml"
    file.write_text("defaults: [/llama_omni/tiny, _self_]\nstages: {voice: null}\n")
    texts: list[str] = []
    run_jobs(str(file), [], lambda made, text: texts.append(text))
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(texts[0])
    (run / "manifest.json").write_text('{"recipe": "voiceless"}')
    assert "voice" not in compose(str(run)).stages


def test_a_recipe_extends_a_file_beside_it(tmp_path: Path) -> None:
    write_recipe(tmp_path)
    (tmp_path / "mine.yaml").write_text("defaults: [/small, override /audio/projector: mlp, _self_]\naudio: {projector: {depth: 3}}\n")
    assert compose(str(tmp_path / "mine.yaml")).branches["audio"]["projector"].fields["depth"] == 3


def test_stages_stand_behind_the_one_they_name(tmp_path: Path) -> None:
    made = compose(str(write_recipe(tmp_path, ("  understand:\n", "  understand:\n    after: speak\n"))))
    assert list(made.stages) == ["speak", "understand"]


def test_stage_keeps_one_stage_which_starts_fresh(tmp_path: Path) -> None:
    recipe = str(write_recipe(tmp_path, ("  speak:\n", "  speak:\n    after: understand\n    init_from: understand\n")))
    made = compose(recipe, ["stage=speak"])
    assert list(made.stages) == ["speak"]
    assert (made.stages["speak"].after, made.stages["speak"].init_from) == (None, None)
    assert set(make(compose(recipe)).stages["speak"].origins.values()) == {"understand"}
    assert make(made).stages["speak"].origins == {}  # neither weights nor a name of a stage that is not there
    assert made.fingerprint() != compose(recipe).fingerprint()  # a folder of its own


def test_stage_none_is_the_whole_recipe(recipe: str) -> None:
    assert compose(recipe, ["stage=null"]) == compose(recipe)


def test_the_package_line_is_no_duty(tmp_path: Path) -> None:
    assert compose(str(write_recipe(tmp_path, ("# @package _global_\n", "")))).branches["audio"]["encoder"].use == "whisper"


def test_compose_is_reached_from_the_package() -> None:
    assert omnikit.compose("asr/tiny", ["seed=3"]) == compose("asr/tiny", ["seed=3"])


# ---- hydra.main ------------------------------------------------------------------------------------------------------


def jobs(recipe: str, *argv: str) -> list[tuple[Recipe, list[str]]]:
    found: list[tuple[Recipe, list[str]]] = []
    run_jobs(recipe, argv, lambda made, text: found.append((made, sys.argv[1:])))
    return found


def test_a_job_gets_the_recipe_and_its_own_command_line(recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = list(sys.argv)
    (made, argv), = jobs(recipe, "seed=3")
    assert (made.seed, argv, sys.argv) == (3, ["train", recipe, "seed=3"], before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.yaml"], "Hydra makes no folder of its own"


def test_a_job_gets_the_configuration_with_every_value_filled_in(tmp_path: Path) -> None:
    texts: list[str] = []
    run_jobs(str(write_recipe(tmp_path, ("data:\n", "system: ${template}\ntemplate: llama_3\ndata:\n"))), ["seed=${backbone.layers}"],
             lambda made, text: texts.append(text))
    values = OmegaConf.to_container(OmegaConf.create(texts[0]), resolve=False)
    assert "${" not in texts[0] and isinstance(values, dict)
    assert parse({str(key): value for key, value in values.items()}, "small").system == "llama_3"


def test_hydras_own_groups_are_no_recipes(tmp_path: Path) -> None:
    (tmp_path / "hydra").mkdir()
    (tmp_path / "hydra" / "evil.yaml").write_text("seed: 1\n")
    assert message(str(write_recipe(tmp_path)), "+hydra=evil").startswith("override hydra=evil names nothing: there is no recipe")


def test_a_sweep_runs_a_job_for_each_point(recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    found = jobs(recipe, "--multirun", "seed=1,2", "audio/projector=linear,mlp")
    assert [(made.seed, made.branches["audio"]["projector"].use) for made, _ in found] == [
        (1, "linear"), (1, "mlp"), (2, "linear"), (2, "mlp")]
    assert found[1][1] == ["train", recipe, "seed=1", "audio/projector=mlp"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.yaml"]


def test_compose_and_hydra_main_give_the_same_recipe(recipe: str) -> None:
    overrides = ["audio/encoder=mel_cnn", "stages.speak.optim.lr=1e-4"]
    assert jobs(recipe, *overrides)[0][0] == compose(recipe, overrides)


def test_compose_leaves_no_hydra_behind(recipe: str) -> None:
    compose(recipe)
    assert not GlobalHydra.instance().is_initialized()


def test_the_tree_holds_no_hydra_node(recipe: str) -> None:
    assert "hydra" not in compose_tree(recipe)
