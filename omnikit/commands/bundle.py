"""`omnikit bundle RUN --out DIR`: a run with all that it needs, in one folder that works elsewhere."""

import sys
from pathlib import Path

from omnikit.commands.arguments import Parser

EXAMPLE = "example: omnikit bundle llama_omni/tiny --out omni && omnikit chat omni --text hello"


def run(argv: list[str]) -> int:
    """Copy a run with the frozen parts, the tokenizer and the recipe that it needs."""
    parser = Parser("omnikit bundle", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("run", help="a run's folder, a link to one, or a recipe's name")
    parser.add_argument("--out", required=True, help="the folder to write; it must not be there yet")
    arguments = parser.parse_args(argv)

    from omnikit.store.bundle import bundle  # needs torch

    out = Path(arguments.out)
    outside = bundle(arguments.run, out)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    beside = f", {', '.join(outside)} among them from outside the run" if outside else ""
    sys.stdout.write(f"{out} holds the run ({size / 1e6:,.1f} MB){beside}; use it like the run: omnikit chat {out}\n")
    return 0
