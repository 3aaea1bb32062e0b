"""`omnikit chat RUN`: ask a trained run by voice or text, read its answer and hear it. Without a question: a loop."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from omnikit.commands.arguments import Parser
from omnikit.errors import OmnikitError, RunError

if TYPE_CHECKING:
    from omnikit.inference.session import Session
    from omnikit.types import Message

EXAMPLE = "example: omnikit chat llama_omni/tiny --audio question.wav --out answer.wav"
SOUNDS = (".wav", ".flac", ".ogg", ".mp3")


def run(argv: list[str]) -> int:
    """Answer one question, or line after line of them: a text or the path of a sound file; `:q` ends."""
    parser = Parser("omnikit chat", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("run", help="a run's folder, a link to one, or a recipe's name")
    parser.add_argument("--audio", help="sound file with the question")
    parser.add_argument("--text", help="text of the question, after the sound if both are given")
    parser.add_argument("--example", action="store_true", help="ask a held-out question of the recipe's data; its sound goes"
                        " beside --out")
    parser.add_argument("--system", help="system prompt, instead of the template's own")
    parser.add_argument("--out", type=Path, help="wav for the spoken answer; in the loop numbered: out-1.wav, out-2.wav, …")
    parser.add_argument("--history", action="store_true", help="in the loop, let the model hear the earlier turns again")
    arguments = parser.parse_args(argv)
    if arguments.out and arguments.out.is_dir():
        raise RunError(f"--out is {arguments.out}, which is a folder; name a wav file, for example --out answer.wav.")
    if arguments.out and not arguments.out.parent.is_dir():
        raise RunError(f"--out is {arguments.out}, but there is no folder {arguments.out.parent}; make it first.")

    from omnikit.inference.session import load

    session = load(arguments.run)
    if arguments.example:
        arguments.audio, arguments.text = _example(session, arguments.out), None
    if arguments.audio or arguments.text:
        _answer(session, arguments.audio, arguments.text, arguments.system, arguments.out, None)
    else:
        _loop(session, arguments.system, arguments.out, [] if arguments.history else None)
    return 0


def _example(session: "Session", out: Path | None) -> str:
    """Write the question of the first evaluation row beside `out`, and say what it asks; gives the sound file."""
    from omnikit.data.collate import questions, waveform
    from omnikit.data.media import save_audio

    datasets = list(session.plan.recipe.evaluate.data.values())
    if not datasets:
        raise RunError(f"Recipe {session.plan.recipe.name} names no data under `evaluate`, so it has no example to ask.")
    sample = session.plan.readers[datasets[0]].build()[0]
    part = next((part for part in questions(sample) if part.type == "audio"), None)
    if part is None:
        raise RunError(f"Row {sample.id} of {datasets[0]} asks nothing aloud; ask with --audio or --text.")
    path = out.with_name(f"{out.stem}-question.wav") if out else Path("question.wav")
    save_audio(path, waveform(part, 16000, sample.id), 16000)
    sys.stdout.write(f"question  {path}  ({part.text})\n")
    return str(path)


def _loop(session: "Session", system: str | None, out: Path | None, history: "list[Message] | None") -> None:
    sys.stdout.write("A line is a question; the path of a sound file is a spoken one; :q ends.\n")
    for number, line in enumerate(_lines(), 1):
        audio, text = (line, None) if line.lower().endswith(SOUNDS) else (None, line)
        numbered = out.with_stem(f"{out.stem}-{number}") if out else None
        try:
            _answer(session, audio, text, system, numbered, history)
        except OmnikitError as error:  # one bad question does not end the conversation
            sys.stderr.write(f"omnikit: {error}\n")


def _lines() -> Iterator[str]:
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            return
        if line == ":q":
            return
        if line:
            yield line


def _answer(session: "Session", audio: str | None, text: str | None, system: str | None, out: Path | None,
            history: "list[Message] | None") -> None:
    answer = session.answer(audio, text, system, history=history)
    sys.stdout.write(f"{answer.text}\n")
    if out:
        answer.save(out)
        sys.stdout.write(f"answer  {out}  ({answer.seconds:.1f} s)\n")
