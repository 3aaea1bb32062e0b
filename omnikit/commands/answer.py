"""`omnikit answer RUN questions.jsonl --out answers.jsonl`: answer a file of questions in batches, their speech in wav files
beside the answers. The same command resumes where it was interrupted."""

import sys
from argparse import ArgumentTypeError
from pathlib import Path

from omnikit.commands.arguments import Parser, at_least_one
from omnikit.errors import ConfigError, RunError

WHOLE = 2**31  # codes of a segment: all of an answer, so that its audio is decoded at once
EXAMPLE = "example: omnikit answer llama_omni/tiny questions.jsonl --out answers.jsonl"


def run(argv: list[str]) -> int:
    """Answer each line; gives 1 where questions were refused, whose lines have the error."""
    parser = Parser("omnikit answer", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("run", help="a run's folder, a link to one, or a recipe's name")
    parser.add_argument("questions", type=Path, help="JSONL: messages as in a dataset, or {id, audio, text, image, video}")
    parser.add_argument("--out", type=Path, required=True, help="JSONL with an answer for each question, in their order")
    parser.add_argument("--batch-size", type=at_least_one, default=16, help="answers that are decoded together (16)")
    parser.add_argument("--no-audio", action="store_true", help="answer by text only")
    parser.add_argument("--max-new-tokens", type=at_least_one, help="tokens of an answer at most (the recipe's)")
    parser.add_argument("--temperature", type=temperature, help="0 takes the most probable token (the recipe's)")
    parser.add_argument("--seed", type=seed, default=0, help="of the draws where the temperature is above 0 (0)")
    parser.add_argument("--load-in", choices=("8bit", "4bit"), help="hold the backbone's matrices in 8 or 4 bits")
    arguments = parser.parse_args(argv)
    if arguments.out.resolve() == arguments.questions.resolve():
        raise ConfigError(f"--out is {arguments.out}, which holds the questions; name another file.")
    if arguments.out.exists() and not arguments.out.is_file():
        raise RunError(f"--out is {arguments.out}, which is not a file; name one, for example answers.jsonl.")
    if not arguments.out.absolute().parent.is_dir():
        raise RunError(f"--out is {arguments.out}, but there is no folder {arguments.out.parent}; make it.")

    from omnikit.inference.answer_file import AnswerFile
    from omnikit.inference.engine import AnswerOptions
    from omnikit.inference.question_file import QuestionFile
    from omnikit.inference.scheduler.batch import engine_for
    from omnikit.inference.scheduler.scheduler import EngineLimits
    from omnikit.inference.session import load
    from omnikit.progress import progress

    questions = QuestionFile(arguments.questions)
    session = load(arguments.run, load_in=arguments.load_in)
    options = AnswerOptions(arguments.max_new_tokens, arguments.temperature, seed=arguments.seed, speak=not arguments.no_audio,
                            omega=WHOLE, independent=True)
    window = 4 * arguments.batch_size
    engine = engine_for(session, EngineLimits(rows=arguments.batch_size, waiting=window))
    answers = AnswerFile(questions, arguments.out, engine, options, window)
    with progress("answering", stderr=True) as report:
        counts = answers.write(report)
    found = f", {counts.found} were there" if counts.found else ""
    refused = f", {counts.refused} refused (see their lines)" if counts.refused else ""
    sys.stdout.write(f"{arguments.out} holds {len(questions)} answers: {counts.made} made{found}{refused}\n")
    return 1 if counts.refused else 0


def temperature(text: str) -> float:
    """Read a temperature for argparse."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise ArgumentTypeError(f"{text} is not a number of at least 0")
    return found


def seed(text: str) -> int:
    """Read a seed for argparse."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text} is not a whole number of at least 0")
    return int(text)
