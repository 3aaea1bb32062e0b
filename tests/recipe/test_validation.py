# ruff: noqa: E501  # a table of sentences reads best with one in a line
"""What `compose` refuses: errors in recipes and overrides, one sentence each, and a third-party YAML that would run code."""

import os
import sys
from pathlib import Path

import pytest
from small_recipe import message, write_recipe

from omnikit.errors import ConfigError, PlanError
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose, run_jobs

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
    ("audio/encoder=None", "override 'audio/encoder=None' picks None, the name of nothing; leave the part out with ~audio/encoder."),
    ("audio/encoder=", "override audio/encoder= names no preset; write audio/encoder=<name> or, to remove it, ~audio/encoder."),
    ("audio=3", "audio cannot be 3, because it holds components; pick one by name, or remove it with ~audio."),
    ("stages.speek.optim.lr=1", "stages.speek.optim.lr names nothing: stages has no 'speek'. Did you mean 'speak'?"),
    ("stages.speak.optim.l=1", "stages.speak.optim.l is not a field of Optim. Did you mean 'lr'? It has: beta1, beta2,"),
    ("stages.speak.trainer={max_step: 3}", "stages.speak.trainer.max_step is not a field of TrainerConfig. Did you mean 'max_steps'?"),
    ("stages.speak.optim.lr=fast", "stages.speak.optim.lr is 'fast', but must be a number."),
    ("stages.speak.trainer.max_steps=1.5", "stages.speak.trainer.max_steps is 1.5, but must be a whole number."),
    ("stages.speak.data=rows", "stages.speak.data is rows, but must be a mapping of keys to values."),
    ("stages.speak=3", "stages.speak is 3, but must be a mapping of keys to values."),
    ("+stages.new.seed=3", "stages.new.seed belongs to stages.new, a stage that is not there; write a new stage in a YAML"),
    ("generate.max=3", "generate.max is not a field of Generate. It has: max_new_tokens, speak_after, temperature, top_k, top_p."),
    ("~nope", "nope names nothing: recipe {recipe} has no 'nope'."),
    ("stage=speek", "stage is 'speek', which is not a stage. Did you mean 'speak'? Stages: understand, speak."),
    ("stage=", "stage is '', which is not a stage. Stages: understand, speak."),
    ("stage=[speak]", "stage is ["),
    ("~speech", "speech is a branch, which is removed part by part: ~speech/head ~speech/codec."),
    ("x=[1", "override 'x=[1' cannot be read: no viable alternative at input '[1'; a text with such signs needs quotes: 'x=\"[1\"'."),
    ("foo", "override 'foo' cannot be read: "),
    ("+nonsense=3", "nonsense is 3, but a top-level key is either one of backbone, data, evaluate, generate, live, media, name, "),
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


@pytest.mark.parametrize(("field", "sentence"), [
    ("data.more.pth=x", "data.more.pth names nothing: data.more has no 'pth'. Did you mean 'path'?"),
    ("data.more.folders={a: b}", "data.more.folders lacks a key that is given; write +data.more.folders=… to add keys. It has: none."),
])
def test_a_wrong_field_of_a_component_that_is_picked_beside_it_is_one_sentence(recipe: str, field: str, sentence: str) -> None:
    assert message(recipe, "+data/more=vita_json", field).startswith(sentence)


@pytest.mark.parametrize(("changes", "sentence"), [
    ([("/audio/encoder", "/audio/encodr")], "{recipe}: /audio/encodr/whisper_tiny_random in its defaults names nothing: 'encodr' is"
     " not a part of a branch. Did you mean 'encoder'?"),
    ([("tiny_random\n  - /audio", "tiny_randm\n  - /audio")], "encoder 'whisper_tiny_randm' is unknown. Did you mean"),
    ([("/recipe\n", "/recipe\n  - /missing\n")], "{recipe}: /missing in its defaults names nothing: there is no recipe, preset or YAML"),
    ([("/recipe\n", "/recipe\n  - /small\n")], "{recipe} extends itself (small → small); take it out of the defaults."),
    ([("/recipe\n", "/recipe\n  - /text/head: lm\n")], "{recipe} picks text/head twice; write `override /text/head: <name>`"),
    ([("  - _self_", "  - override /audio/codec: mel_units\n  - _self_")], "{recipe} has `override /audio/codec` in its defaults, but"
     " what it extends picks no audio/codec."),
    ([("loss: {text", "los: {text")], "stages.understand.los is not a field of Stage. Did you mean 'loss'?"),
    ([("{rows: 1.0}", "rows")], "stages.understand.data is 'rows', but must be a mapping of keys to values."),
    ([("max_steps: 3, batch_size: 2}\n  speak", "max_steps: many}\n  speak")], "stages.understand.trainer.max_steps is 'many', but must be a"),
    ([("max_steps: 3", "max_step: 3")], "stages.understand.trainer.max_step is not a field of TrainerConfig. Did you mean 'max_steps'?"),
    ([("stages:\n", "generate: 3\nstages:\n")], "generate is 3, but must be a mapping of keys to values."),
    ([("stages:\n", "evaluate: {datas: {}}\nstages:\n")], "evaluate.datas is not a field of Evaluate. Did you mean 'data'?"),
    ([("stages:\n", "bogus: 3\nstages:\n")], "bogus is 3, but a top-level key is either one of"),
    ([("stages:\n", "audio: {mic: {}}\nstages:\n")], "audio.mic is not a part of a branch; a branch holds encoder, projector,"),
    ([("stages:\n", "hydra: {job: {name: x}}\nstages:\n")], "sets `hydra`, which belongs to the command line; remove that key."),
    ([("stages:\n", "stages: [\n")], "is not YAML:"),
    ([("stages:\n", "stages:\n  read: null\n")], "{recipe}: stages.read is empty, but must be a mapping of keys to values."),
    ([("stages:\n", "stages:\n  read: {trainer: fast}\n")], "{recipe}: stages.read.trainer is 'fast', but must be a mapping"),
    ([("stages:\n", "stages:\n  ../read: {}\n")], "stages.../read is not a valid name; use lower-case letters, digits and _."),
    ([("data:\n", "evaluate: {data: {../x: rows}}\ndata:\n")], "evaluate.data.../x is not a valid name; use lower-case letters"),
    ([("data:\n", "data:\n  Rows: {use: messages_jsonl}\n")], "data.Rows is not a valid name; use lower-case letters, digits and _."),
    ([("data:\n", "Mic: {encoder: {use: mel_cnn}}\ndata:\n")], "Mic is not a valid name of a branch; use lower-case letters"),
    ([("data:\n", "mic: {encoder: {use: 3}}\ndata:\n")], "mic.encoder.use is 3, but must be a component's name; pick one with"),
    ([("data:\n", "run: /tmp/there\ndata:\n")], "{recipe} sets `run`, which belongs to the command line; remove that key"),
    ([("data:\n", "seed: ???\ndata:\n")], "{recipe}: seed is ???, which is not a value; write one there."),
    ([("data:\n", "system: ${oc.env:HOME}\ndata:\n")], "{recipe}: system is '${{oc.env:HOME}}', which is refused: it would read"),
    ([("data:\n", "system: ${oc.${template}:HOME}\ndata:\n")], "which is refused: it would read this machine; write the value there."),
    ([("/recipe\n", "/recipe\n  - 3\n")], "{recipe} lists 3 in its defaults, which is neither a recipe nor one pair"),
    ([("/recipe\n", "/recipe\n  - /audio/encoder: None\n")], "in its defaults, but None is the name of nothing; write null to leave"),
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


def test_several_wrong_keys_are_reported_at_once(recipe: str) -> None:
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


# ---- a third-party YAML runs no code ----------------------------------------------------------------------------------


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
    assert message(recipe) == "handlers.x is not a part of a branch; a branch holds encoder, projector, head, units, codec, normaliser, input, fusion, sources. Did you mean 'trainer'?"
    assert nothing_ran()


def test_use_names_installed_components_only(recipe: str, trap: str) -> None:
    with pytest.raises(PlanError, match=f"audio.encoder: encoder '{trap}' is not installed"):
        make(compose(recipe, [f"audio.encoder={{use: {trap}}}"]))
    assert nothing_ran()
