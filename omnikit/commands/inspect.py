"""One batch of a stage on the terminal, and as a page: what `omnikit data inspect` prints."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from omnikit.data.batch.codes import Codes
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.samplers import LengthBucketSampler, MixtureDataset, Pick
from omnikit.data.inspect import InspectedRun, Report, Shown, html, report
from omnikit.errors import ConfigError, RunError, nearest
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan, StagePlan, make
from omnikit.recipe.compose import compose
from omnikit.store import checkpoint
from omnikit.store.files import atomic_file
from omnikit.store.runs import WEIGHTS, is_done, run_folder

STYLES = {"template": "dim", "system": "magenta", "question": "blue", "answer": "green"}  # media: yellow


def look(recipe: str, overrides: list[str], name: str | None, rows: int, page: Path | None) -> int:
    """Show a batch of a stage; gives 0, or 2 if a row of it would stop training."""
    if page and (page.is_dir() or not page.parent.is_dir()):  # told before the work
        why = "it is a folder" if page.is_dir() else f"there is no folder {page.parent}"
        raise RunError(f"--html is {page}, which cannot be written: {why}; choose another file.")
    plan = make(compose(recipe, overrides))
    stage = _stage(plan, name)
    codes, notes = _codes(plan, stage)
    collator = Collator(plan, list(stage.stage.loss), codes)
    collator.wanted = tuple(branch for branch in collator.wanted if branch not in notes)  # the rest is read all the same
    readers = {dataset: plan.readers[dataset].build() for dataset in stage.datasets}
    mixture = MixtureDataset(readers, plan.image_spec)
    seed = plan.recipe.seed + list(plan.stages).index(stage.name)
    sampler = LengthBucketSampler(mixture, stage.stage.data, rows, seed, window=stage.stage.trainer.window)
    picks = max(islice(sampler, 2), key=len)  # one batch of a pass may be short
    picks = _with_each(picks, stage.datasets)
    named = ", ".join(dict.fromkeys(pick[0] for pick in picks))
    title = f"{recipe}, stage {stage.name}: {len(picks)} row{'s'[: len(picks) > 1]} of {named}"
    shown = report(title, collator, [mixture[pick] for pick in picks], list(notes.values()))
    console = Console(highlight=False, soft_wrap=False)
    for part in _printed(shown):
        console.print(part)
    if page:
        with atomic_file(page, "--html is {}, which cannot be written: {}; choose another file.") as partial:
            partial.write_text(html(shown), encoding="utf-8")
        console.print(f"The page is {page}.")
    return 2 if any(row.problem for row in shown.rows) else 0


def _with_each(picks: Sequence[Pick], datasets: Sequence[str]) -> list[Pick]:
    """Put the first row of each dataset that a batch happens to lack in the place of a row of one that it has twice."""
    found = list(picks)
    for name in datasets:
        names = [pick[0] for pick in found]
        twice = [index for index, other in enumerate(names) if names.count(other) > 1]
        if name not in names and twice:
            found[twice[-1]] = (name, 0)
    return found


def _stage(plan: Plan, name: str | None) -> StagePlan:
    stages = {key: stage for key, stage in plan.stages.items() if stage.stage.objective == "heads"}
    if name is None and stages:
        return next(iter(stages.values()))
    if name not in stages:
        what = f"has objective {plan.stages[name].stage.objective} and no batches" if name in plan.stages else "is no stage"
        raise ConfigError(f"--stage is {name}, which {what}; stages with batches: {', '.join(stages) or 'none'}."
                          f"{nearest(name or '', stages)}")
    return stages[name]


def _codes(plan: Plan, stage: StagePlan) -> tuple[dict[str, Codes], dict[str, str]]:
    """Give branch → what makes its codes, with the weights of the recipe's run; and branch → why its codes are not shown."""
    folder, found, notes = run_folder(plan.recipe), {}, {}
    for branch in stage.stage.loss:
        output = plan.outputs[branch]
        brought = all("codes" in plan.readers[dataset].provides for dataset in stage.datasets)
        if output.code_source is None or output.code_source_part is None or brought:
            continue
        origin = stage.origins.get(output.code_source_part)
        if origin and not is_done(folder, plan, origin):
            notes[branch] = (f"What {branch} learns is made by {output.code_source_part}, which stage {origin} fits; train"
                             " that stage first to see it.")
            continue
        model = OmniModel(plan, [output.code_source_part])
        if origin:
            checkpoint.load(folder / origin / WEIGHTS, model.parts())
        found[branch] = Codes(model.units(branch), output.code_source.spec.sample_rate)
    return found, notes


def _printed(shown: Report) -> Iterator[Text | Table]:
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


def _table(row: Shown) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    for name in ("positions", "origin", "learnt by", "tokens, parted by ·"):
        table.add_column(name, no_wrap=name != "tokens, parted by ·", overflow="fold")
    for run in row.runs:
        style = STYLES.get(run.origin, "yellow")
        table.add_row(run.places, Text(run.origin, style), ", ".join(run.learnt), Text(_words(run), style))
    for target in row.targets:
        table.add_row("", "", f"{target.branch} ({target.count})", Text(target.text, "cyan"))
    return table


def _words(run: InspectedRun) -> str:
    words = []
    for token in run.tokens:
        sound = f", {token.seconds:g} s" if token.seconds else ""
        sound += f", {len(token.tiles)} tiles or frames" if token.tiles else ""
        medium = f"{token.count} vectors{sound}" + (f", “{token.text}”" if token.text else "")
        words.append(medium if token.id is None else token.text.replace("\n", "⏎") or "∅")
    return "·".join(words)
