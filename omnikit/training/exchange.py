"""Runs made of published checkpoints, and runs written as such. Either appears whole under its name, or not at all."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from omnikit.choices import read_mapping
from omnikit.data.text import copy_tokenizer
from omnikit.places import carried
from omnikit.plan import make
from omnikit.protocols import ImporterConfig
from omnikit.recipe import parse
from omnikit.schema import plain
from omnikit.training.checkpoint import writing
from omnikit.training.imports import held
from omnikit.training.ledger import rows_of
from omnikit.training.runs import find, load_plan
from omnikit.training.stage import run_stages


def start_run(tree: Mapping[str, object], out: Path) -> list[tuple[str, ...]]:
    """Make a run of a recipe whose stages only import; give the ledger as a table.

    The tokenizer's files go into the run, so that it does without the checkpoint from then on.

    Raises:
        OmnikitError: the recipe does not fit together, a file cannot be read, or the disk not written.
    """
    import yaml

    values = plain(tree)
    with whole(out) as partial:
        file = copy_tokenizer(values["backbone"]["tokenizer"], partial / "tokenizer")
        values["backbone"]["tokenizer"] = str((out / "tokenizer" / file).absolute())
        text = yaml.safe_dump({**values, "run": None}, sort_keys=False, allow_unicode=True)
        (partial / "config.yaml").write_text(f"# Made by omnikit import; go on with omnikit train <this folder>.\n{text}")
        plan = make(parse(carried(read_mapping(partial / "config.yaml"), partial), out.name))
        run_stages(plan, partial, text)
        return [row for stage in plan.stages for row in rows_of(partial / stage / "lock.json")]


def export(layout: type[ImporterConfig], run: str, out: Path) -> None:
    """Write a run's newest weights and its tokenizer as a published layout; raises OmnikitError as its parts do."""
    folder = find(run)
    plan = load_plan(folder)
    tensors = held(plan, folder)
    with whole(out) as partial:
        if plan.tokenizer:
            copy_tokenizer(plan.tokenizer, partial)
        layout.write(plan, tensors, partial)


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """Give a folder to fill, which gets its name when all went well."""
    partial = out.with_name(f".{out.name}.partial")
    try:
        with writing(out):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            yield partial
            partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
