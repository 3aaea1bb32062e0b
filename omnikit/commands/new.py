"""`omnikit new KIND NAME`: write a plugin's distribution, with a small working component and its tests."""

import sys
from pathlib import Path

from omnikit.commands.arguments import Parser
from omnikit.contracts.specs import KINDS

EXAMPLE = "example: omnikit new encoder acme_beats --dir .. && pip install ../omnikit-acme-beats"


def run(argv: list[str]) -> int:
    """Write the distribution and print what to do with it."""
    parser = Parser("omnikit new", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("kind", help=f"one of {', '.join(KINDS)}")
    parser.add_argument("name", help="of the component: lower-case words joined by underscores")
    parser.add_argument("--dir", type=Path, default=Path(), help="the folder that the distribution's folder is written in")
    arguments = parser.parse_args(argv)

    from omnikit.scaffold.distribution import NewPlugin

    plugin = NewPlugin(arguments.kind, arguments.name)
    folder = plugin.write(arguments.dir)
    use = plugin.use()
    sys.stdout.write(f"{folder} holds {arguments.kind} {arguments.name}: {plugin.package}/config.py is its contract.\n\n"
                     f"  pip install {folder}\n  pytest {folder}\n  omnikit list {arguments.kind}\n"
                     + (f"  omnikit check llama_omni/tiny {use}\n" if use else ""))
    return 0
