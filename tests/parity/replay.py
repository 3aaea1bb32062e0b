"""Replay golden cases of the original systems: their inputs through our models, each output within its stated tolerance.

    python tests/parity/replay.py [--only PREFIX,…] DIR…

DIR is a case's folder or a root of such folders. One line a case; exit code 1 if a selected case fails or cannot be replayed.
The kind of a case is recognised by its content (tests/parity/kinds), not by its folder's name.
"""

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before transformers is imported
sys.path[:0] = [str(Path(__file__).parents[1])]  # as pytest has it (pyproject.toml)

import torch  # noqa: E402 - see above
from parity.case import Case, ReplayError  # noqa: E402
from parity.kinds import KINDS  # noqa: E402

from omnikit.errors import OmnikitError  # noqa: E402


def main(words: Sequence[str] | None = None) -> int:
    """Replay what the command line names; give its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=f"Kinds: {', '.join(KINDS)}.")
    parser.add_argument("folders", nargs="+", metavar="DIR", type=Path, help="a case, or a folder of cases")
    parser.add_argument("--only", metavar="PREFIX,…", help="only cases whose names begin so")
    arguments = parser.parse_args(words)
    prefixes = tuple(word for word in (arguments.only or "").split(",") if word)
    cases = [folder for root in arguments.folders for folder in found(root) if folder.name.startswith(prefixes or "")]
    missing = [prefix for prefix in prefixes if not any(folder.name.startswith(prefix) for folder in cases)]
    if missing or not cases:
        print(f"no case {' and none '.join(missing) or 'at all'} in {', '.join(map(str, arguments.folders))}")
    width = max((len(folder.name) for folder in cases), default=0)
    failed = [folder for folder in cases if not report(folder, width)]
    if len(cases) > 1:
        print(f"{len(cases) - len(failed)} of {len(cases)} cases ok")
    return 1 if failed or missing or not cases else 0


def found(root: Path) -> Iterator[Path]:
    """Give the cases in a folder, or the folder itself if it is one."""
    if (root / "case.json").is_file():
        yield root.resolve()
        return
    yield from sorted(path.parent.resolve() for path in root.glob("*/case.json"))


def kind_of(case: Case) -> tuple[str, ModuleType]:
    """Give the kind that a case belongs to; raises ReplayError if there is none."""
    for name, module in KINDS.items():
        if module.matches(case):
            return name, module
    raise ReplayError(f"no kind replays {case.facts.get('module') or 'what it holds'!r} of {case.facts.get('system')!r}")


def report(folder: Path, width: int) -> bool:
    """Replay one case, print its line, and return whether it is ok."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="parity-") as scratch:
        case = Case(folder, Path(scratch))
        try:
            line = replayed(case)
        except (ReplayError, OmnikitError) as error:
            line = f"FAILED  cannot be replayed: {error}"
        except Exception as error:  # a case from elsewhere may break anything; the rest shall still be replayed
            traceback.print_exc()
            line = f"FAILED  cannot be replayed: {type(error).__name__}: {error}"
    print(f"{folder.name:{width}}  {line}  ({time.perf_counter() - begun:.1f} s)", flush=True)
    return line.startswith("ok")


def replayed(case: Case) -> str:
    """Replay a case and give its line."""
    name, module = kind_of(case)
    with torch.no_grad():
        module.replay(case)
    if not case.checks:
        raise ReplayError("it holds no output that its kind compares")
    worst, wrong = case.worst, [check for check in case.checks if check.share > 1]
    largest = (f"largest error {worst.error:.2g} of {worst.allowed:.2g} allowed in {worst.output}" if worst.allowed
               else "all equal" if not worst.error else f"{worst.output} differs")
    also = "" if len(wrong) < 2 else f", also {', '.join(check.output for check in wrong if check is not worst)}"
    left = f", not compared: {', '.join(case.left)}" if case.left else ""
    unread = case.config.unread()
    named = "".join(f"; {text}" for text in (*case.differences, *([f"not read: {', '.join(unread)}"] if unread else [])))
    return f"{'FAILED' if wrong else 'ok    '}  {name}: {len(case.checks)} checks, {largest}{also}{left}{named}"


if __name__ == "__main__":
    sys.exit(main())
