"""A run copied with everything that it needs into one folder, which works elsewhere without checkpoints and cache."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omnikit.errors import RunError
from omnikit.plan.plan import Plan
from omnikit.recipe.yaml_text import dump_yaml, parse_yaml
from omnikit.registry import conf_file
from omnikit.store import checkpoint, manifest, run_manifest
from omnikit.store.best_weights import FOLDER as BEST
from omnikit.store.facts import facts_hash, stage_facts, stage_hash
from omnikit.store.files import atomic_folder, write_json, write_text
from omnikit.store.lineage import BUNDLED, lineage, sources
from omnikit.store.load import build_model, built_tensors
from omnikit.store.runs import DONE, WEIGHTS, find, load_plan
from omnikit.store.tokenizer_files import copy_tokenizer
from omnikit.store.training_checkpoint import FOLDER as CHECKPOINTS


def bundle(run: str | Path, out: Path) -> list[str]:
    """Copy the stages that a run's weights descend from, the parts that no stage trained, the tokenizer and the recipe.

    Args:
        run: the run's folder, a link to it, or a recipe's name for its latest run.
        out: the folder to write; it must not be there yet.

    Returns:
        the parts that came from outside the run.

    Raises:
        RunError: `out` is there already, a stage is not finished, a weights file is missing or damaged, or the disk refuses.
    """
    if out.exists():
        raise RunError(f"--out is {out}, which is there already; name a folder that is not, or remove it.")
    folder = find(run)
    plan = load_plan(folder)
    origins = lineage(plan, folder)
    outside = [part for part in plan.parts() if part not in origins]
    with atomic_folder(out) as partial:
        for file in folder.iterdir():
            if file.is_file() and not file.name.startswith("."):
                shutil.copy2(file, partial / file.name)
        for name in dict.fromkeys(origins.values()):
            checkpoint.verify(folder / name / WEIGHTS)
            shutil.copytree(folder / name, partial / name, ignore=shutil.ignore_patterns(CHECKPOINTS, BEST))
            _merge(plan, folder, name, partial / name)
        model = build_model(plan, folder, origins, parts=outside)
        with_weights = {part: module for part, module in model.parts().items() if module.state_dict()}
        if with_weights:
            (partial / BUNDLED).mkdir()
            checkpoint.save(partial / BUNDLED / WEIGHTS, with_weights, {})
        _hold_tokenizer(plan, partial)
        _mark(partial, list(dict.fromkeys(origins.values())))
    return list(with_weights)


def _merge(plan: Plan, folder: Path, stage: str, copy: Path) -> None:
    """Let a copied stage hold the whole weights of parts whose adapters alone it held: what is below them may not be copied."""
    weights = checkpoint.opened(folder / stage / WEIGHTS)
    if not weights.adapters:
        return
    chains = sources(plan, folder, dict.fromkeys(weights.adapters, stage), list(weights.adapters))
    built = build_model(plan, folder, parts=[part for part, source in chains.items() if source.whole is None]).parts()
    tensors = {part: source.tensors(*built_tensors(built[part], folder) if part in built else ({}, None))
               for part, source in chains.items()}
    (copy / WEIGHTS).unlink(missing_ok=True)  # what is written may be several files beside an index
    checkpoint.save_merged(copy / WEIGHTS, weights, tensors)


def _hold_tokenizer(plan: Plan, folder: Path) -> None:
    """Copy the tokenizer, and let the recipes name the copy; one that is shipped with omnikit stays a name."""
    if plan.tokenizer is None or conf_file("tokenizer", f"{plan.tokenizer}.json"):
        return
    shutil.rmtree(folder / "tokenizer", ignore_errors=True)
    name = copy_tokenizer(plan.tokenizer, folder / "tokenizer")
    for file in folder.glob("*/config.yaml"):
        write_text(file, _renamed(file.read_text(encoding="utf-8"), plan.tokenizer, f"tokenizer/{name}"))
    before = run_manifest.read(folder)
    run_manifest.write(folder, before, replace(before, config=_renamed(before.config, plan.tokenizer, f"tokenizer/{name}")))


def _renamed(text: str, old: str, new: str) -> str:
    """Give a resolved recipe in which the tokenizer has another name, for the backbone and wherever else it is named."""
    values: dict[str, Any] = parse_yaml(text)
    if isinstance(values.get("backbone"), dict):
        values["backbone"]["tokenizer"] = new
    named = json.dumps(values).replace(json.dumps(old), json.dumps(new))
    return dump_yaml(json.loads(named))


def _mark(folder: Path, stages: Sequence[str]) -> None:
    """Let the run and each stage count as finished under the recipe that the bundle holds."""
    plan, before = load_plan(folder), run_manifest.read(folder)
    for name in stages:
        facts = stage_facts(plan, name)
        record = {**manifest.read(folder, name), "facts": facts, "hash": facts_hash(facts)}
        write_json(folder / name / manifest.NAME, record)
        write_text(folder / name / DONE, f"{facts_hash(facts)}\n")
    hashes = {name: stage_hash(plan, name) for name in stages}
    run_manifest.write(folder, before, replace(before, stages=hashes, files={}))
