"""Run folders: where a recipe's stages lie, which of them are done.

runs/<recipe>/<fingerprint>/<stage>/{config.yaml, manifest.json, weights.safetensors, metrics.csv, done}, beside them
config.yaml of the last training that came to its end; runs/<recipe>/latest links to the newest finished run. Knows no weights.
"""

import hashlib
import json
from dataclasses import is_dataclass
from pathlib import Path

from omnikit.contracts.specs import later_defaults
from omnikit.errors import RunError
from omnikit.paths import with_run_tokenizer
from omnikit.plan.plan import Plan
from omnikit.recipe.recipe import Recipe, training_settings
from omnikit.recipe.schema import plain
from omnikit.store.tokenizer_files import FILES

RUNS = Path("runs")
WEIGHTS = "weights.safetensors"


def run_folder(recipe: Recipe) -> Path:
    """Give the folder that a recipe's run lies in."""
    return Path(recipe.run) if recipe.run else RUNS / recipe.name / recipe.fingerprint()


def find(run: str | Path) -> Path:
    """Find a run given as a folder, a link to one, or a recipe's name (its latest run).

    Raises:
        RunError: there is no such run, or it has no finished stage.
    """
    for folder in (Path(run), Path(run) / "latest", RUNS / run / "latest"):
        if any(folder.glob("[!.]*/config.yaml")):
            return folder.resolve()
    raise RunError(f"{run} is no run: neither a folder with finished stages nor a recipe with a latest run in {RUNS}/;"
                   f" train first with omnikit train {run}.")


def link_latest(folder: Path) -> None:
    """Let `latest` beside a run's folder point at it, by a relative link."""
    link, partial = folder.parent / "latest", folder.parent / ".latest.partial"
    partial.unlink(missing_ok=True)
    partial.symlink_to(folder.name)
    partial.replace(link)


def stage_hash(plan: Plan, name: str) -> str:
    """Give 16 hex digits over what decides a stage's weights: its parts, codes, data, settings, place, seed, parents."""
    stage, configs = plan.stages[name], plan.parts()
    parents = {origin: stage_hash(plan, origin) for origin in sorted(set(stage.origins.values()))}
    codes = {name: plain(output.codes) for name, output in plan.outputs.items() if f"{name}.head" in stage.used}
    facts = [{path: _facts(configs[path]) for path in stage.used}, {d: _facts(plan.readers[d]) for d in stage.datasets},
             _settings(plan.template), _content(plan.tokenizer), training_settings(stage.stage), plan.recipe.seed,
             list(plan.stages).index(name), stage.origins, parents, codes]
    said = {name: _facts(output.normaliser) for name, output in plan.outputs.items()
            if output.normaliser and f"{name}.head" in stage.used}
    facts += [said] if said else []
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _facts(config: object) -> list[object]:
    """Give a component's class and fields."""
    return [f"{type(config).__module__}.{type(config).__qualname__}", _settings(config)]


def _settings(config: object) -> object:
    """Give a dataclass's fields, without those that came later and stand at their default: older runs stay finished."""
    if not is_dataclass(config):
        return plain(config)
    later = later_defaults(config)
    kept = {name: value for name, value in plain(config).items() if name not in later}
    return {**kept, "tokenizer": _content(kept["tokenizer"])} if "tokenizer" in kept else kept


def _content(tokenizer: str | None) -> str | None:
    """Give a tokenizer as it counts: files by what they hold, wherever they lie; a name as it is."""
    path = Path(tokenizer or "")
    files = [path] if path.is_file() else [path / name for name in FILES if (path / name).is_file()] if tokenizer else []
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    return digest if files else tokenizer


def is_done(folder: Path, plan: Plan, name: str) -> bool:
    """Say whether a stage lies finished in a run folder, trained as the plan says."""
    mark = folder / name / "done"
    return mark.is_file() and mark.read_text().strip() == stage_hash(plan, name)


def load_plan(folder: Path) -> Plan:
    """Give the plan of a run folder, as the last training recorded it, or the last stage where that one did not end.

    Raises:
        OmnikitError: the record is missing, cannot be read, or names what is no longer installed.
    """
    from omnikit.plan.plan import make
    from omnikit.recipe.presets import read_mapping
    from omnikit.recipe.recipe import parse

    files = sorted(folder.glob("[!.]*/config.yaml"), key=lambda path: path.stat().st_mtime)
    if not files:
        raise RunError(f"{folder} holds no finished stage; train it first.")
    try:
        name = str(json.loads((files[-1].parent / "manifest.json").read_text())["recipe"])
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{files[-1].parent / 'manifest.json'} cannot be read ({error}); train the stage again.") from error
    whole = folder / "config.yaml"  # may differ from the stages' in what only answers and scores read
    last = whole if whole.is_file() and whole.stat().st_mtime >= files[-1].stat().st_mtime else files[-1]
    return make(parse(with_run_tokenizer(read_mapping(last), folder), name))
