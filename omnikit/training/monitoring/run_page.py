"""run.html: the curves of a run's stages on one page that needs no other file. Imports no torch."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from omnikit.errors import RunError
from omnikit.plan.plan import Plan
from omnikit.progress import duration
from omnikit.store.files import write_text
from omnikit.store.stage_folder import partial_folder
from omnikit.store.stage_record import record
from omnikit.training.monitoring.charts import ALL, Series, line_chart, short

PAGE, METRICS, VALIDATION = "run.html", "metrics.csv", "validation.csv"
PANELS = (  # title, beginnings of the columns that it shows
    ("losses", ("loss.",)), ("learning rates", ("lr.",)), ("gradient norms before clipping", ("grad_norm",)),
    ("tokens per second", ("tokens_per_second",)), ("padding, of all positions", ("padding",)),
    ("tokens between two rows", ("tokens.",)), ("waiting for data, seconds between two rows", ("data_seconds",)),
    ("peak memory, GiB", ("memory_gib",)), ("model FLOP utilisation", ("flops_utilisation",)),
)


@dataclass(frozen=True)
class StageCurves:
    """What the page shows of a stage.

    Args:
        state: finished, unfinished, or not begun.
        facts: words and values.
        charts: title → SVG.
    """

    stage: str
    state: str
    trained: str
    facts: tuple[tuple[str, str], ...]
    charts: dict[str, str]


def write_page(plan: Plan, folder: Path) -> None:
    """Write run.html into a run's folder, unless it holds that already."""
    text, path = page(plan, folder), folder / PAGE
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def page(plan: Plan, folder: Path) -> str:
    """Give the page."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["svg"] = Markup
    template = files("omnikit.training.monitoring").joinpath("run.html.jinja").read_text(encoding="utf-8")
    stages = [curves(plan, folder, name) for name in plan.stages]
    return environment.from_string(template).render(recipe=plan.recipe.name, fingerprint=plan.recipe.fingerprint(),
                                                    folder=folder.name, stages=stages)


def curves(plan: Plan, folder: Path, name: str) -> StageCurves:
    """Give what the page shows of a stage, finished or not."""
    stage, finished = plan.stages[name], (folder / name / "done").is_file()
    place = folder / name if finished else partial_folder(folder, name)
    state = "finished" if finished else "unfinished" if place.is_dir() else "not begun"
    rows = _rows(place / METRICS)
    charts = {title: svg for title, starts in PANELS if (svg := line_chart(_chosen(rows, starts), f"{name}: {title}"))}
    if validation := line_chart(_chosen(_rows(place / VALIDATION), ("loss.",)), f"{name}: validation losses"):
        charts["validation losses"] = validation
    return StageCurves(name, state, ", ".join(stage.trained), tuple(_facts(folder, name) if finished else ()), charts)


def _facts(folder: Path, name: str) -> Iterable[tuple[str, str]]:
    try:
        found = record(folder, name)
    except RunError:
        return
    if found.steps:
        yield "steps", str(found.steps)
    yield "time", duration(found.seconds)
    yield "finished", found.finished[:16]
    yield from ((word, short(value)) for word, value in found.numbers.items())


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):  # damaged: the page goes without
        return []


def _chosen(rows: Sequence[Mapping[str, str]], starts: tuple[str, ...]) -> dict[str, Series]:
    """Give column → its values over steps; of `lr.` and `grad_norm` as of losses, without what all names share."""
    columns = [column for column in (rows[0] if rows else ()) if column.startswith(starts)]
    found = {column.partition(".")[2] or ALL: [(float(row["step"]), float(row[column])) for row in rows if row[column]]
             for column in columns}
    return {name: series for name, series in found.items() if series}
