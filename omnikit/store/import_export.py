"""Runs made of published checkpoints, and runs written as such. Either appears whole under its name, or not at all."""

from pathlib import Path

from omnikit.contracts.configs import ImporterConfig
from omnikit.plan.plan import make
from omnikit.recipe.recipe import parse
from omnikit.store.files import atomic_folder
from omnikit.store.imports import held
from omnikit.store.runs import find, load_plan
from omnikit.store.tokenizer_files import copy_tokenizer


def export(layout: type[ImporterConfig], run: str, out: Path) -> None:
    """Write the weights of a run's last stage and its tokenizer as a published layout; raises OmnikitError as its parts do."""
    folder = find(run)
    plan = load_plan(folder)
    tensors = held(plan, folder)
    with atomic_folder(out) as partial:
        if plan.tokenizer:
            copy_tokenizer(plan.tokenizer, partial)
        layout.write(plan.description(), tensors, partial, lambda values: make(parse(values, "read back")).description())
