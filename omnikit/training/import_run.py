"""Runs made of published checkpoints: a recipe whose stages only import."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from omnikit import registry
from omnikit.contracts.configs import ImporterConfig
from omnikit.errors import ConfigError, RunError
from omnikit.paths import with_run_tokenizer
from omnikit.plan.plan import make
from omnikit.recipe import presets
from omnikit.recipe.presets import read_mapping
from omnikit.recipe.recipe import parse
from omnikit.recipe.schema import construct, plain
from omnikit.recipe.yaml_text import dump_yaml
from omnikit.store.files import atomic_folder
from omnikit.store.import_report import rows_of
from omnikit.store.tokenizer_files import copy_tokenizer, load_tokenizer
from omnikit.training.stage import run_stages

STAGE = "imported"
"""The one stage of an imported run."""


def import_checkpoint(layout: str, source: Mapping[str, object], out: Path, allow: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """Make a run of a published checkpoint; give the import report as a table.

    Args:
        layout: an importer's name.
        source: its fields; relative paths are made absolute, so that the run may be used from another folder.
        allow: parts that may lack tensors, which then start fresh, or have some left over.

    Raises:
        OmnikitError: there is no such layout, a file cannot be read or does not fit, or `out` is there already.
    """
    layouts = registry.components("importer")
    if layout not in layouts:
        raise ConfigError(presets.unknown_name("layout", layout, layouts))
    if out.exists():
        raise RunError(f"--out is {out}, which is there already; name a folder that is not, or remove it.")
    cls = registry.component("importer", layout)
    source = {f.name: source[f.name] if f.metadata.get("word") else str(Path(str(source[f.name])).expanduser().absolute())
              for f in fields(cls) if source.get(f.name) is not None}  # all but words are paths
    errors: list[str] = []
    importer: ImporterConfig | None = construct(cls, source, "import", errors)
    if importer is None:
        raise ConfigError(*errors)
    stage = {"objective": "import", "source": {"use": layout, **source}, "allow": list(allow)}
    return start_run({**importer.recipe(), "stages": {STAGE: stage}}, out)


def start_run(tree: Mapping[str, object], out: Path) -> list[tuple[str, ...]]:
    """Make a run of a recipe whose stages only import; give the import report as a table.

    The tokenizer's files go into the run, so that it does without the checkpoint from then on.

    Raises:
        OmnikitError: the recipe does not fit together, a file cannot be read, or the disk not written.
    """
    values = plain(tree)
    with atomic_folder(out) as partial:
        file = copy_tokenizer(values["backbone"]["tokenizer"], partial / "tokenizer")
        values["backbone"]["tokenizer"] = str((out / "tokenizer" / file).absolute())
        text = dump_yaml({**values, "run": None})
        (partial / "config.yaml").write_text(f"# Made by omnikit import; resume with omnikit train <this folder>.\n{text}")
        plan = make(parse(with_run_tokenizer(read_mapping(partial / "config.yaml"), partial), out.name))
        if plan.tokenizer and not file:  # a tokenizer of another package is loaded before the weights are
            load_tokenizer(plan.tokenizer)
        run_stages(plan, partial, text)
        return [row for stage in plan.stages for row in rows_of(partial / stage / "manifest.json")]
