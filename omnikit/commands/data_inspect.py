"""One batch of a stage on the terminal, and as a page: what `omnikit data inspect` prints."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from omnikit.data.inspect import InspectedBatch, InspectedRow, InspectedSpan, html
from omnikit.data.inspect_stage import inspect_stage
from omnikit.errors import RunError
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose
from omnikit.store.files import atomic_file

STYLES = {"template": "dim", "system": "magenta", "question": "blue", "answer": "green"}  # media: yellow


def run(recipe: str, overrides: list[str], stage: str | None, rows: int, page: Path | None) -> int:
    """Show a batch of a stage; gives 0, or 2 if a row of it would stop training."""
    if page and (page.is_dir() or not page.parent.is_dir()):  # before the work
        why = "it is a folder" if page.is_dir() else f"there is no folder {page.parent}"
        raise RunError(f"--html is {page}, which cannot be written: {why}; choose another file.")
    shown = inspect_stage(make(compose(recipe, overrides)), stage, rows)
    console = Console(highlight=False, soft_wrap=False)
    for part in _printed(shown):
        console.print(part)
    if page:
        with atomic_file(page, "--html is {}, which cannot be written: {}; choose another file.") as partial:
            partial.write_text(html(shown), encoding="utf-8")
        console.print(f"The page is {page}.")
    return 2 if any(row.problem for row in shown.rows) else 0


def _printed(shown: InspectedBatch) -> Iterator[Text | Table]:
    yield Text(shown.title, "bold")
    table = Table.grid(padding=(0, 2))
    for name, line in [*shown.heads.items(), *(("note", note) for note in shown.notes), *shown.facts.items()]:
        table.add_row(Text(name, "dim"), line)
    yield table
    for row in shown.rows:
        facts = "".join(f" · {key} {value}" for key, value in row.facts.items())
        yield Text.assemble("\n", (row.id, "bold"), (f"  {row.length} positions{facts}", "dim"))
        if row.problem:
            yield Text(row.problem, "bold red")
        if row.tokens or row.targets:
            yield _table(row)


def _table(row: InspectedRow) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    for name in ("positions", "origin", "supervised by", "tokens, separated by ·"):
        table.add_column(name, no_wrap=name != "tokens, separated by ·", overflow="fold")
    for span in row.spans:
        style = STYLES.get(span.origin, "yellow")
        table.add_row(span.positions, Text(span.origin, style), ", ".join(span.supervised_by), Text(_text(span), style))
    for target in row.targets:
        table.add_row("", "", f"{target.branch} ({target.count})", Text(target.text, "cyan"))
    return table


def _text(span: InspectedSpan) -> str:
    texts = []
    for token in span.tokens:
        size = f", {token.seconds:g} s" if token.seconds else ""
        size += f", {len(token.tiles)} tiles or frames" if token.tiles else ""
        medium = f"{token.count} embeddings{size}" + (f", “{token.text}”" if token.text else "")
        texts.append(medium if token.id is None else token.text.replace("\n", "⏎") or "∅")
    return "·".join(texts)
