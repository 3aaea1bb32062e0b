"""`omnikit check-head RUN`: send held-out speech through codec and vocoder alone, and transcribe the result with the ASR model.

No head is expected to have fewer word errors: check them before the head is trained.
"""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from omnikit.commands.arguments import Parser, at_least_one, names
from omnikit.text_table import columns

if TYPE_CHECKING:
    from omnikit.evaluation.estimates import Estimate
    from omnikit.evaluation.resynthesis import Resynthesis

EXAMPLE = "example: omnikit check-head vita_1_5/tiny --asr asr/tiny --limit 50"


def run(argv: list[str]) -> int:
    """Print a line for each dataset that the recipe is scored on."""
    parser = Parser("omnikit check-head", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("run", help="a run's folder, a link to one, or a recipe's name; its codec's stages must be finished")
    parser.add_argument("--asr", help="run of the ASR model that transcribes the speech; by default the recipe's")
    parser.add_argument("--limit", type=at_least_one, default=100, help="use at most so many rows of each dataset (100)")
    parser.add_argument("--data", type=names, default=(),
                        help="datasets of the recipe (sentences_test,seen_speakers); by default those it is"
                        " scored on")
    arguments = parser.parse_args(argv)

    from omnikit.evaluation.resynthesis import resynthesise

    sys.stdout.write(table(resynthesise(arguments.run, arguments.asr, arguments.limit, arguments.data)))
    return 0


def table(found: Mapping[str, "Resynthesis"]) -> str:
    """Format the result of each dataset as a line."""
    rows = [("data", "rows", "ground-truth WER", "codec WER", "codec CER", "mel distance", "STOI", "codebook utilisation",
             "perplexity",
             "head WER", "shuffled")]
    rows += [(title, str(one.rows), _percent(one.ground_truth_wer), _percent(one.codec_wer), _percent(one.codec_cer),
              _number(one.mel_distance), _number(one.stoi), f"{one.codebook_utilisation:.0%}", f"{one.perplexity:.1f}",
              _percent(one.head_wer), _percent(one.shuffled_wer))
             for title, one in found.items()]
    return columns(rows)


def _percent(number: "Estimate | None") -> str:
    return "-" if number is None else f"{100 * number.value:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
