"""A kill at any moment around the end of a stage: what is finished is taken up, never trained again, never lost."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from doubles import make_plan, stages, write_tokenizer

from omnikit.plan.plan import Plan
from omnikit.recipe.optim import Optim
from omnikit.store import checkpoint, manifest, run_manifest, stage_folder
from omnikit.store.runs import WEIGHTS
from omnikit.training import stage as staging

POINTS = {  # what ends a stage, in its order: module and function
    "save": (checkpoint, "save"), "done": (stage_folder, "mark_done"), "aside": (stage_folder, "move_previous"),
    "rename": (stage_folder, "take_name"), "config": (run_manifest, "write_text"), "manifest": (run_manifest, "write_json"),
    "link": (staging, "link_latest")}
MOMENTS = ["save after", *(f"{point} {moment}" for point in list(POINTS)[1:] for moment in ("before", "after"))]
FIRST = [moment for moment in MOMENTS if not moment.startswith("aside")]  # nothing is there to be moved
AGAIN = [moment for moment in MOMENTS if not moment.startswith("link")]  # in a folder of its own


def plan_of(folder: Path, lr: float, run: Path | None) -> Plan:
    only = {"listen": replace(stages(1)["listen"], optim=Optim(lr=lr))}
    return make_plan(str(folder / "tokenizer.json"), only=only, run=run)


def killed_at(moment: str, scenario: str) -> None:
    """Let this process be killed before or after one of the functions, once the stage is trained."""
    point, _, when = moment.partition(" ")
    module, name = POINTS[point]
    function, early = getattr(module, name), [1] * (point == "manifest" and scenario == "again")  # it begins with one, too

    def wrapped(*arguments: object, **options: object) -> None:
        if early or when == "after":
            function(*arguments, **options)
        if not early:
            os.kill(os.getpid(), signal.SIGKILL)
        early.pop()

    setattr(module, name, wrapped)


def child(folder: Path, scenario: str, moment: str) -> int:
    """Train in a process that is killed; give the signal."""
    process = os.fork()
    if process == 0:
        os.chdir(folder)
        killed_at(moment, scenario)
        if scenario == "first":
            staging.train(plan_of(folder.parent, 0.1, None), "one: 1\n")
        else:
            staging.train(plan_of(folder.parent, 0.2, Path("run")), "two: 2\n", retrain=["listen"])
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def trained(folder: Path) -> None:
    os.chdir(folder)
    staging.train(plan_of(folder.parent, 0.1, Path("run")), "one: 1\n")


if __name__ == "__main__":  # forked from here and not from pytest: no torch ran in this process before
    top = Path(sys.argv[1])
    found = {}
    for kind, moments in (("first", FIRST), ("again", AGAIN)):
        for number, at in enumerate(moments):
            place = top / f"{kind}{number}"
            place.mkdir()
            if kind == "again":
                ready = os.fork()
                if ready == 0:
                    trained(place)
                    os._exit(0)
                os.waitpid(ready, 0)
            found[f"{kind} {at}"] = child(place, kind, at)
    (top / "signals.json").write_text(json.dumps(found))


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each kill, as the killed process left it."""
    folder = tmp_path_factory.mktemp("killed")
    write_tokenizer(folder)
    subprocess.run([sys.executable, __file__, str(folder)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])})
    signals = json.loads((folder / "signals.json").read_text())
    assert set(signals.values()) == {-signal.SIGKILL} and len(signals) == len(FIRST) + len(AGAIN)
    return folder


@pytest.fixture
def untrainable(monkeypatch: pytest.MonkeyPatch) -> None:
    def trains(*arguments: object) -> None:
        raise AssertionError("a finished stage is trained again")

    monkeypatch.setattr(staging, "train_stage", trains)


def stage_weights(run: Path) -> str:
    holds, _ = checkpoint.hashes(run / "listen" / WEIGHTS)
    record = manifest.read(run, "listen")
    assert {part: record["weights_after"][part] for part in holds} == holds
    return str(record["resolved"]["stages"]["listen"]["optim"]["lr"])


@pytest.mark.parametrize("moment", FIRST)
def test_finished_stage_is_adopted(top: Path, moment: str, untrainable: None, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = top / f"first{FIRST.index(moment)}"
    monkeypatch.chdir(folder)
    run, rows = staging.train(plan_of(top, 0.1, None), "one: 1\n")
    assert rows[0].skipped and stage_weights(run) == "0.1"
    assert {path.name for path in run.iterdir()} == {"listen", "tokenizer", "config.yaml", "manifest.json", "run.html"}
    assert (run.parent / "latest").resolve() == run.resolve()
    assert run_manifest.read(run).config == "one: 1\n"


@pytest.mark.parametrize("moment", AGAIN)
def test_stage_that_replaces_another_is_adopted(top: Path, moment: str, untrainable: None,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    folder = top / f"again{AGAIN.index(moment)}"
    monkeypatch.chdir(folder)
    retrain = ["listen"][: AGAIN.index(moment) % 2]  # with and without asking for it once more
    run, rows = staging.train(plan_of(top, 0.2, Path("run")), "two: 2\n", retrain=retrain)
    assert rows[0].skipped and stage_weights(run) == "0.2"
    assert {path.name for path in run.iterdir()} == {"listen", "tokenizer", "config.yaml", "manifest.json", "run.html"}
    assert run_manifest.read(run).config == "two: 2\n"
