"""`omnikit eval RUN`: score a trained run on its held-out questions, and print the numbers with the recogniser's own error."""

import sys
from collections.abc import Mapping

from omnikit.commands.arguments import Parser, at_least_one
from omnikit.commands.table import columns

EXAMPLE = "example: omnikit eval llama_omni/tiny --recogniser recogniser/tiny --limit 300"


def run(argv: list[str]) -> int:
    """Score a run; the answers and numbers are kept in its folder under eval/."""
    parser = Parser("omnikit eval", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("run", help="a run's folder, a link to one, or a recipe's name")
    parser.add_argument("--recogniser", help="run of the recogniser that hears the answers; by default the recipe's")
    parser.add_argument("--limit", type=at_least_one, help="score at most so many rows of each dataset")
    parser.add_argument("--batch-size", type=at_least_one, default=32, help="questions at a time (32)")
    arguments = parser.parse_args(argv)

    from omnikit.evaluation.score import score

    numbers = score(arguments.run, arguments.recogniser, arguments.limit, arguments.batch_size)
    sys.stdout.write(f"\n{table(numbers)}\nAnswers and numbers are in {numbers['run']}/eval/.\n")
    return 0


def table(numbers: Mapping[str, object]) -> str:
    """Set a score's numbers in one table: a line for each dataset, then one for each kind of question in it."""
    rows = [("data", "rows", "exact", "with another's audio", "speech WER", "natural speech, same recogniser")]
    scores = numbers["scores"]
    assert isinstance(scores, dict), "score() gives a mapping"
    for title, found in scores.items():
        rows.append((title, str(found["rows"]), _percent(found["exact"]), _percent(found["exact_with_other_audio"]),
                     _percent(found["speech_wer"]), _percent(found["natural_wer"])))
        kinds = found["exact_by_kind"]
        rows += [(f"  {kind}", str(kinds[kind]["rows"]), _percent(kinds[kind]["exact"]), "", "", "")
                 for kind in kinds if len(kinds) > 1]
    return columns(rows)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
