"""Every row of a recipe's datasets before training: what `omnikit data check` prints."""

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from omnikit.data.check import DataReport, RepeatedIds, RowProblem, check_datasets, count_by_kind, read_problems
from omnikit.data.formats import ENDINGS, recognise
from omnikit.errors import ConfigError, RunError
from omnikit.paths import recipe_files
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose
from omnikit.recipe.media import MediaLimits
from omnikit.store.files import atomic_file

SHOWN = 20  # rows of each kind; the report has all


def run(recipe: str, words: Sequence[str], report: Path | None, workers: int) -> int:
    """Check the datasets that are named, or all; gives 0, or 1 if a row is bad.

    Args:
        words: names of datasets, and overrides (those with a =).
        report: a JSON file for all problems; None for none.
        workers: other processes that read; 0 for none.
    """
    if report and (report.is_dir() or not report.parent.is_dir()):  # before the work
        why = "it is a folder" if report.is_dir() else f"there is no folder {report.parent}"
        raise RunError(f"--report is {report}, which cannot be written: {why}; choose another file.")
    if is_dataset(recipe):
        return _check_file(Path(recipe), words)
    plan = make(compose(recipe, [word for word in words if "=" in word]))
    with _bars() as advance:
        found = check_datasets(plan, [word for word in words if "=" not in word], workers=workers, advance=advance)
    _print(found, report)
    if report:
        with atomic_file(report, "--report is {}, which cannot be written: {}; choose another file.") as part:
            part.write_text(json.dumps(found.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if any(not problem.harmless for problem in found.problems) else 0


def is_dataset(name: str) -> bool:
    """Say whether a name is that of a file or folder, and not of a recipe."""
    path = Path(name)
    return path.suffix not in (".yaml", ".yml") and name not in recipe_files() and (path.exists() or path.suffix in ENDINGS)


def _check_file(path: Path, words: Sequence[str]) -> int:
    """Recognise a dataset and read all its rows; gives 0, or 1 if a row is bad."""
    if words:
        raise ConfigError(f"{path} is a dataset, which takes no {words[0]!r}; name a recipe for that.")
    found = recognise(path)
    problems, repeated = list[RowProblem](), RepeatedIds(path.name)
    with _bars() as advance:
        for index in range(len(found.rows)):
            problems += read_problems(path.name, found.rows, index, repeated, MediaLimits())
            advance(path.name, len(found.rows))
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{path} is for the reader {found.reader}: its rows hold {', '.join(found.config.provides) or 'nothing'}.")
    _print(DataReport(str(path), {path.name: len(found.rows)}, tuple(problems)), None)
    provides = shlex.quote(f"data.NAME.provides=[{','.join(found.config.provides)}]")
    console.print(Text(f"Train on it with +data/NAME={found.reader} {shlex.quote(f'data.NAME.path={path}')} {provides}"
                       " +stages.STAGE.data.NAME=1.0"))
    return 1 if problems else 0


@contextmanager
def _bars() -> Iterator[Callable[[str, int], None]]:
    """Show a bar for each dataset on a terminal; what it gives moves one on by a row."""
    console = Console(stderr=True)
    layout = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*layout, console=console, disable=not console.is_terminal, transient=True) as bar:

        def advance(dataset: str, rows: int) -> None:
            if dataset not in tasks:
                tasks[dataset] = bar.add_task(f"reading {dataset}", total=rows)
            bar.advance(tasks[dataset])

        yield advance


def _print(found: DataReport, report: Path | None) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for name, rows in found.rows.items():
        bad = found.bad_rows(name)
        console.print(Text.assemble((name, "bold"), f": {rows} rows, ", (f"{bad} bad", "bold red" if bad else "green")))
    if not found.problems:
        return
    table = Table(box=None, padding=(0, 2), pad_edge=False, header_style="dim")
    table.add_column("kind")
    table.add_column("rows", justify="right")
    for kind, count in count_by_kind(found.problems).items():
        table.add_row(kind, str(count))
    console.print(table)
    for kind, count in count_by_kind(found.problems).items():
        console.print(Text(f"\n{kind}", "bold"))
        for problem in [problem for problem in found.problems if problem.kind == kind][:SHOWN]:
            where = f"  {problem.dataset} {problem.row or problem.index}"
            console.print(Text.assemble((where, "yellow"), f"  {problem.sentence}"))
        if count > SHOWN:
            console.print(f"  … and {count - SHOWN} more{'' if report else '; --report FILE.json has them all'}")
