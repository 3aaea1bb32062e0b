"""`omnikit bench duplex RUN|URL`: play scripted conversations against a run or a Realtime server and measure turn-taking: which
turns are answered, what stops an answer, how long that takes. Writes report.json, report.html and Full-Duplex-Bench's files."""

import os
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnikit.commands.arguments import Parser, at_least_one
from omnikit.errors import OmnikitError, nearest
from omnikit.text_table import columns

if TYPE_CHECKING:
    from omnikit.evaluation.duplex.bench import Target

EXAMPLE = "example: omnikit bench duplex vita_1_5/tiny --out duplex"
KEY = "OPENAI_API_KEY"  # environment variable with the key of a server
BENCHES = ("duplex",)
SERVER = ("--speed", "--turn-detection")
LOCAL = ("--pace", "--interrupt", "--models", "--device")
KINDS = ("count", "answered", "during_an_answer", "stopped_it")
LINES = {"questions_answered": "questions answered", "response_ms": "response",
         "begun_inside_a_question": "begun inside a question",
         "ignored_left_unanswered": "left unanswered as due", "silence_left_unanswered": "silence left unanswered",
         "echo_left_unanswered": "echo left unanswered",
         "interruptions_that_stopped": "interruptions that stopped", "stop_ms": "stop", "false_stops": "false stops",
         "audio_after_stop_ms": "audio after a stop", "history_equals_played": "history equals what was played"}


def run(argv: list[str]) -> int:
    """Play, print the summary; 0 also where the model does badly."""
    if argv[:1] not in ([], ["-h"], ["--help"]) and argv[0] not in BENCHES:
        raise OmnikitError(f"{argv[0]!r} is not a bench.{nearest(argv[0], BENCHES)} Benches: {', '.join(BENCHES)}.")
    arguments = _parser().parse_args(argv)
    _check(arguments)

    from omnikit.evaluation.duplex.bench import chosen
    from omnikit.evaluation.duplex.bench import run as play

    scenarios = chosen(arguments.scenarios, arguments.only, arguments.variants)
    found = play(_target(arguments), scenarios, arguments.out, seed=arguments.seed)
    sys.stdout.write(f"{table(found['summary'])}\n{arguments.out / 'report.html'}\n")
    return 0


def _parser() -> Parser:
    parser = Parser("omnikit bench", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("bench", choices=BENCHES, help="what is measured")
    parser.add_argument("target", help="a run's folder, a link to one, a recipe's name, or the ws:// or wss:// URL of a"
                        f" Realtime server, whose key is in {KEY}")
    parser.add_argument("--out", type=Path, default=Path("duplex"), help="folder for the report (default: duplex)")
    parser.add_argument("--scenarios", type=Path, metavar="FILE", help="YAML with other conversations")
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="play this scenario, or this group of"
                        " variants; several: one --only for each")
    parser.add_argument("--variants", type=at_least_one, help="play at most so many variants of each scenario (default: all)")
    parser.add_argument("--seed", type=_seed, default=0, help="of noises and of answers with draws (default 0)")
    parser.add_argument("--pace", type=at_least_one, help="of a run: decoding steps in 32 ms of the user's audio (default 4)")
    parser.add_argument("--interrupt", choices=("speech", "decision", "never"), help="of a run: what stops an answer, instead"
                        " of the recipe's live.policy.interrupt")
    parser.add_argument("--models", choices=("one", "two"), help="of a run: two models that swap roles, as VITA's server has"
                        " them, instead of the recipe's live.policy.models")
    parser.add_argument("--device", help="of a run: cpu, cuda, cuda:1 (default: a GPU if there is one)")
    parser.add_argument("--speed", type=_speed, help="of a server: seconds of audio that are sent in a second (default 1)")
    parser.add_argument("--turn-detection", choices=("server_vad", "semantic_vad"), help="of a server: instead of its own"
                        " default")
    return parser


def _is_url(arguments: Namespace) -> bool:
    return str(arguments.target).startswith(("ws://", "wss://"))


def _check(arguments: Namespace) -> None:
    """Refuse options that would have no effect."""
    if str(arguments.target).startswith(("http://", "https://")):
        raise OmnikitError(f"{arguments.target} is not the URL of a WebSocket; begin it with ws:// or wss://, for example"
                           " ws://127.0.0.1:8000/v1/realtime?model=tiny.")
    for option in LOCAL if _is_url(arguments) else SERVER:
        if getattr(arguments, option[2:].replace("-", "_")) is not None:
            what = "a run" if _is_url(arguments) else "a server"
            raise OmnikitError(f"{option} is of {what}, but {arguments.target} is none; leave it out.")


def _target(arguments: Namespace) -> "Target":
    from dataclasses import replace

    from omnikit.evaluation.duplex.bench import of_server, of_session
    from omnikit.inference.session import load
    from omnikit.store.runs import find

    if _is_url(arguments):
        return of_server(arguments.target, key=os.environ.get(KEY), turn_detection=arguments.turn_detection,
                         speed=arguments.speed or 1.0, seed=arguments.seed)
    folder = find(arguments.target)
    session = load(folder, device=arguments.device)
    policy = session.plan.recipe.live.policy
    if arguments.interrupt:
        policy = replace(policy, interrupt=arguments.interrupt)
    if arguments.models:
        policy = replace(policy, models=arguments.models)
    return of_session(session, run=folder.resolve().name, seed=arguments.seed, pace=arguments.pace or 4, policy=policy)


def table(summary: Any) -> str:
    """Give the summary as lines, and what was given by kind."""
    kinds = [(kind.replace("_", " "), *(str(one[name]) for name in KINDS)) for kind, one in summary["kinds"].items()]
    results = [(title, _shown(summary[name])) for name, title in LINES.items()]
    return "\n".join((columns([("what", "result"), *results]),
                      columns([("kind", *(name.replace("_", " ") for name in KINDS)), *kinds])))


def _shown(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return "-"
    if "median" in one:
        return f"{one['median']:g} ms in the median, {one['largest']} ms at most ({one['of']})"
    return f"{one['count']} of {one['of']}"


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text} is not a whole number of at least 0")
    return int(text)


def _speed(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= 1000:
        raise ArgumentTypeError(f"{text} is not a number above 0 and at most 1000")
    return found
