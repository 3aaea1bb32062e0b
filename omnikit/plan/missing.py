"""What a recipe names and this machine lacks: files of data and weights, tokenizers, packages, voices, an ASR model's run.

Looks at names alone: nothing is opened, and no torch is imported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omnikit import registry
from omnikit.contracts.optional import head_options, row_options, weight_fields
from omnikit.errors import OmnikitError, nearest
from omnikit.paths import recipe_files
from omnikit.plan.import_stages import find_importer
from omnikit.plan.plan import Plan, StagePlan
from omnikit.recipe import presets
from omnikit.recipe.schema import defaults

OPTIMIZERS = {"adamw_8bit": "torchao", "adamw_8bit_paged": "bitsandbytes"}  # optim.name → its package


@dataclass(frozen=True)
class Missing:
    """Something that is not there.

    Args:
        sentence: where it is named, and what to do.
        expected: a preset proposes this place, a finished stage needs it no more, or another machine may have the package:
            nothing is mistyped.
    """

    sentence: str
    expected: bool = False


def missing(plan: Plan, stages: Collection[str]) -> list[Missing]:
    """Give what these stages and the evaluation name and is not there, in the order of the stages.

    Args:
        stages: those that are still to be trained.
    """
    found: dict[str, Missing] = {}
    for name in stages:
        stage = plan.stages[name]
        for one in (*_packages(stage), *_weights(plan, stage), *_source(stage), *_datasets(plan, stage.datasets),
                    *_datasets(plan, stage.held_out)):
            found.setdefault(one.sentence, one)
    if stages:
        evaluated = [name for name in plan.recipe.evaluate.data.values() if name in plan.readers]
        for one in (*_tokenizers(plan), *_datasets(plan, evaluated), *_asr(plan)):
            found.setdefault(one.sentence, one)
    return list(found.values())


def _packages(stage: StagePlan) -> Iterator[Missing]:
    """Look for the packages that a stage's settings need."""
    where, settings = f"stages.{stage.name}", stage.stage
    needed = {f"{where}.trainer.logger": list(settings.trainer.logger or ())}
    needed |= {f"{where}.optim.name": [package] for name, package in OPTIMIZERS.items() if name == settings.optim.name}
    needed |= {f"{where}.train.{part}": ["peft"] for part, tuning in stage.tuning.items() if tuning.lora}
    for place, names in needed.items():
        for package in names:
            if find_spec(package) is None:
                yield Missing(f"{place} needs the package {package}, which is not installed; run `pip install {package}`, or"
                              " set it otherwise.", expected=True)


def _weights(plan: Plan, stage: StagePlan) -> Iterator[Missing]:
    """Look for the files that the stage's parts take their first weights from."""
    configs = plan.parts()
    for part in stage.used:
        fields = {} if part in stage.origins else weight_fields(configs[part])
        for name, path in fields.items():
            if not _exists(path):
                yield Missing(f"{part}.{name}: {path} does not exist; fix `{name}`.")


def _source(stage: StagePlan) -> Iterator[Missing]:
    """Look for the files that a stage imports."""
    importer = find_importer(stage.stage, f"stages.{stage.name}", []) if stage.stage.objective == "import" else None
    for name in defaults(type(importer)) if importer else ():
        value = getattr(importer, name)
        if isinstance(value, str) and name != "template" and ("/" in value or name == "folder") and not _exists(value):
            yield Missing(f"stages.{stage.name}.source.{name}: {value} does not exist; fix `{name}`, or leave the"
                          " stage as it is if it is finished.", expected=True)


def _datasets(plan: Plan, names: Collection[str]) -> Iterator[Missing]:
    """Look for the files of datasets, the package that reads them and the voices that speak them."""
    for name in dict.fromkeys(names):
        reader, options = plan.readers[name], row_options(plan.readers[name])
        for package in options.packages:
            if find_spec(package) is None:
                yield Missing(f"data.{name} needs the package {package}, which is not installed; run `pip install {package}`.",
                              expected=True)
        try:
            paths = options.paths() if options.paths else _named_paths(reader)
        except OmnikitError as error:
            yield Missing(f"data.{name}: {error}")
            continue
        for field, path in paths.items():
            if not _exists(path):
                yield Missing(f"data.{name}.{field}: {path} does not exist; fix `{field}`.",
                              path in _proposed())
        tts = getattr(reader, "tts", None)
        if isinstance(tts, str) and tts not in (known := registry.components("tts")):
            yield Missing(f"data.{name}.tts is {tts!r}, which is not an installed text-to-speech.{nearest(tts, known)}"
                          f" Installed: {', '.join(known) or 'none'}.")


def _named_paths(reader: Any) -> dict[str, str]:
    """Give the paths of a reader's fields `path` and `root`, and the file that its `split` names in a folder."""
    found = {key: value for key in ("path", "root") if isinstance(value := getattr(reader, key, None), str)}
    split = getattr(reader, "split", None)
    folder = Path(found.get("path", "")).expanduser()
    if isinstance(split, str) and "path" in found and folder.is_dir() and not any(folder.glob(f"{split}.*")):
        found["split"] = str(folder / f"{split}.*")
    return found


def _tokenizers(plan: Plan) -> Iterator[Missing]:
    """Look for the tokenizers' files; a name without a slash may be one of the hub's."""
    named = {"backbone.tokenizer": plan.tokenizer if plan.backbone else None}
    named |= {f"{name}.head.tokenizer": head_options(output.head).tokenizer for name, output in plan.outputs.items()}
    for where, reference in named.items():
        if reference and _is_path(reference) and not _exists(reference):
            yield Missing(f"{where}: {reference} does not exist; fix `tokenizer`.")


def _asr(plan: Plan) -> Iterator[Missing]:
    """Look for the recipe or the run of the ASR model."""
    name = plan.recipe.evaluate.asr
    known = recipe_files()
    if not name or name in known or (Path(name).is_file() and name.endswith((".yaml", ".yml"))):
        return
    runs = [Path(name), Path(name) / "latest", Path("runs") / name / "latest", registry.shipped_run(name)]
    if not any(folder and any(folder.glob("[!.]*/config.yaml")) for folder in runs):
        yield Missing(f"evaluate.asr is {name!r}, which is neither a recipe nor a run with a finished stage."
                      f"{nearest(name, known)} Fix it, or leave it out: the answers' speech is then not transcribed.")


def _is_path(reference: str) -> bool:
    """Say whether a tokenizer is named by a path: the hub's are named OWNER/NAME or NAME."""
    return reference.startswith(("/", "./", "../", "~")) or reference.endswith(".json") or reference.count("/") > 1


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _proposed() -> set[str]:
    """Give the paths that presets of datasets propose."""
    files = [preset.path for found in registry.presets("data").values() for preset in found]
    return {str(presets.read_mapping(file).get("path")) for file in files}
