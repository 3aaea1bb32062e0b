"""`omnikit compare RUN RUN …`: runs beside each other: their scores on the same rows, and what they were made of otherwise."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omnikit.commands.arguments import Parser, names
from omnikit.text_table import columns

if TYPE_CHECKING:
    from omnikit.evaluation.comparison import DatasetComparison, RunsComparison

EXAMPLE = "example: omnikit compare runs/omni/seed0 runs/omni/seed1 --html compared.html"
WIDTH = 36  # characters of a value that are shown


def run(argv: list[str]) -> int:
    """Compare the reports of runs that omnikit eval scored."""
    parser = Parser("omnikit compare", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run's folder, a recipe's name, or the folder of a report"
                        " (RUN/eval_after_STAGE); differences are from the first")
    parser.add_argument("--data", type=names, default=(), help="only these titles (images,videos)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page, too")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_intermixed_args(argv)

    from omnikit.evaluation.comparison import compare_runs, open_runs
    from omnikit.evaluation.comparison_page import as_html, as_json
    from omnikit.evaluation.records import write
    from omnikit.evaluation.run_differences import run_differences
    from omnikit.store.diff import open_side

    found = compare_runs(open_runs(arguments.runs), arguments.data)
    sides = [open_side(str(run.folder)) for run in found.runs if run.folder]
    differences = run_differences(sides) if len(sides) == len(found.runs) else {}
    if arguments.html:
        write(arguments.html, as_html(found, differences))
    if arguments.json:
        sys.stdout.write(json.dumps(as_json(found, differences), indent=1, default=str) + "\n")
    else:
        sys.stdout.write(table(found, differences))
        if arguments.html:
            sys.stdout.write(f"\nThe page is {arguments.html}.\n")
    return 0


def table(found: "RunsComparison", differences: Mapping[str, Sequence[object]]) -> str:
    """Format a comparison: a table for each dataset, then what differs."""
    from omnikit.evaluation.comparison_page import labels
    from omnikit.evaluation.report import formatted, title_of

    heads = labels(found.runs)
    named = [(name, run.label) for name, run in zip(heads, found.runs, strict=True) if name != run.label]
    text = (f"\n{columns(named)}" if named else "") + "".join(_dataset(one, heads) for one in found.datasets)
    times = [(f"{title_of(name)}, {'offline' if setting == 'offline' else f'Ω {setting}'}",
              *(formatted(one, "" if name == "real_time_factor" else "ms") for one in values))
             for (setting, name), values in found.latency.items()]
    text += f"\n{columns([('latency (median)', *heads), *times])}" if times else ""
    for title, lines in (("evaluated otherwise", found.conditions), ("made of", differences)):
        rows = [(place, *map(_cut, values)) for place, values in lines.items()]
        text += f"\n{columns([(title, *heads), *rows])}" if rows else f"\n  {title}: nothing differs\n"
    return text


def _dataset(one: "DatasetComparison", heads: Sequence[str]) -> str:
    from omnikit.evaluation.comparison_page import HEADINGS, points, points_interval
    from omnikit.evaluation.report import formatted

    if one.note:
        return f"\n  {one.title}: not compared, because {one.note}.\n"
    others = [(name, "difference") for name in heads[1:]]
    lines = [(one.title, heads[0], *(word for pair in others for word in pair))]
    for line in one.lines:
        cells = [(formatted(value, "%"), f"{points(change)} {points_interval(change)}")
                 for value, change in zip(line.values, line.differences, strict=True)]
        lines.append((HEADINGS[line.metric], cells[0][0], *(word for pair in cells[1:] for word in pair)))
    left = f", {one.left_out} left out that not all runs answered" if one.left_out else ""
    counts = "".join(f"  Exact in {heads[0]} alone {some.only_first}, in {name} alone {some.only_other}.\n"
                     for name, some in zip(heads, one.exact, strict=True) if some)
    return f"\n{columns(lines)}  {one.rows} rows{left}; differences in points, with 95 % intervals.\n{counts}"


def _cut(value: object) -> str:
    text = "–" if value is None else str(value).replace("\n", "\\n")
    return text if len(text) <= WIDTH else f"{text[:WIDTH - 1]}…"
