"""`omnikit import LAYOUT FOLDER … --out RUN`: a published checkpoint becomes a run that chat, eval and train accept."""

import sys
from argparse import SUPPRESS
from dataclasses import fields
from pathlib import Path
from typing import Any

from omnikit import registry
from omnikit.commands.arguments import Parser
from omnikit.errors import ConfigError
from omnikit.recipe import presets
from omnikit.text_table import columns

EXAMPLE = "example: omnikit import llama_omni Llama-3.1-8B-Omni --vocoder g_00500000 --whisper large-v3.pt --out runs/omni"


def run(argv: list[str]) -> int:
    """Import; the flags between FOLDER and --out are the layout's own files."""
    layouts = registry.components("importer")
    name = argv[0] if argv and not argv[0].startswith("-") else None
    if name is not None and name not in layouts:
        raise ConfigError(presets.unknown_name("layout", name, layouts))
    arguments = _parser([name] if name else list(layouts)).parse_args(argv)
    source = {field.name: getattr(arguments, field.name) for field in fields(registry.component("importer", arguments.layout))}

    from omnikit.training.import_run import import_checkpoint  # needs torch

    out = Path(arguments.out)
    lines = import_checkpoint(arguments.layout, source, out, arguments.allow)
    sys.stdout.write(f"\n{columns(lines)}\nThe run is {out}; ask it with: omnikit chat {out} --audio question.wav\n")
    return 0


def _parser(layouts: list[str]) -> Parser:
    """Give the command line of some layouts: the first field of each is the folder, the others are flags."""
    parser = Parser("omnikit import", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("layout", help=f"one of {', '.join(layouts) or '(none is installed)'}")
    files: dict[str, str] = {}
    for layout in layouts:
        cls = registry.component("importer", layout)
        files |= {f.name if index == 0 else f"--{f.name}": _described(cls, f.name) for index, f in enumerate(fields(cls))}
    for flag, described in files.items():
        parser.add_argument(flag, help=described)
    parser.add_argument("--allow", nargs="+", action="extend", default=[], metavar="PART",
                        help="parts that may lack tensors, which then start fresh, or have some left over")
    parser.add_argument("--out", required=True, help="the run's folder; it must not be there yet")
    return parser


def _described(cls: type[Any], name: str) -> str:
    """Give the note on a field in a dataclass's docstring."""
    lines = (cls.__doc__ or "").splitlines()
    start = next((i for i, line in enumerate(lines) if line.strip().startswith(f"{name}:")), None)
    if start is None:
        return SUPPRESS
    rest = [line.strip() for line in lines[start + 1:]]
    end = next((i for i, line in enumerate(rest) if not line or line.split(" ")[0].endswith(":")), len(rest))
    return " ".join([lines[start].partition(":")[2].strip(), *rest[:end]]).replace("%", "%%")
