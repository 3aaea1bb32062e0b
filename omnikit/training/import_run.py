"""Runs made of published checkpoints: a recipe whose stages only import."""

from collections.abc import Mapping
from pathlib import Path

from omnikit.paths import with_run_tokenizer
from omnikit.plan.plan import make
from omnikit.recipe.presets import read_mapping
from omnikit.recipe.recipe import parse
from omnikit.recipe.schema import plain
from omnikit.store.files import atomic_folder
from omnikit.store.import_report import rows_of
from omnikit.store.tokenizer_files import copy_tokenizer
from omnikit.training.stage import run_stages


def start_run(tree: Mapping[str, object], out: Path) -> list[tuple[str, ...]]:
    """Make a run of a recipe whose stages only import; give the ledger as a table.

    The tokenizer's files go into the run, so that it does without the checkpoint from then on.

    Raises:
        OmnikitError: the recipe does not fit together, a file cannot be read, or the disk not written.
    """
    import yaml

    values = plain(tree)
    with atomic_folder(out) as partial:
        file = copy_tokenizer(values["backbone"]["tokenizer"], partial / "tokenizer")
        values["backbone"]["tokenizer"] = str((out / "tokenizer" / file).absolute())
        text = yaml.safe_dump({**values, "run": None}, sort_keys=False, allow_unicode=True)
        (partial / "config.yaml").write_text(f"# Made by omnikit import; go on with omnikit train <this folder>.\n{text}")
        plan = make(parse(with_run_tokenizer(read_mapping(partial / "config.yaml"), partial), out.name))
        run_stages(plan, partial, text)
        return [row for stage in plan.stages for row in rows_of(partial / stage / "manifest.json")]
