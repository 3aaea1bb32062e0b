# ruff: noqa: E501  # a table reads best with a mistake in a line
"""What lies in people's folders, and what they type: configuration and commands; each row is one member of a kind."""

import os
import shutil
from pathlib import Path

from broken.table import CHECK, Broken

PICK = "/backbone: llama_tiny_random"
STEPS = ("max_steps: 3, batch_size: 2}\n  speak", "max_steps: {}, batch_size: 2}}\n  speak")
TRAINER = "stages.understand.trainer"
RUNS = "runs_of_a_week is a folder of runs, not a run"


def many_runs(folder: Path) -> None:
    shutil.copytree(folder / "run", folder / "runs_of_a_week/monday")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe.json")


def unreadable(folder: Path) -> None:
    """Let rows.jsonl be what no process may read, not even root's."""
    (folder / "rows.jsonl").unlink()
    (folder / "rows.jsonl").symlink_to("/proc/self/mem")


def steps(value: str) -> tuple[tuple[str, str], ...]:
    return ((STEPS[0], STEPS[1].format(value)),)


WILD = [
    Broken("names", CHECK, "lists {'/backbone': 3} in its defaults", "fix that line", ((PICK, "/backbone: 3"),)),
    Broken("names", CHECK, "lists {'/backbone': True} in its defaults", "fix that line", ((PICK, "/backbone: true"),)),
    Broken("names", CHECK, "backbone 'yes' is unknown", "There is: ", ((PICK, "/backbone: yes"),)),
    Broken("names", CHECK, "backbone '2001-12-14' is unknown", "There is: ", ((PICK, "/backbone: 2001-12-14"),)),
    Broken("YAML 1.1", CHECK, "max_steps is '1_000'", "must be a whole number", steps("1_000")),
    Broken("YAML 1.1", CHECK, "max_steps is '12:30'", "must be a whole number", steps("12:30")),
    Broken("YAML 1.1", CHECK, "max_steps is '3'", "must be a whole number", steps("'3'")),
    Broken("YAML 1.1", CHECK, "reshard is 'yes'", "must be true or false", steps("3, reshard: yes")),
    Broken("YAML 1.1", CHECK, "loss.text is '1_0.5'", "must be a number", (("{text: 1.0}", "{text: 1_0.5}"),)),
    Broken("YAML 1.1", f"{CHECK} {TRAINER}.reshard=on", "reshard is 'on'", "must be true or false"),
    Broken("YAML tags", CHECK, "'yes' is tagged !!bool", "fix the file", steps("!!bool yes")),
    Broken("YAML tags", CHECK, "'x' is tagged !!int", "fix the file", steps("!!int x")),
    Broken("YAML tags", CHECK, "the tag 'tag:yaml.org,2002:timestamp'", "fix the file", steps("!!timestamp x")),
    Broken("YAML tags", CHECK, "the tag 'tag:yaml.org,2002:python/object/apply:os.system'", "fix the file", steps("!!python/object/apply:os.system [ls]")),
    Broken("YAML tags", CHECK, "expected a mapping node", "fix the file", steps("!!map x")),
    Broken("quotes", f"{CHECK} data.rows.path=epoch=3.jsonl", "override 'data.rows.path=epoch=3.jsonl' cannot be read", "needs quotes: 'data.rows.path=\"epoch=3.jsonl\"'"),
    Broken("huge numbers", f"{CHECK} backbone.vocabulary=1e20", "backbone.vocabulary is 1e+20", "must be a"),
    Broken("huge numbers", f"{CHECK} backbone.rope_theta=nan", "backbone.rope_theta is nan", "must be a finite number"),
    Broken("huge numbers", f"{CHECK} {TRAINER}.workers=100000", "workers is 100000", "must be"),
    Broken("text", "chat run --text caf\udce9", "text is 'caf\\udce9'", "write it in UTF-8"),
    Broken("sweeps", "train text.yaml seed=0,1 run=other -m", "jobs 1 (seed=0) and 2 (seed=1) would both train in other", "give each a folder of its own"),
    Broken("sweeps", "train text.yaml --cfg job -m", "--cfg prints one configuration", "leave one of them out"),
    Broken("formats", f"check text.yaml {TRAINER}.precision=16-mixed {TRAINER}.accelerator=cpu", "precision is 16-mixed, which a CPU does not have", "set it to bf16-mixed or 32-true"),
    Broken("formats", f"train text.yaml run=other {TRAINER}.precision=16-mixed {TRAINER}.accelerator=cpu", "precision is 16-mixed, which a CPU does not have", "set it to bf16-mixed or 32-true"),
    Broken("odd calls", "chat run --audio good.wav --audio good.wav", "--audio is given twice", "give it once"),
    Broken("odd calls", "chat run --image run", "run is a folder", "an image should be there"),
    Broken("odd calls", "chat run --voice good.wav --text x", "--voice is good.wav", "no speech branch"),
    Broken("odd calls", "chat runs_of_a_week --text x", RUNS, "runs_of_a_week/monday", damage=many_runs),
    Broken("odd calls", "eval runs_of_a_week", RUNS, "runs_of_a_week/monday", damage=many_runs),
    Broken("odd calls", "bundle runs_of_a_week --out new", RUNS, "runs_of_a_week/monday", damage=many_runs),
    Broken("empty paths", "answer run rows.jsonl --out=", "--out: the path is empty", "name a file or a folder"),
    Broken("empty paths", "chat run --audio=", "--audio", "empty"),
    Broken("paths", "answer run rows.jsonl --out .", "--out is ., which is not a file", "answers.jsonl"),
    Broken("paths", "data check text.yaml --report pipe.json", "pipe.json", "it is a device or a pipe, not a file", damage=pipe),
    Broken("paths", "answer run rows.jsonl --out a.jsonl", "Input/output error", "check its permissions and its disk", damage=unreadable),
]
