# ruff: noqa: E501  # a table of sentences reads best with one in a line

import os
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from small import write_recipe

import omnikit
from omnikit import registry
from omnikit.config import compose, compose_tree, run_jobs
from omnikit.errors import ConfigError, OmnikitError, PlanError
from omnikit.places import recipe_files
from omnikit.plan import make
from omnikit.recipe import Recipe, parse
from omnikit.schema import defaults


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    return str(write_recipe(tmp_path))


def message(recipe: str, *overrides: str) -> str:
    with pytest.raises(OmnikitError) as caught:
        compose(recipe, overrides)
    return str(caught.value)


# ---- grammar ---------------------------------------------------------------------------------------------------------


def test_slash_picks_a_component(recipe: str) -> None:
    made = compose(recipe, ["audio/projector=stack_mlp"])
    assert made.branches["audio"]["projector"].use == "stack_mlp"
    assert made.branches["audio"]["projector"].fields == {"stride": 5, "hidden": 256, "tail": "drop", "uneven": False}


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
    made = compose(recipe, ["+left_ear/encoder=mel_cnn", "+left_ear/projector=qformer", "left_ear.projector.queries=8"])
    assert made.branches["left_ear"]["encoder"].use == "mel_cnn"
    assert made.branches["left_ear"]["projector"].fields["queries"] == 8


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


def test_a_comma_is_a_sweep_and_says_so(recipe: str) -> None:
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
    assert omnikit.compose is compose


# ---- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("override", "sentence"), [
    ("audio/encoder=whispr", "encoder 'whispr' is unknown. Did you mean 'whisper'? There is: "),
    ("audio.encoder.laernable=true", "audio.encoder.laernable names nothing: audio.encoder has no 'laernable'. Did you mean 'layers'?"),
    ("adio/encoder=whisper", "adio/encoder names nothing: recipe {recipe} has no 'adio'. Did you mean 'audio'? It has: "),
    ("adio/encoder=whisper", "audio, backbone, text, speech; a new branch is added with +."),
    ("speech/units=mel_units", "recipe {recipe} picks no speech/units; write +speech/units=<name> to add one."),
    ("audio/encodr=whisper", "audio/encodr names nothing: audio has no 'encodr'. Did you mean 'encoder'? It has: encoder, projector."),
    ("+audio/encodr=whisper", "audio/encodr names nothing: a branch holds encoder, projector, head, units, codec, normaliser. Did you mean 'encoder'?"),
    ("+audio/encoder=whisper", "+audio/encoder adds what recipe {recipe} already has; leave out the plus sign to replace it."),
    ("audio/encoder=", "override audio/encoder= names no preset; write audio/encoder=<name> or, to remove it, ~audio/encoder."),
    ("audio=3", "audio cannot be 3, because it holds components; pick one by name, or remove it with ~audio."),
    ("stages.speek.optim.lr=1", "stages.speek.optim.lr names nothing: stages has no 'speek'. Did you mean 'speak'?"),
    ("stages.speak.optim.l=1", "stages.speak.optim.l is not a field of Optim. Did you mean 'lr'? It has: beta1, beta2,"),
    ("stages.speak.trainer={max_step: 3}", "stages.speak.trainer.max_step is not a field of Run. Did you mean 'max_steps'?"),
    ("stages.speak.optim.lr=fast", "stages.speak.optim.lr is 'fast', but must be a number."),
    ("stages.speak.trainer.max_steps=1.5", "stages.speak.trainer.max_steps is '1.5', but must be a whole number."),
    ("stages.speak.data=rows", "stages.speak.data is rows, but must be a mapping of keys to values."),
    ("stages.speak=3", "stages.speak is 3, but must be a mapping of keys to values."),
    ("+stages.new.seed=3", "stages.new.seed belongs to stages.new, a stage that is not there; write a new stage in a YAML"),
    ("generate.max=3", "generate.max is not a field of Generate. It has: max_new_tokens, temperature."),
    ("~nope", "nope names nothing: recipe {recipe} has no 'nope'."),
    ("stage=speek", "stage is 'speek', which is no stage. Did you mean 'speak'? Stages: understand, speak."),
    ("stage=", "stage is '', which is no stage. Stages: understand, speak."),
    ("stage=[speak]", "stage is ["),
    ("~speech", "speech is a branch, which is removed part by part: ~speech/head ~speech/codec."),
    ("x=[1", "override 'x=[1' cannot be read: no viable alternative at input '[1'; write key=value."),
    ("foo", "override 'foo' cannot be read: "),
    ("+nonsense=3", "nonsense is 3, but a top-level key is either one of backbone, data, evaluate, generate, name, "),
    ("+seeed=3", "Did you mean 'seed'?"),
    ("seed=abc", "seed is 'abc', but must be a whole number."),
    ("audio.projector=linear", "audio.projector is 'linear', but must be a mapping with `use: <component>`; pick one with"
                               " audio/projector=<preset>."),
    ("+ears.encoder.dim=3", "ears.encoder.use is missing: pick a component or preset with ears/encoder=<name>."),
    ("seed=${nope}", "recipe small: seed cannot be resolved: Interpolation key 'nope' not found; write the value there."),
    ("generate=3", "generate is 3, but must be a mapping."),
    ("stages=[a,b]", "stages is [a,b], but must be a mapping of keys to values."),
    ("=3", "override '=3' cannot be read: it names no key; write key=value."),
    ("audio/encoder=whispr", "audio/encoder: encoder 'whispr' is unknown."),
    ("audio/encoder=[whisper,mel_cnn]", "names several, but a part is one component; pick it with audio/encoder=<name>."),
    ("audio.encoder.use=mel_cnn", "would keep the fields of another component; pick it with audio/encoder=mel_cnn."),
    ("backbone.use=qwen2", "would keep the fields of another component; pick it with backbone=qwen2."),
    ("+data.more.use=messages_jsonl", "pick it with +data/more=messages_jsonl."),
], ids=lambda value: value if "=" in value or "~" in value else "")
def test_a_wrong_override_is_one_sentence(recipe: str, override: str, sentence: str) -> None:
    found = message(recipe, override)
    assert sentence.format(recipe=recipe) in found and "\n" not in found and found.endswith((".", "?"))


@pytest.mark.parametrize(("changes", "sentence"), [
    ([("/audio/encoder", "/audio/encodr")], "{recipe}: /audio/encodr/whisper_tiny_random in its defaults names nothing: 'encodr' is"
     " not a part of a branch. Did you mean 'encoder'?"),
    ([("tiny_random\n  - /audio", "tiny_randm\n  - /audio")], "encoder 'whisper_tiny_randm' is unknown. Did you mean"),
    ([("/recipe\n", "/recipe\n  - /missing\n")], "{recipe}: /missing in its defaults names nothing: there is no recipe, preset or YAML"),
    ([("/recipe\n", "/recipe\n  - /small\n")], "{recipe} extends itself (small → small); take it out of the defaults."),
    ([("/recipe\n", "/recipe\n  - /text/head: lm\n")], "{recipe} picks text/head twice; write `override /text/head: <name>`"),
    ([("  - _self_", "  - override /audio/codec: mel_units\n  - _self_")], "{recipe} says `override /audio/codec` in its defaults, but"
     " what it extends picks no audio/codec."),
    ([("loss: {text", "los: {text")], "stages.understand.los is not a field of Stage. Did you mean 'loss'?"),
    ([("{rows: 1.0}", "rows")], "stages.understand.data is 'rows', but must be a mapping of keys to values."),
    ([("max_steps: 3", "max_steps: many")], "stages.understand.trainer.max_steps is 'many', but must be a whole number."),
    ([("max_steps: 3", "max_step: 3")], "stages.understand.trainer.max_step is not a field of Run. Did you mean 'max_steps'?"),
    ([("stages:\n", "generate: 3\nstages:\n")], "generate is 3, but must be a mapping of keys to values."),
    ([("stages:\n", "evaluate: {datas: {}}\nstages:\n")], "evaluate.datas is not a field of Evaluate. Did you mean 'data'?"),
    ([("stages:\n", "bogus: 3\nstages:\n")], "bogus is 3, but a top-level key is either one of"),
    ([("stages:\n", "audio: {ear: {}}\nstages:\n")], "audio.ear is not a part of a branch; a branch holds encoder, projector,"),
    ([("stages:\n", "hydra: {job: {name: x}}\nstages:\n")], "sets `hydra`, which belongs to the command line; remove that key."),
    ([("stages:\n", "stages: [\n")], "is not YAML:"),
    ([("stages:\n", "stages:\n  read: null\n")], "{recipe}: stages.read is empty, but must be a mapping of keys to values."),
    ([("stages:\n", "stages:\n  read: {trainer: fast}\n")], "{recipe}: stages.read.trainer is 'fast', but must be a mapping"),
    ([("stages:\n", "stages:\n  ../read: {}\n")], "stages.../read is no name; use lower-case letters, digits and _."),
    ([("data:\n", "evaluate: {data: {../x: rows}}\ndata:\n")], "evaluate.data.../x is no name; use lower-case letters"),
    ([("data:\n", "data:\n  Rows: {use: messages_jsonl}\n")], "data.Rows is no name; use lower-case letters, digits and _."),
    ([("data:\n", "Ear: {encoder: {use: mel_cnn}}\ndata:\n")], "Ear is no name of a branch; use lower-case letters"),
    ([("data:\n", "ear: {encoder: {use: 3}}\ndata:\n")], "ear.encoder.use is 3, but must be a component's name; pick one with"),
    ([("data:\n", "run: /tmp/there\ndata:\n")], "{recipe} sets `run`, which belongs to the command line; remove that key"),
    ([("data:\n", "seed: ???\ndata:\n")], "{recipe}: seed is ???, which is no value; write one there."),
    ([("data:\n", "system: ${oc.env:HOME}\ndata:\n")], "{recipe}: system is '${{oc.env:HOME}}', which is refused: it would ask"),
    ([("data:\n", "system: ${oc.${template}:HOME}\ndata:\n")], "which is refused: it would ask this machine; write the value there."),
    ([("/recipe\n", "/recipe\n  - 3\n")], "{recipe} lists 3 in its defaults, which is neither a recipe nor one pair"),
    ([("/recipe\n", "/recipe\n  - {a: 1, b: 2}\n")], "in its defaults, which is neither a recipe nor one pair"),
    ([("/recipe\n", "/recipe\n  - [x]\n")], "{recipe} lists ['x'] in its defaults, which is neither a recipe nor one pair"),
    ([("/recipe\n", "/recipe\n  - /${seed}\n")], "{recipe} lists /${{seed}} in its defaults, where nothing is filled in;"),
], ids=lambda value: value[0][1].strip() if isinstance(value, list) else "")
def test_a_wrong_recipe_is_one_sentence(tmp_path: Path, changes: list[tuple[str, str]], sentence: str) -> None:
    recipe = str(write_recipe(tmp_path, *changes))
    found = message(recipe)
    assert sentence.format(recipe=recipe) in found and "\n" not in found and found.endswith((".", "?"))


def test_recipes_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    write_recipe(tmp_path, ("/recipe\n", "/recipe\n  - /other\n"))
    (tmp_path / "other.yaml").write_text("defaults: [/small, _self_]\n")
    assert message(str(tmp_path / "small.yaml")).endswith("small.yaml extends itself (small → other → small); take it out of the defaults.")


def test_a_broken_recipe_comes_before_a_broken_override(tmp_path: Path) -> None:
    recipe = str(write_recipe(tmp_path, ("loss: {text", "los: {text")))
    assert message(recipe, "nope.x=1").startswith("stages.understand.los is not a field of Stage.")


def test_several_wrong_keys_are_told_at_once(recipe: str) -> None:
    with pytest.raises(PlanError) as caught:
        compose(recipe, ["+nonsense=3", "+audio.ears=2", "audio.projector=linear"])
    assert len(caught.value.sentences) == 3


@pytest.mark.parametrize(("name", "sentence"), [
    ("nothing.yaml", "recipe nothing.yaml is not there: no such file; give a path to a YAML or one of "),
    ("llama_omni/fulll", "recipe 'llama_omni/fulll' is unknown. Did you mean 'llama_omni/full'? There is: "),
    (".", "recipe '.' is unknown."),
    ("", "recipe '' is unknown."),
], ids=["file", "name", "dot", "empty"])
def test_a_recipe_that_is_not_there_is_one_sentence(name: str, sentence: str) -> None:
    assert message(name).startswith(sentence)


# ---- a stranger's YAML runs no code ----------------------------------------------------------------------------------


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The dotted name of a function that leaves a mark when it runs; see `nothing_ran`."""
    (tmp_path / "made_up_trap.py").write_text("import os, pathlib\npathlib.Path(os.environ['TRAP']).touch()\n"
                                              "def spring(*a, **k):\n    pathlib.Path(os.environ['TRAP']).touch()\n")
    monkeypatch.setenv("TRAP", str(tmp_path / "it_ran"))
    monkeypatch.syspath_prepend(str(tmp_path))
    return "made_up_trap.spring"


def nothing_ran() -> bool:
    return not Path(os.environ["TRAP"]).exists() and "made_up_trap" not in sys.modules


@pytest.mark.parametrize("key", ["audio: {encoder: {_target_: TRAP}}", "_target_: TRAP", "data: {rows: {provides: [{_target_: TRAP}]}}",
                                 "generate: {_target_: TRAP}", "hydra: {callbacks: {x: {_target_: TRAP}}}", "x: {_target_: TRAP}"])
def test_a_target_in_a_recipe_is_refused(tmp_path: Path, trap: str, key: str) -> None:
    key = key.replace("TRAP", trap)
    first = key.partition(":")[0]
    recipe = str(write_recipe(tmp_path, ("data:\n", f"{key}\ndata:\n")) if first != "data" else
                 write_recipe(tmp_path, ("data:\n  rows: {path: rows.jsonl, provides: [text, audio, answer, codes], seconds: 5}", key)))
    assert any(word in message(recipe) for word in ("refused", "belongs to the command line"))
    assert nothing_ran()


@pytest.mark.parametrize("override", ["+audio.encoder._target_=TRAP", "audio.encoder={_target_: TRAP}", "+_target_=TRAP",
                                      "+hydra.callbacks.x._target_=TRAP", "hydra.launcher._target_=TRAP",
                                      "++hydra.callbacks={x: {_target_: TRAP}}"])
def test_a_target_in_an_override_is_refused(recipe: str, trap: str, override: str) -> None:
    override = override.replace("TRAP", trap)
    sentence = f"override {override!r} is refused: `_target_` names code;"
    assert message(recipe, override).startswith(sentence)
    with pytest.raises(ConfigError, match="is refused"):
        run_jobs(recipe, [override], lambda recipe, text: None)
    assert nothing_ran()


@pytest.mark.parametrize("entry", ["/evil@hydra.job_logging", "override /hydra/launcher: basic", "/evil@_global_.hydra"])
def test_hydra_in_the_defaults_of_a_recipe_is_refused(tmp_path: Path, trap: str, entry: str) -> None:
    (tmp_path / "evil.yaml").write_text(f"handlers: {{x: {{(): {trap}}}}}\n")
    recipe = str(write_recipe(tmp_path, ("/recipe\n", f"/recipe\n  - {entry}\n")))
    assert message(recipe).endswith("in its defaults; `hydra` belongs to the command line, remove it.")
    assert nothing_ran()


def test_a_file_that_claims_hydras_package_does_not_get_it(tmp_path: Path, trap: str) -> None:
    (tmp_path / "evil.yaml").write_text(f"# @package hydra.job_logging\nhandlers: {{x: {{(): {trap}}}}}\n")
    recipe = str(write_recipe(tmp_path, ("/recipe\n", "/recipe\n  - /evil\n")))
    assert message(recipe) == "handlers.x is not a part of a branch; a branch holds encoder, projector, head, units, codec, normaliser."
    assert nothing_ran()


def test_use_names_installed_components_only(recipe: str, trap: str) -> None:
    from omnikit.plan import make

    with pytest.raises(PlanError, match=f"audio.encoder: encoder '{trap}' is not installed"):
        make(compose(recipe, [f"audio.encoder={{use: {trap}}}"]))
    assert nothing_ran()


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
