"""Every row of a recipe's datasets before training: what `omnikit data check` prints."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from omnikit.data.check import Checker, Problem, counts
from omnikit.errors import ConfigError, OmnikitError, RunError, nearest
from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose
from omnikit.store.files import atomic_file

SHOWN = 20  # rows of each kind; the report has all


def check(recipe: str, words: Sequence[str], report: Path | None, workers: int) -> int:
    """Check the datasets that are named, or all; gives 0, or 1 if a row is bad.

    Args:
        words: names of datasets, and overrides (those with a =).
        report: a JSON file for all problems; None for none.
        workers: other processes that read; 0 for none.
    """
    if report and (report.is_dir() or not report.parent.is_dir()):  # told before the work
        why = "it is a folder" if report.is_dir() else f"there is no folder {report.parent}"
        raise RunError(f"--report is {report}, which cannot be written: {why}; choose another file.")
    plan = make(compose(recipe, [word for word in words if "=" in word]))
    names = [word for word in words if "=" not in word] or list(plan.readers)
    for name in names:
        if name not in plan.readers:
            raise ConfigError(f"{name!r} is no dataset of {recipe}.{nearest(name, plan.readers)} It has:"
                              f" {', '.join(plan.readers) or 'none'}.")
    sizes: dict[str, int] = {}
    found = [problem for name in names for problem in _checked(plan, name, sizes, workers)]
    _print(sizes, found, report)
    if report:
        _write(report, recipe, sizes, found)
    return 1 if found else 0


def _checked(plan: Plan, name: str, sizes: dict[str, int], workers: int) -> list[Problem]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    try:
        reader = plan.readers[name].build()
    except OmnikitError as error:
        sizes[name] = 0
        return [Problem(name, "", 0, "no dataset", str(error))]
    sizes[name] = len(reader)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"reading {name}", total=len(reader))
        return list(Checker(plan, name, reader).problems(lambda: bar.advance(task), workers))


def _print(sizes: dict[str, int], found: Sequence[Problem], report: Path | None) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for name, rows in sizes.items():
        bad = len({problem.index for problem in found if problem.dataset == name})
        console.print(Text.assemble((name, "bold"), f": {rows} rows, ", (f"{bad} bad", "bold red" if bad else "green")))
    if not found:
        return
    table = Table(box=None, padding=(0, 2), pad_edge=False, header_style="dim")
    table.add_column("kind")
    table.add_column("rows", justify="right")
    for kind, count in counts(found).items():
        table.add_row(kind, str(count))
    console.print(table)
    for kind, count in counts(found).items():
        console.print(Text(f"\n{kind}", "bold"))
        for problem in [problem for problem in found if problem.kind == kind][:SHOWN]:
            where = f"  {problem.dataset} {problem.row or problem.index}"
            console.print(Text.assemble((where, "yellow"), f"  {problem.sentence}"))
        if count > SHOWN:
            console.print(f"  … and {count - SHOWN} more{'' if report else '; --report FILE.json has them all'}")


def _write(path: Path, recipe: str, sizes: dict[str, int], found: Sequence[Problem]) -> None:
    datasets = {name: {"rows": rows, "bad": len({p.index for p in found if p.dataset == name})} for name, rows in sizes.items()}
    values = {"recipe": recipe, "datasets": datasets, "kinds": counts(found), "problems": [vars(p) for p in found]}
    with atomic_file(path, "--report is {}, which cannot be written: {}; choose another file.") as part:
        part.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
