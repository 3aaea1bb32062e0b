"""`omnikit replay RUN [--stage S]`: train a run again from its own record, elsewhere, and compare losses and weights."""

import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from omnikit.commands.arguments import Parser
from omnikit.text_table import columns

if TYPE_CHECKING:
    from omnikit.training.replay import Circumstances, StageReplay

EXAMPLE = "example: omnikit replay llama_omni/tiny --stage speak"


def run(argv: list[str]) -> int:
    """Replay a run; the exit code is 0 if it comes out equal to the bit, and 1 if not."""
    parser = Parser("omnikit replay", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("run", help="the run's folder, or a recipe's name for its latest run")
    parser.add_argument("--stage", help="this stage alone, from the weights that the run has before it; by default all that are"
                        " finished, one after another")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="train in this folder and leave it there; by default in a"
                        " temporary one")
    parser.add_argument("--check", action="store_true", help="only list what is otherwise now than when the run was trained")
    arguments = parser.parse_args(argv)

    from omnikit.store.runs import find
    from omnikit.training.replay import circumstances, replay, stages_to_replay  # imports torch

    folder = find(arguments.run)
    plan, names = stages_to_replay(folder, arguments.stage)
    found = {name: circumstances(plan, folder, name) for name in names}
    sys.stdout.write(_differences(found))
    changed = any(one.inputs for one in found.values())
    if changed or arguments.check:
        sys.stdout.write("What it was made of is not the same, so it was not trained again.\n" if changed else "")
        return int(changed)
    with ExitStack() as stack:
        out = arguments.out or Path(stack.enter_context(TemporaryDirectory(prefix="omnikit_replay_")))
        results = list(replay(plan, folder, names, out))
    sys.stdout.write(_results(results))
    return 0 if all(one.is_equal for one in results) else 1


def _differences(found: dict[str, "Circumstances"]) -> str:
    """List what differs, each thing once with its stages."""
    stages: dict[tuple[str, str, str], list[str]] = {}
    for name, one in found.items():
        for difference in (*one.inputs, *one.machine):
            stages.setdefault((difference.place, str(difference.old), str(difference.new)), []).append(name)
    if not stages:
        return "Settings, data, files, versions and hardware are those of the run.\n"
    lines = [(place, old, new, ", ".join(names)) for (place, old, new), names in stages.items()]
    return columns([("what differs", "then", "now", "stages"), *lines])


def _results(results: Iterable["StageReplay"]) -> str:
    lines = [(one.stage, f"{one.rows} rows equal" if not one.loss else one.loss,
              "equal" if not one.weights else f"other weights of {', '.join(one.weights)}") for one in results]
    return f"\n{columns([('stage', 'losses', 'weights'), *lines])}"
