"""Sweeps: points, jobs checked before the first starts, launchers, searches, and what became of each job."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import submitit
from small_recipe import write_recipe

from omnikit import cli
from omnikit.errors import ConfigError, RunError
from omnikit.recipe.sweep import launcher, points
from omnikit.training.sweeps import launchers
from omnikit.training.sweeps.launchers import Joblib, Submit, TrainJob, choose, read_submit, serial
from omnikit.training.sweeps.search import Search, SearchJobs, read_search
from omnikit.training.sweeps.sweep import JobResult, SweepJob, failures, prepare


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The small recipe with one step a stage, in the current folder."""
    answer = [{"type": "text", "text": "two"}, {"type": "audio", "path": "a.wav", "codes": [3, 5, 7]}]
    messages = [{"role": "user", "content": "one"}, {"role": "assistant", "content": answer}]
    (tmp_path / "a.wav").touch()
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"id": f"row{i}", "messages": messages}) + "\n" for i in range(4)))
    write_recipe(tmp_path, ("train: {audio: {projector: full}, backbone: full}", "train: {backbone: full}"),
                 ("max_steps: 3, batch_size: 2}\n  speak", "max_steps: 1, batch_size: 2, logger: []}\n  speak"),
                 ("speech/codec: unit_hifigan", "speech/codec: unit_hifigan_tiny_random"))
    monkeypatch.chdir(tmp_path)
    return "small.yaml"


def jobs(recipe: str, *overrides: str) -> list[SweepJob]:
    keys = [word.partition("=")[0] for word in overrides]
    return prepare(recipe, points(recipe, [*overrides, "~stages.speak"]), keys)


def numbered(jobs: Sequence[SweepJob]) -> Iterator[JobResult]:
    """A launcher that trains nothing: each job gives the square of its learning rate's distance from 3."""
    for one in jobs:
        rate = float(next(word for word in one.overrides if "optim.lr" in word).partition("=")[2])
        yield JobResult(one, 0.0, {"speak.speech": (rate - 3) ** 2})


def test_points_are_all_combinations_and_the_rest_stays_as_it_is(recipe: str) -> None:
    assert points(recipe, ["seed=1,2", "~stages.speak", "backbone.layers=range(1,3)", "system='a, b'"]) == [
        [seed, "~stages.speak", layers, "system='a, b'"] for seed in ("seed=1", "seed=2")
        for layers in ("backbone.layers=1", "backbone.layers=2")]


def test_interval_has_no_points(recipe: str) -> None:
    with pytest.raises(ConfigError, match=r"'seed=interval\(0,1\)' names an interval, which has no points; list values, or"):
        points(recipe, ["seed=interval(0,1)"])


def test_job_that_cannot_be_trained_is_named_before_the_first_starts(recipe: str) -> None:
    with pytest.raises(ConfigError) as caught:
        jobs(recipe, "seed=0,1", "stages.understand.trainer.max_steps=0,1")
    assert [sentence.partition(": stages")[0] for sentence in caught.value.sentences] == [
        "job 1 (seed=0 stages.understand.trainer.max_steps=0)", "job 3 (seed=1 stages.understand.trainer.max_steps=0)"]


@pytest.mark.parametrize("overrides", [["seed=0,1", "run=runs/x"], ["stages.understand.trainer.workers=0,1"]])
def test_two_jobs_in_one_folder_are_refused_before_the_first_starts(recipe: str, overrides: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"^jobs 1 \(.*\) and 2 \(.*\) would both train in runs/\S+; give each a folder of"):
        jobs(recipe, *overrides)
    assert not Path("runs").exists()


def test_folder_may_be_made_of_what_is_swept_over(recipe: str) -> None:
    assert [one.folder for one in jobs(recipe, "seed=0,1", "run='runs/mine_${seed}'")] == [Path("runs/mine_0"),
                                                                                         Path("runs/mine_1")]


def test_sweep_prints_a_table_and_names_the_job_that_failed(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", recipe, "~stages.speak", "-m", "data.rows.path=nothing.jsonl,rows.jsonl"]) == 2
    out, err = capsys.readouterr()
    assert "  1    data.rows.path=nothing.jsonl  runs/small/" in out and "understand.text " in out
    assert err.startswith("omnikit: job 1 (data.rows.path=nothing.jsonl; run runs/small/") and err.count("\n") == 1
    assert "failed: data.rows.path: nothing.jsonl does not exist" in err
    results, = Path("runs/sweeps").glob("*/results.csv")
    with results.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first["error"] and not second["error"] and float(second["understand.text"]) > 0


def test_bug_in_one_job_does_not_stop_the_others(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(one: SweepJob) -> None:
        raise ZeroDivisionError("by 0")

    monkeypatch.setattr("omnikit.training.sweeps.sweep._train", train)
    found = list(serial(jobs(recipe, "seed=0,1")))
    assert [failure.partition("failed: ")[2] for failure in failures(found)] == [
        "ZeroDivisionError: by 0; its trace is in the output above."] * 2


def test_joblib_runs_jobs_with_the_settings_of_hydras_launcher(recipe: str) -> None:
    settings, rest = launcher(recipe, ["seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=1"])
    launch = choose(settings, None)
    assert rest == ["seed=0,1"] and isinstance(launch, Joblib) and launch.settings["n_jobs"] == 1
    found = list(launch(prepare(recipe, points(recipe, [*rest, "~stages.speak"]), ["seed"], logs=Path("logs"))))
    assert [result.job.number for result in found] == [1, 2] and not failures(found)
    assert "understand" in Path("logs/1.log").read_text()


def test_launcher_that_is_not_installed_is_one_sentence(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchers, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"^hydra/launcher=joblib needs the package hydra-joblib-launcher, which is not ins"):
        list(Joblib({})([]))


def test_debug_executor_gives_the_results_of_the_jobs(recipe: str) -> None:
    launch = Submit("debug", Path("submitted"), {"timeout_min": 5})
    found = list(launch(prepare(recipe, points(recipe, ["seed=0,1", "~stages.speak"]), ["seed"], logs=Path("logs"))))
    assert [list(result.numbers) for result in found] == [["understand.text"]] * 2 and not failures(found)


def test_local_executor_runs_one_training_in_a_process_of_its_own(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("local.yaml").write_text("cluster: local\nfolder: submitted\ntimeout_min: 5\n")
    assert cli.main(["train", recipe, "~stages.speak", "--submit", "local.yaml"]) == 0
    assert "understand.text " in capsys.readouterr().out and list(Path("runs/small").glob("*/understand/done"))


TWO = ("stages.understand.trainer.devices=2", "stages.understand.trainer.batch_size=1")


def test_each_device_of_a_training_has_a_task_which_meets_the_others(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found, = Submit("local", Path("submitted"), {"timeout_min": 5})(jobs(recipe, *TWO))
    assert not found.error and found.numbers["understand.text"] > 0
    assert len(list(Path("submitted").glob("*_result.pkl"))) == 2


@pytest.mark.parametrize(("cluster", "given", "expected"), [
    ("slurm", {}, {"tasks_per_node": 2, "nodes": 1}), ("slurm", {"tasks_per_node": 1}, {"nodes": 1}), ("debug", {}, {})])
def test_tasks_are_as_many_as_devices(recipe: str, cluster: str, given: dict[str, int], expected: dict[str, int]) -> None:
    assert Submit(cluster, parameters=given)._tasks(jobs(recipe, *TWO)[0]) == expected


def test_jobs_of_different_devices_are_submitted_apart(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted: list[list[int]] = []

    def submit(self: Submit, some: Sequence[SweepJob]) -> list[int]:
        submitted.append([one.devices for one in some])
        return [len(submitted) * 10 + one.number for one in some]

    monkeypatch.setattr(Submit, "_submit", submit)
    monkeypatch.setattr(launchers, "print_job", lambda one, running: None)
    list(Submit(detach=True)(jobs(recipe, "stages.understand.trainer.devices=1,2", "seed=0,1")))
    assert submitted == [[1, 1], [2, 2]]


def test_job_of_several_devices_starts_a_process_for_each(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], int]] = []

    def launch(words: list[str], count: int, file: object) -> int:
        started.append((words, count))
        return 3

    monkeypatch.setattr("omnikit.training.sweeps.sweep.launch", launch)
    result, = serial(jobs(recipe, *TWO))
    assert started == [(["train", "small.yaml", *TWO, "~stages.speak"], 2)]
    assert result.error == "its processes ended with code 3; see the output above."


def test_job_that_a_cluster_stops_is_submitted_again_as_it_is(recipe: str) -> None:
    one, = jobs(recipe)
    again = TrainJob(one).checkpoint()
    assert isinstance(again, submitit.helpers.DelayedSubmission) and again.function.job == one


def test_job_that_ends_without_a_result_is_a_failure(recipe: str) -> None:
    class Ended:
        job_id, paths = "7", submitit.core.utils.JobPaths("submitted", "7")

        def results(self) -> list[JobResult]:
            raise submitit.core.utils.UncompletedJobError("out of memory")

    result = launchers._result(Ended(), jobs(recipe)[0], submitit)  # type: ignore[arg-type]  # a stand-in
    assert result.error.startswith("it ended without a result: out of memory; see ") and "/submitted/7_" in result.error


@pytest.mark.parametrize(("text", "message"), [
    ("cluster: pbs\n", r"cluster is 'pbs', but must be one of slurm, local, debug\.$"),
    ("cluster: debug\ndetach: 3\n", r"detach 3, but must be a path, and true or false\.$")])
def test_wrong_submit_file_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "submit.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_submit(tmp_path / "submit.yaml")


def test_unknown_parameter_of_submitit_is_one_sentence(recipe: str) -> None:
    with pytest.raises(ConfigError, match=r"--submit names a parameter that submitit refuses: .*gpus_a_node"):
        list(Submit("debug", Path("submitted"), {"gpus_a_node": 1})(jobs(recipe)))


def test_search_comes_near_the_best_and_names_it(recipe: str) -> None:
    search = SearchJobs(recipe, [], Search("speak.speech", {"stages.speak.optim.lr": {"low": 0.5, "high": 5.0}}, trials=12))
    found = list(search.run(numbered))
    best = search.best()
    assert len(found) == 12 and best and best[0] < 0.5 and best[0] == min(one.numbers["speak.speech"] for one in found)


def test_search_goes_on_in_its_storage(recipe: str) -> None:
    search = Search("speak.speech", {"stages.speak.optim.lr": [1.0, 2.0, 3.0]}, trials=3, storage="s/study.db")
    assert len(list(SearchJobs(recipe, [], search).run(numbered))) == 3
    assert not list(SearchJobs(recipe, [], search).run(numbered))


def test_equal_jobs_of_a_search_run_once_at_a_time(recipe: str) -> None:
    search = SearchJobs(recipe, [], Search("speak.speech", {"stages.speak.optim.lr": [1.0]}, trials=4, parallel=4))
    assert len(list(search.run(numbered))) == 1 and len(search.study.trials) == 4


def test_trial_that_cannot_be_trained_is_a_failure_with_its_sentence(recipe: str) -> None:
    search = SearchJobs(recipe, [], Search("speak.speech", {"stages.speak.optim.lr": [-1.0]}, trials=1))
    failure, = failures(search.run(numbered))
    assert failure.startswith("job 1 (stages.speak.optim.lr=-1.0; run -) failed: stages.speak.optim.lr is -1, but must be")
    assert search.best() is None


def test_number_that_no_stage_has_is_a_failure(recipe: str) -> None:
    search = SearchJobs(recipe, [], Search("speak.wer", {"stages.speak.optim.lr": [1.0]}, trials=1))
    assert "it has no number speak.wer; it has speak.speech." in failures(search.run(numbered))[0]


def test_wrong_search_file_names_every_error(tmp_path: Path) -> None:
    (tmp_path / "search.yaml").write_text("metric: a\ntrails: 3\nspace: {x: 3}\n")
    with pytest.raises(ConfigError, match=r"trails is not a field of Search\. Did you mean 'trials'\?"):
        read_search(tmp_path / "search.yaml")
    (tmp_path / "search.yaml").write_text("metric: a\nspace: {x: 3}\n")
    with pytest.raises(ConfigError, match=r"space\.x is 3, but must be a list of choices or \{low"):
        read_search(tmp_path / "search.yaml")
