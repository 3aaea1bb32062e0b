"""`omnikit runs [FOLDER]`: list runs. `omnikit runs clean [RUN …]`: remove what was broken off, or the runs that are named."""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from omnikit.commands.arguments import Parser
from omnikit.errors import RunError
from omnikit.text_table import columns

if TYPE_CHECKING:
    from omnikit.store.clean import Leftover
    from omnikit.store.run_list import RunSummary

UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def run(argv: list[str]) -> int:
    """List runs, or clean them."""
    if argv[:1] == ["clean"]:
        return _clean(_clean_parser().parse_args(argv[1:]))
    parser = Parser("omnikit runs", usage="omnikit runs [FOLDER] [--json]\n       omnikit runs clean [RUN …] [--in FOLDER]"
                    " [--superseded] [--checkpoints] [--caches] [--dry-run] [--yes]", description=__doc__,
                    epilog="omnikit runs clean --help describes what is removed")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("runs"), help="where the runs lie (runs)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)

    from omnikit.store.run_list import list_runs

    found = list_runs(arguments.folder)
    if arguments.json:
        sys.stdout.write(json.dumps([asdict(one) for one in found], indent=1, default=str) + "\n")
    else:
        sys.stdout.write(_table(found) if found else f"{arguments.folder} holds no run.\n")
    return 0


def _clean_parser() -> Parser:
    parser = Parser("omnikit runs clean", description="Remove what training left unfinished: stages that were broken off, with"
                    " the state from which they would resume, and runs without a finished stage. A run that is being trained is"
                    " left alone, and a finished one is removed only if it is named or --superseded asks for it.")
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="remove these runs completely, and nothing else")
    parser.add_argument("--in", dest="folder", type=Path, default=Path("runs"), metavar="FOLDER", help="where the runs lie"
                        " (runs)")
    parser.add_argument("--superseded", action="store_true", help="also finished runs that are not the latest of their recipe")
    parser.add_argument("--checkpoints", action="store_true", help="also the last checkpoints of finished stages, which only"
                        " a raised max_steps goes on from")
    parser.add_argument("--caches", action="store_true", help="also the cache folder: recordings and features, made again when"
                        " needed")
    parser.add_argument("--dry-run", action="store_true", help="only print what would be removed")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _clean(arguments: Namespace) -> int:
    from omnikit.store.clean import leftovers, remove

    found = leftovers(arguments.folder, arguments.runs, superseded=arguments.superseded,
                      checkpoints=arguments.checkpoints, caches=arguments.caches)
    if not found:
        sys.stdout.write("Nothing to remove.\n")
        return 0
    sys.stdout.write(_listed(found))
    if arguments.dry_run:
        return 0
    if not arguments.yes and not _is_confirmed():
        sys.stdout.write("Nothing was removed.\n")
        return 0
    sys.stdout.write(f"Removed; {_bytes(remove(found))} are free.\n")
    return 0


def _is_confirmed() -> bool:
    if not sys.stdin.isatty():
        raise RunError("runs clean asks before it removes, but there is no terminal to answer from; add --yes or --dry-run.")
    sys.stdout.write("Remove all of this? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _listed(found: Sequence["Leftover"]) -> str:
    lines = [(str(one.path), _bytes(one.size), one.reason) for one in found]
    return f"{columns([('path', 'size', 'reason'), *lines])}{_bytes(sum(one.size for one in found))} in all.\n"


def _table(found: Sequence["RunSummary"]) -> str:
    lines = [(f"{one.folder}{' (latest)' if one.latest else ''}", one.recipe or "–", _stages(one), one.changed[:16],
              _bytes(one.size), ", ".join(f"{name} {value:.4g}" for name, value in one.numbers.items())) for one in found]
    notes = "".join(f"{one.problem}\n" for one in found if one.problem)
    return f"{columns([('run', 'recipe', 'stages', 'changed', 'size', 'last numbers'), *lines])}{notes}"


def _stages(one: "RunSummary") -> str:
    """Give how many stages are done, and what becomes of the next."""
    count = f"{len(one.done)} of {len(one.stages)}" if one.stages else "0"
    at = "" if one.resumes_at is None else f" at step {one.resumes_at}"
    state = "training" if one.training else f"{one.partial[0]} stopped{at}" if one.partial else ""
    return f"{count}, {state}" if state else count


def _bytes(count: int) -> str:
    """Write a size in the largest unit of which it has at least one."""
    return next((f"{count / size:.1f} {unit}" for size, unit in UNITS if count >= size), f"{count} bytes")
