"""How long a word on the command line takes, from a cold process to its exit, and how much memory; reported, not asserted.

Limits on two idle cores: --help 0.3 s · list 0.6 s, also of 120 components · check 1 s and 120 MB · show --parameters 10 s
(warm) and 900 MB.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from bench_table import Measures

from omnikit import registry
from omnikit.contracts.specs import KINDS
from omnikit.scaffold.distribution import NewPlugin

COMPONENTS = 120  # of which those that are not here are written and installed
LARGEST = ("llama_omni/full", "backbone=mixtral_8x7b_instruct")
CASES = {
    "help": (("--help",), 5),
    "list": (("list",), 5),
    "check largest": (("check", *LARGEST), 5),
    "completion": (("completion", "words", "omnikit train llama_omni/full audio/encoder=wh"), 3),
    "show parameters": (("show", *LARGEST, "--parameters"), 2),
}

# from a small process: to the kernel the largest memory of a process is at least that of the one which spawned it
SPAWN = """
import json, os, sys
silent = os.open(os.devnull, os.O_WRONLY)
pid = os.posix_spawn(sys.executable, [sys.executable, "-m", "omnikit.cli", *sys.argv[1:]], os.environ,
                     file_actions=[(os.POSIX_SPAWN_DUP2, silent, 1), (os.POSIX_SPAWN_DUP2, silent, 2)])
_, status, used = os.wait4(pid, 0)
assert os.waitstatus_to_exitcode(status) == 0, f"omnikit {' '.join(sys.argv[1:])} failed"
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


@pytest.mark.parametrize(("argv", "rounds"), CASES.values(), ids=CASES.keys())
def test_command(measures: Measures, argv: tuple[str, ...], rounds: int) -> None:
    usage = [run(argv)]  # the files are in memory afterwards
    usage += [run(argv) for _ in range(rounds)]
    name = " ".join(("omnikit", *argv))[:60]
    measures.number(f"{name}: processor time", min(seconds for seconds, _ in usage), "s")
    measures.number(f"{name}: memory", max(megabytes for _, megabytes in usage), "MB")


def test_list_of_120_components(measures: Measures, tmp_path: Path) -> None:
    installed = sum(len(registry.components(kind)) for kind in KINDS)
    for number in range(COMPONENTS - installed):
        NewPlugin("encoder", f"encoder_{number}").write(tmp_path / "plugins")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target",
                    str(tmp_path / "site"), *map(str, (tmp_path / "plugins").iterdir())], check=True)
    usage = [run(("list",), {"PYTHONPATH": str(tmp_path / "site")}) for _ in range(6)][1:]
    measures.number(f"omnikit list of {COMPONENTS} components: processor time", min(seconds for seconds, _ in usage), "s")


def run(argv: tuple[str, ...], more: Mapping[str, str] = MappingProxyType({})) -> tuple[float, float]:
    """Run `omnikit …` with `more` in its environment; gives its processor seconds and its largest memory in megabytes."""
    seconds, kilobytes = json.loads(subprocess.check_output([sys.executable, "-S", "-c", SPAWN, *argv], text=True,
                                                            env={**os.environ, **more}))
    return seconds, kilobytes / 1024
