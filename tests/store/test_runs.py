"""Run folders."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from doubles import TEMPLATE, make_plan, stages, write_tokenizer

from omnikit.contracts.specs import LATER, Template
from omnikit.errors import RunError
from omnikit.plan.plan import Plan
from omnikit.recipe.optim import Optim
from omnikit.recipe.recipe import TrainerConfig, training_settings
from omnikit.store import run_manifest
from omnikit.store.facts import stage_hash
from omnikit.store.lineage import lineage
from omnikit.store.run_manifest import RunManifest
from omnikit.store.runs import find, is_done, link_latest, load_plan, run_folder


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make_plan(write_tokenizer(tmp_path))


def finish(folder: Path, plan: Plan) -> None:
    for name in plan.stages:
        (folder / name).mkdir(parents=True)
        (folder / name / "config.yaml").write_text("")
        (folder / name / "done").write_text(stage_hash(plan, name))


def test_folder_is_named_by_recipe_and_fingerprint(plan: Plan) -> None:
    assert run_folder(plan.recipe) == Path("runs/doubles/tiny") / plan.recipe.fingerprint()


def test_run_chooses_another_folder(tmp_path: Path) -> None:
    assert run_folder(make_plan(write_tokenizer(tmp_path), run=tmp_path / "x").recipe) == tmp_path / "x"


@pytest.mark.parametrize("given", ["runs/r/abc", "runs/r/latest", "runs/r", "r"])
def test_run_is_found_by_folder_link_and_name(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.chdir(tmp_path)
    finish(Path("runs/r/abc"), plan)
    link_latest(Path("runs/r/abc"))
    assert find(given) == tmp_path / "runs" / "r" / "abc"


def test_unknown_run_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match=r"nothing/here is not a run: .*train first with omnikit train nothing/here."):
        find("nothing/here")


def test_latest_moves_to_the_newest(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        link_latest(tmp_path / name)
    assert (tmp_path / "latest").resolve() == tmp_path / "two"


def test_newest_stage_of_each_part(plan: Plan, tmp_path: Path) -> None:
    finish(tmp_path / "r", plan)
    assert lineage(plan, tmp_path / "r") == {
        "audio.encoder": "listen", "transcript.head": "listen", "speech.codec": "units", "audio.projector": "understand",
        "backbone": "understand", "speech.head": "speak"}


def test_unfinished_stage_is_named(plan: Plan, tmp_path: Path) -> None:
    finish(tmp_path / "r", plan)
    (tmp_path / "r" / "understand" / "done").unlink()
    with pytest.raises(RunError, match=r"Stage understand of .*r is not finished; finish it with omnikit train doubles/tiny"):
        lineage(plan, tmp_path / "r")


def test_newest_up_to_a_stage_needs_no_later_one(plan: Plan, tmp_path: Path) -> None:
    finish(tmp_path / "r", plan)
    (tmp_path / "r" / "speak" / "done").unlink()
    found = lineage(plan, tmp_path / "r", "understand")
    assert set(found.values()) == {"listen", "units", "understand"} and "speech.head" not in found
    assert set(lineage(plan, tmp_path / "r", "listen")) == {"audio.encoder", "transcript.head"}


def test_unknown_stage_is_named(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"'understood' is not a stage of doubles/tiny. Did you mean 'understand'\? Stages: l"):
        lineage(plan, tmp_path / "r", "understood")


def test_hash_of_a_stage_ignores_later_stages(plan: Plan) -> None:
    changed = stages()
    changed["speak"].optim = Optim(lr=0.5)
    other = make_plan(plan.tokenizer or "", only=changed)
    same = {name: stage_hash(plan, name) == stage_hash(other, name) for name in plan.stages}
    assert same == {"listen": True, "units": True, "understand": True, "speak": False}


def test_codes_that_a_head_emits_change_its_hash(plan: Plan) -> None:
    speech = plan.outputs["speech"]
    assert speech.codes
    other = replace(plan, outputs={**plan.outputs, "speech": replace(speech, codes=replace(speech.codes, cardinality=12))})
    same = {name: stage_hash(plan, name) == stage_hash(other, name) for name in plan.stages}
    assert same == {"listen": True, "units": True, "understand": True, "speak": False}


def test_a_later_field_changes_the_hash_when_it_is_used_only(plan: Plan) -> None:
    @dataclass(frozen=True)
    class Longer(Template):
        newest: str = field(default="", metadata=LATER)

    def hashed(newest: str) -> str:
        return stage_hash(replace(plan, template=Longer(**vars(TEMPLATE), newest=newest)), "listen")

    assert hashed("") == stage_hash(replace(plan, template=TEMPLATE), "listen") != hashed("used")


def test_done_counts_only_with_its_hash(plan: Plan, tmp_path: Path) -> None:
    finish(tmp_path / "r", plan)
    (tmp_path / "r" / "listen" / "done").write_text("0123456789abcdef")
    assert [is_done(tmp_path / "r", plan, name) for name in plan.stages] == [False, True, True, True]


def test_run_without_manifest_is_one_sentence(plan: Plan, tmp_path: Path) -> None:
    finish(tmp_path / "r", plan)
    with pytest.raises(RunError, match=r"r/manifest\.json cannot be read \(No such file or directory\); write it again with "
                                       r"omnikit train RECIPE run=.*/r\.$"):
        load_plan(tmp_path / "r")


def test_what_changes_no_weight_changes_no_hash(plan: Plan) -> None:
    changed = stages()
    changed["listen"].trainer = TrainerConfig(max_steps=20, batch_size=8, log_every=1, workers=2, accelerator="cpu")
    other = make_plan(plan.tokenizer or "", only=changed)
    assert other.recipe.fingerprint() == plan.recipe.fingerprint()
    assert stage_hash(other, "listen") == stage_hash(plan, "listen")
    changed["listen"].trainer = TrainerConfig(max_steps=20, batch_size=4, log_every=5)
    assert make_plan(plan.tokenizer or "", only=changed).recipe.fingerprint() != plan.recipe.fingerprint()


def recorded(folder: Path, plan: Plan, temperature: float) -> None:
    config = f"generate: {{temperature: {temperature}}}\n"
    run_manifest.write(folder, RunManifest("r"), RunManifest("r", config, tuple(plan.stages)))


@pytest.mark.parametrize("age", [-100, 0, 100])
def test_plan_is_the_last_recorded_whatever_the_times_of_files(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: int
) -> None:
    finish(tmp_path / "r", plan)
    for name in plan.stages:
        (tmp_path / "r" / name / "config.yaml").write_text("generate: {temperature: 0.1}")
    recorded(tmp_path / "r", plan, 0.5)
    for file in (tmp_path / "r").glob("*.*"):
        os.utime(file, (file.stat().st_atime, file.stat().st_mtime - age))
    monkeypatch.setattr("omnikit.plan.plan.make", lambda recipe: recipe)
    assert load_plan(tmp_path / "r").generate.temperature == 0.5


def test_configuration_that_was_edited_is_refused_unless_it_is_equivalent(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(tmp_path, plan, 0.5)
    monkeypatch.setattr("omnikit.plan.plan.make", lambda recipe: recipe)
    (tmp_path / "config.yaml").write_text("# mine\ngenerate:\n  temperature: 0.5\n")
    assert load_plan(tmp_path).generate.temperature == 0.5
    (tmp_path / "config.yaml").write_text("generate: {temperature: 0.6}\n")
    with pytest.raises(RunError, match=r"config\.yaml is not what the last training wrote; take it up with omnikit train "):
        load_plan(tmp_path)


def test_packing_counts_only_where_a_stage_packs(plan: Plan) -> None:
    stage = plan.stages["understand"].stage
    assert "pack" not in training_settings(stage)["trainer"]
    assert training_settings(replace(stage, trainer=replace(stage.trainer, pack=60)))["trainer"]["pack"] == 60


def test_a_folder_of_runs_is_no_run(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        (tmp_path / "runs" / name / "understand").mkdir(parents=True)
        for file in ("manifest.json", "config.yaml", "understand/config.yaml", "understand/manifest.json", "understand/done"):
            (tmp_path / "runs" / name / file).touch()
    with pytest.raises(RunError, match=r"is a folder of runs, not a run; give one of them: \S+/a, \S+/b, \S+/c and more\."):
        find(tmp_path / "runs")
    assert find(tmp_path / "runs/b") == tmp_path / "runs/b"
    with pytest.raises(RunError, match=r"understand is not a run: it is a stage of \S+/b; name that folder"):
        find(tmp_path / "runs/b/understand")


def test_a_run_whose_first_stage_was_broken_off_is_named(tmp_path: Path) -> None:
    (tmp_path / ".understand.partial").mkdir()
    with pytest.raises(RunError, match=r"it has no finished stage yet; finish its training with omnikit train RECIPE run="):
        find(tmp_path)
