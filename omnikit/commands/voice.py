"""`omnikit voice extract AUDIO --out voice.json RUN`: write somebody's voice to a small file, for the answers of chat."""

import sys
from pathlib import Path

from omnikit.commands.arguments import Parser
from omnikit.errors import RunError

EXAMPLE = "example: omnikit voice extract anna.wav --out anna.json vita_1_5/tiny"


def run(argv: list[str]) -> int:
    """Extract; the only command so far."""
    parser = Parser("omnikit voice", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("command", choices=["extract"], help="take the voice of a recording")
    parser.add_argument("audio", type=Path, help="audio file in which nobody else speaks; some seconds are enough")
    parser.add_argument("run", help="a run's folder, a link to one, or a recipe's name: whose codec is used")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON file that is written")
    arguments = parser.parse_args(argv)
    out: Path = arguments.out
    if out.is_dir() or out.suffix != ".json":
        raise RunError(f"--out is {out}, but a voice is written to a JSON file; name one, for example --out anna.json.")
    if not out.parent.is_dir():
        raise RunError(f"--out is {out}, but there is no folder {out.parent}; make it first.")

    from omnikit.inference.builder_runs import BuilderRuns, media_limits
    from omnikit.inference.voices import extract

    voice = extract(*BuilderRuns().codec(arguments.run), arguments.audio, media_limits(arguments.run))
    voice.save(out)
    sys.stdout.write(f"voice  {out}  ({' '.join(map(str, voice.tokens))})\n")
    return 0
