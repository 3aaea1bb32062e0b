"""The command `omnikit`: its first argument picks a function, which is imported only then.

User errors end with code 2 and no trace.
"""

import errno
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path

from omnikit.errors import OmnikitError, nearest

COMMANDS = {
    "train": ("omnikit.commands.train:run", "train every stage of a recipe, or resume where it stopped"),
    "chat": ("omnikit.commands.chat:run", "ask a trained run, by audio, text, image or video, and play or save its answer"),
    "answer": ("omnikit.commands.answer:run", "answer a file of questions in batches"),
    "serve": ("omnikit.commands.serve:run", "serve a trained run: OpenAI's routes, Realtime, and a page to talk to it"),
    "eval": ("omnikit.commands.eval:run", "score a trained run on its held-out questions, or on a file of yours"),
    "compare": ("omnikit.commands.compare:run", "compare scored runs: metrics on the same rows, and what they were made of"),
    "bench": ("omnikit.commands.bench:run", "measure turn-taking of a run or a Realtime server by scripted conversations"),
    "data": ("omnikit.commands.data:run", "build a dataset, inspect a batch of a stage, or check every row"),
    "tokenizer": ("omnikit.commands.tokenizer:run", "extend a tokenizer and its checkpoint by Chinese pieces"),
    "voice": ("omnikit.commands.voice:run", "extract the voice of a recording into a file, for the answers of chat"),
    "check": ("omnikit.commands.check:run", "check a recipe and print its wiring; no weights, no torch"),
    "check-head": ("omnikit.commands.check_head:run", "resynthesise held-out speech with a run's codec alone and score it"),
    "forecast": ("omnikit.commands.forecast:run", "forecast the memory of each stage, and what makes it fit a card"),
    "show": ("omnikit.commands.show:run", "show a recipe's wiring and parameters, or a component's fields and contract"),
    "runs": ("omnikit.commands.runs:run", "list runs, or remove what training left unfinished"),
    "diff": ("omnikit.commands.diff:run", "compare two recipes or runs: what changed, and which weights stay valid"),
    "replay": ("omnikit.commands.replay:run", "train a run again from its record and compare losses and weights"),
    "import": ("omnikit.commands.import_:run", "make a run of a published checkpoint"),
    "export": ("omnikit.commands.export:run", "write a run in the files of a published layout"),
    "bundle": ("omnikit.commands.bundle:run", "copy a run with all that it needs into one folder that works elsewhere"),
    "list": ("omnikit.commands.list:run", "list installed components and presets"),
    "new": ("omnikit.commands.new:run", "write a plugin: a small working component of a kind, with its tests"),
    "test-plugin": ("omnikit.commands.test_plugin:run", "check what a package's components do against what they state"),
    "completion": ("omnikit.commands.completion:run", "print the bash completion: eval \"$(omnikit completion bash)\""),
}
BRIEF = ("check", "completion", "list")  # commands that run no model
MACHINE = (errno.EACCES, errno.EPERM, errno.EIO, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.EMFILE,
           errno.ENFILE, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO)  # what a file or a disk refuses: not a bug
USAGE = "omnikit: compose encoders, projectors, a language model and heads from YAML; train it, talk to it.\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code: 0 done, 2 a user's error, 130 interrupted. Bugs show their trace."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _prepare_streams()
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except OmnikitError as error:
        sys.stderr.write("".join(f"omnikit: {sentence}\n" for sentence in str(error).split("\n")))
        return 2
    except BrokenPipeError:  # the reader of our output went away, as in `omnikit list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains at exit
        return 0
    except OSError as error:
        if isinstance(error, FileNotFoundError) and _is_folder_gone():
            sys.stderr.write("omnikit: the folder that you are in was removed; change to another.\n")
            return 2
        if error.errno not in MACHINE:
            raise
        named = f"{error.filename} cannot be used" if error.filename else "a file cannot be read or written"
        sys.stderr.write(f"omnikit: {named}: {error.strerror}; check its permissions and its disk.\n")
        return 2
    except KeyboardInterrupt:
        saved = {"train": "finished stages and steps", "answer": "finished answers",
                 "data": "finished rows" * (arguments[1:2] == ["build"])}
        what = saved.get(arguments[0], "") if arguments else ""
        advice = f"; {what} are saved, run the same command to resume" if what else ""
        sys.stderr.write(f"omnikit: interrupted{advice}.\n")
        return 130


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(_help())
        return 0
    if arguments[0] == "--version":
        from omnikit import __version__

        sys.stdout.write(f"omnikit {__version__}\n")
        return 0
    if arguments[0] not in COMMANDS:
        raise OmnikitError(f"{arguments[0]!r} is not a command.{nearest(arguments[0], COMMANDS)}"
                           f" Commands: {', '.join(COMMANDS)}.")
    if arguments[0] in BRIEF and "--deep" not in arguments:
        gc.disable()  # nothing to collect before the end, which comes within a second
    module, _, function = COMMANDS[arguments[0]][0].partition(":")
    return int(getattr(import_module(module), function)(arguments[1:]))


def _prepare_streams() -> None:
    """Open what a shell closed, as `>&-` does, and let signs that a terminal's encoding lacks be written as escapes."""
    null = Path(os.devnull)
    sys.stdin, sys.stdout, sys.stderr = sys.stdin or null.open(), sys.stdout or null.open("w"), sys.stderr or null.open("w")
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _is_folder_gone() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _help() -> str:
    lines = "".join(f"  {name:<11} {line}\n" for name, (_, line) in COMMANDS.items())
    return (f"{USAGE}\nusage: omnikit COMMAND …          omnikit COMMAND --help\n\n{lines}\n"
            "example: omnikit train llama_omni/tiny audio/encoder=mel_cnn stages.speak.optim.lr=1e-4\n")


if __name__ == "__main__":
    sys.exit(main())
