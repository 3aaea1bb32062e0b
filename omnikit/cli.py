"""The command `omnikit`: a word picks a function, which is imported only then. User mistakes end with code 2 and no trace."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from omnikit.errors import OmnikitError, nearest

COMMANDS = {
    "train": ("omnikit.commands.train:run", "train every stage of a recipe, or go on where it stopped"),
    "chat": ("omnikit.commands.chat:run", "ask a trained run, by voice or text, and hear its answer"),
    "eval": ("omnikit.commands.eval:run", "score a trained run on its held-out questions"),
    "data": ("omnikit.commands.data:run", "build a dataset, or look at what a stage learns from it"),
    "tokenizer": ("omnikit.commands.tokenizer:run", "extend a tokenizer and its checkpoint by Chinese pieces"),
    "voice": ("omnikit.commands.voice:run", "keep the voice of a sound in a file, to speak with it in chat"),
    "check": ("omnikit.commands.check:run", "check a recipe and print its wiring; no weights, no torch"),
    "check-head": ("omnikit.commands.check_head:run", "send held-out speech through a run's codec alone and hear it"),
    "show": ("omnikit.commands.show:run", "show a recipe's wiring and parameters, or a component's fields and contract"),
    "import": ("omnikit.commands.import_:run", "make a run of a published checkpoint"),
    "export": ("omnikit.commands.export:run", "write a run in the files of a published layout"),
    "bundle": ("omnikit.commands.bundle:run", "copy a run with all that it needs into one folder that works elsewhere"),
    "list": ("omnikit.commands.list:run", "list installed components and presets"),
    "completion": ("omnikit.commands.completion:run", "print the bash completion: eval \"$(omnikit completion bash)\""),
}
USAGE = "omnikit: compose encoders, projectors, a language model and heads from YAML; train it, talk to it.\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code: 0 done, 2 the user's mistake, 130 interrupted. Bugs show their trace."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except OmnikitError as error:
        sys.stderr.write("".join(f"omnikit: {sentence}\n" for sentence in str(error).splitlines()))
        return 2
    except BrokenPipeError:  # the reader of our output went away, as in `omnikit list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains at exit
        return 0
    except KeyboardInterrupt:
        kept = "stages" if words[:1] == ["train"] else "rows" if words[:2] == ["data", "build"] else ""
        advice = f"; finished {kept} are kept, run the same command to go on" if kept else ""
        sys.stderr.write(f"omnikit: interrupted{advice}.\n")
        return 130


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(_help())
        return 0
    if words[0] == "--version":
        from omnikit import __version__

        sys.stdout.write(f"omnikit {__version__}\n")
        return 0
    if words[0] not in COMMANDS:
        raise OmnikitError(f"{words[0]!r} is no command.{nearest(words[0], COMMANDS)} Commands: {', '.join(COMMANDS)}.")
    module, _, function = COMMANDS[words[0]][0].partition(":")
    return int(getattr(import_module(module), function)(words[1:]))


def _help() -> str:
    lines = "".join(f"  {word:<11} {line}\n" for word, (_, line) in COMMANDS.items())
    return (f"{USAGE}\nusage: omnikit COMMAND …          omnikit COMMAND --help\n\n{lines}\n"
            "example: omnikit train llama_omni/tiny audio/encoder=mel_cnn stages.speak.optim.lr=1e-4\n")


if __name__ == "__main__":
    sys.exit(main())
