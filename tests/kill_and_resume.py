"""Kill a stage at random instants, let the same call go on, and compare the end with the undisturbed run's.

    python tests/kill_and_resume.py [FOLDER]

Twenty SIGKILLs and five SIGTERMs, each on a stage with batch norm and dropout, in turns plain, with two workers, with
accumulation, and over the ends of passes. `tests/training/checkpointing/test_kills.py` does the same with fewer.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from doubles import FakeEncoder, make_plan, stages, write_tokenizer
from stopping import outcome

from omnikit.plan.plan import Plan
from omnikit.training import module
from omnikit.training.stage import run_stages

KINDS: dict[str, dict[str, object]] = {
    "plain": {}, "workers": {"workers": 2}, "accumulate": {"accumulate": 3},
    "passes": {"max_steps": None, "max_epochs": 6, "batch_size": 10, "accumulate": 3}}
STEPS, PAUSE = 60, 0.01  # PAUSE: seconds a batch is made to take, so that a random instant hits training
EXPECTED = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143}


def plan_of(folder: Path, kind: str) -> Plan:
    stage = stages(STEPS)["listen"]
    trainer = replace(stage.trainer, **{"save_every": 2, **KINDS[kind]})
    return make_plan(str(folder / "tokenizer.json"), encoder=FakeEncoder(dropout=0.2),
                     only={"listen": replace(stage, trainer=trainer)})


def train(folder: Path, kind: str, run: Path) -> None:
    """Train, slowly."""
    step = module.Training.training_step

    def slow(self: module.Training, batch: object, index: int) -> object:
        time.sleep(PAUSE)
        return step(self, batch, index)

    module.Training.training_step = slow
    run_stages(plan_of(folder, kind), run, "")


def started(folder: Path, kind: str, run: Path) -> int:
    """Train in a child; gives its number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            train(folder, kind, run)
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            sys.stdout.flush()
            os._exit(code)
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(folder: Path, kind: str, run: Path, number: signal.Signals, delay: float) -> int:
    """Train in a child that gets a signal some seconds after its first checkpoint; gives how it ended."""
    child = started(folder, kind, run)
    while not any(run.glob(".listen.partial/checkpoints/0*")) and not (run / "listen").exists():
        time.sleep(0.005)
    time.sleep(delay)
    os.kill(child, number)
    return ended(child)


def trials(folder: Path, kills: dict[signal.Signals, int], seed: int = 0) -> list[dict[str, object]]:
    """Give one record for each kill; no torch may have run in this process before."""
    write_tokenizer(folder)
    draw, kinds = random.Random(seed), list(KINDS)
    for kind in kinds:
        assert ended(started(folder, kind, folder / f"whole_{kind}")) == 0
    found: list[dict[str, object]] = []
    for index, number in enumerate(name for name, times in kills.items() for _ in range(times)):
        kind = kinds[index % len(kinds)]
        run, delay = folder / f"killed{index}", draw.uniform(0, 0.6)
        code = killed(folder, kind, run, number, delay)
        finished = (run / "listen").exists()
        again = ended(started(folder, kind, run))
        equal = outcome(run, "listen") == outcome(folder / f"whole_{kind}", "listen")
        found.append({"signal": number.name, "kind": kind, "delay": round(delay, 3), "code": code, "finished": finished,
                      "again": again, "equal": equal, "expected": EXPECTED[number]})
    return found


def records(folder: Path, sigkill: int, sigterm: int) -> list[dict[str, object]]:
    """Run the trials in a process of their own."""
    subprocess.run([sys.executable, __file__, str(folder), str(sigkill), str(sigterm)], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return json.loads((folder / "trials.json").read_text())


if __name__ == "__main__":
    top = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    top.mkdir(parents=True, exist_ok=True)
    counts = [int(word) for word in sys.argv[2:4]] or [20, 5]
    lines = trials(top, dict(zip((signal.SIGKILL, signal.SIGTERM), counts, strict=True)))
    (top / "trials.json").write_text(json.dumps(lines))
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{sum(bool(line['equal']) for line in lines)} of {len(lines)} end bit-identical\n")
