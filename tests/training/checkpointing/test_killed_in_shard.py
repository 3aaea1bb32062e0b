"""A SIGKILL in the middle of a tar shard: the resumed stage reads the rest in the same order, whatever the workers."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from stopping import outcome

from omnikit.cli import main
from omnikit.training.module import Training

RECIPE = """\
# @package _global_
# A small language model on two datasets of shards.
defaults:
  - /recipe
  - /backbone: llama_tiny_random
  - /text/head: lm
  - /data/many: webdataset
  - /data/few: webdataset
  - _self_
data:
  many: {path: many, provides: [text, answer]}
  few: {path: few.tar, provides: [text, answer]}
backbone: {layers: 1}
stages:
  read:
    train: {backbone: full}
    loss: {text: 1.0}
    data: {many: 0.7, few: 0.3}
    trainer: {max_steps: 12, batch_size: 2, accelerator: cpu, log_every: 1, save_every: 1, window: 2, logger: []}
"""
WORKERS = (0, 2)


def shard(path: Path, first: int, rows: int) -> None:
    """Write samples of different texts."""
    with tarfile.open(path, "w") as tar:
        for index in range(first, first + rows):
            data = json.dumps({"question": f"what is {index}", "answer": f"it is {'very ' * (index % 5)}{index}"}).encode()
            info = tarfile.TarInfo(f"{index:04d}.json")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def slow() -> None:
    """Let each step take so long that a kill hits training."""
    step = Training.training_step

    def training_step(self: Training, batch: object, index: int) -> object:
        time.sleep(0.1)
        return step(self, batch, index)

    Training.training_step = training_step


def started(run: str, workers: int) -> int:
    """Train in a child; gives its number."""
    child = os.fork()
    if child == 0:
        with Path(f"{run}.log").open("w") as log:
            os.dup2(log.fileno(), 2)
            slow()
            code = main(["train", "small.yaml", f"run={run}", f"stages.read.trainer.workers={workers}"])
        os._exit(code)
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(run: str, workers: int) -> int:
    """Train in a child that is killed behind its fifth checkpoint."""
    child = started(run, workers)
    while not any(Path(run).glob(".read.partial/checkpoints/*5*")) and not (Path(run) / "read").exists():
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    return ended(child)


def trials(top: Path) -> dict[str, object]:
    """Give what came of each; no torch may have run in this process before."""
    os.chdir(top)
    Path("small.yaml").write_text(RECIPE)
    Path("many").mkdir()
    shard(Path("many/0.tar"), 0, 11)
    shard(Path("many/1.tar"), 11, 10)
    shard(Path("few.tar"), 30, 4)
    found: dict[str, object] = {"undisturbed": ended(started("undisturbed", 0))}
    for workers in WORKERS:
        found[f"killed {workers}"] = killed(f"killed{workers}", workers)
        found[f"resumed {workers}"] = ended(started(f"killed{workers}", workers))
        found[f"equal {workers}"] = outcome(Path(f"killed{workers}"), "read") == outcome(Path("undisturbed"), "read")
    killed("changed", 0)
    shard(Path("many/1.tar"), 50, 10)
    found["changed"] = ended(started("changed", 0))
    found["sentences"] = Path("changed.log").read_text().splitlines()
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    top = tmp_path_factory.mktemp("shards")
    subprocess.run([sys.executable, __file__, str(top)], check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])})
    return json.loads((top / "trials.json").read_text())


@pytest.mark.parametrize("workers", WORKERS)
def test_resumed_stage_ends_as_the_undisturbed_one(found: dict[str, object], workers: int) -> None:
    assert [found[f"{name} {workers}"] for name in ("killed", "resumed", "equal")] == [-signal.SIGKILL, 0, True], found


def test_shard_that_was_written_again_is_a_sentence(found: dict[str, object]) -> None:
    sentences = found["sentences"]
    assert found["changed"] == 2 and isinstance(sentences, list) and len(sentences) == 1
    assert "data.many" in sentences[0]


if __name__ == "__main__":
    place = Path(sys.argv[1]).absolute()
    (place / "trials.json").write_text(json.dumps(trials(place)))
