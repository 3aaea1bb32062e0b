"""`omnikit eval RUN`: score a trained run on its held-out questions; writes a card (JSON, HTML) and prints its main numbers."""

import sys
from argparse import ArgumentTypeError
from collections.abc import Mapping
from typing import Any

from omnikit.commands.arguments import Parser, at_least_one
from omnikit.commands.table import columns
from omnikit.errors import ConfigError

EXAMPLE = "example: omnikit eval llama_omni/tiny --recogniser recogniser/tiny --limit 300"
MEASURES = ("recogniser", "limit", "batch_size", "latency_rows", "omega", "keep_wavs")  # what --rescore cannot change


def run(argv: list[str]) -> int:
    """Score a run; its answers, numbers and card are kept in its folder under eval/."""
    parser = Parser("omnikit eval", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("run", help="a run's folder, a link to one, or a recipe's name")
    parser.add_argument("--recogniser", help="run of the recogniser that hears the answers; by default the recipe's")
    parser.add_argument("--limit", type=at_least_one, help="score at most so many rows of each dataset")
    parser.add_argument("--batch-size", type=at_least_one, help="questions at a time (32)")
    parser.add_argument("--latency-rows", type=at_least_zero, help="answers against the clock for each omega (20; 0 for none)")
    parser.add_argument("--omega", type=omegas, help="units before a segment is spoken, where latency is measured"
                        " (10,20,40,80)")
    parser.add_argument("--speak-with", choices=("codec", "units"), default="codec", help="units: the part that makes the"
                        " codes speaks them, for comparison; kept under eval_units/")
    parser.add_argument("--keep-wavs", action="store_true", default=None, help="keep the generated speech too")
    parser.add_argument("--rescore", action="store_true", help="compute the card again from the kept answers, without the"
                        " model")
    arguments = parser.parse_args(argv)
    given = {name: value for name in MEASURES if (value := getattr(arguments, name)) is not None}
    if arguments.rescore and given:
        raise ConfigError(f"--rescore computes from kept answers, so --{next(iter(given)).replace('_', '-')} cannot change"
                          " anything; leave one of them out.")

    from omnikit.evaluation.score import Options, rescore, score

    if arguments.rescore:
        folder, card = rescore(arguments.run, arguments.speak_with)
    else:
        given |= {"omegas": given.pop("omega")} if "omega" in given else {}
        folder, card = score(arguments.run, Options(speaks_with=arguments.speak_with, **given))
    sys.stdout.write(f"\n{table(card)}\nThe card is {folder}/card.html; numbers and answers are beside it.\n")
    return 0


def table(card: Mapping[str, Any]) -> str:
    """Set a card's main numbers in one table: a line for each dataset, then one for each kind of question in it."""
    rows = [("data", "rows", "exact", "other audio", "speech WER", "CER", "natural WER", "CER")]
    for title, found in card["scores"].items():
        names = ("exact", "exact_with_other_audio", "speech_wer", "speech_cer", "natural_wer", "natural_cer")
        rows.append((title, str(found["rows"]), *(_percent(found["numbers"][name]) for name in names)))
        rows += [(f"  {kind}", str(some["exact"]["count"]), _percent(some["exact"]), "", "", "", "", "")
                 for kind, some in found["kinds"].items()]
    return columns(rows) + _soon(card["latency"])


def _soon(latency: Mapping[str, Any]) -> str:
    """Say when the first sound is there."""
    words = [f"{some['first_sound']['value']:.2f} s {f'at Ω {name}' if name != 'offline' else name}"
             for name, some in latency.items() if some["first_sound"]]
    return f"\n  First sound after {', '.join(words)} (middle of the rows).\n" if words else ""


def _percent(number: Mapping[str, float] | None) -> str:
    return "–" if number is None else f"{100 * number['value']:.1f} %"


def at_least_zero(word: str) -> int:
    """Read a count that may be 0, for argparse."""
    return 0 if word == "0" else at_least_one(word)


def omegas(word: str) -> tuple[int, ...]:
    """Read counts with commas between, for argparse."""
    found = tuple(at_least_one(part.strip()) for part in word.split(","))
    if len(set(found)) < len(found):
        raise ArgumentTypeError(f"{word} names one number twice")
    return found
