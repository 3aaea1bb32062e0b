"""`omnikit export LAYOUT RUN --out DIR`: a trained or imported run in the files of a published layout."""

import sys
from pathlib import Path

from omnikit import registry
from omnikit.commands.arguments import Parser
from omnikit.errors import ConfigError, RunError
from omnikit.recipe import presets

EXAMPLE = "example: omnikit export llama_omni runs/omni --out exported"


def run(argv: list[str]) -> int:
    """Export the newest weights of a run."""
    layouts = registry.components("importer")
    parser = Parser("omnikit export", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("layout", help=f"one of {', '.join(layouts) or '(none is installed)'}")
    parser.add_argument("run", help="a run's folder, a link to one, or a recipe's name")
    parser.add_argument("--out", required=True, help="the folder to write; it must not be there yet")
    arguments = parser.parse_args(argv)
    if arguments.layout not in layouts:
        raise ConfigError(presets.unknown_name("layout", arguments.layout, layouts))
    cls, out = registry.component("importer", arguments.layout), Path(arguments.out)
    if out.exists():
        raise RunError(f"--out is {out}, which is there already; name a folder that is not, or remove it.")

    from omnikit.store.import_export import export  # needs torch

    export(cls, arguments.run, out)
    sizes = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    sys.stdout.write(f"{out} holds layout {arguments.layout} ({sizes / 1e6:,.1f} MB); read it back with:"
                     f" omnikit import {arguments.layout} {out} --out <run>\n")
    return 0
