"""manifest.json of a run: its recipe, its newest configuration, and which stages are finished, in their order.

What is newest is written here; no time of a file decides it, so that a copied or touched run is the same run.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from omnikit.errors import RunError
from omnikit.plan.plan import Plan
from omnikit.store.files import read_json, write_json, write_text

NAME, CONFIG = "manifest.json", "config.yaml"


@dataclass(frozen=True)
class RunManifest:
    """What a run records of itself.

    Args:
        config: the resolved configuration as YAML, of the last training; config.yaml holds the same for people.
        order: the recipe's stages.
        stages: finished stage → hash of what decided its weights.
        retraining: stage → identity of the old one that an unfinished `--retrain` replaces.
        files: path → [size, time, inode, hash] of the files that stages took weights from.
    """

    recipe: str
    config: str = ""
    order: tuple[str, ...] = ()
    stages: dict[str, str] = field(default_factory=dict)
    retraining: dict[str, str] = field(default_factory=dict)
    files: dict[str, list[object]] = field(default_factory=dict)


def read(folder: Path) -> RunManifest:
    """Give a run's manifest.

    Raises:
        RunError: it is missing, cannot be read, or holds something else.
    """
    path = folder / NAME
    advice = f"write it again with omnikit train RECIPE run={folder}"
    found = read_json(path, advice)
    kinds = {"recipe": str, "config": str, "order": list, "stages": dict, "retraining": dict, "files": dict}
    for key, kind in kinds.items():
        if not isinstance(found.get(key), kind):
            raise RunError(f"{path} has {key} {str(found.get(key))[:40]!r}, but it must be a {kind.__name__}; {advice}.")
    return RunManifest(**{key: found[key] for key in kinds} | {"order": tuple(map(str, found["order"]))})


def read_or_new(folder: Path, plan: Plan) -> RunManifest:
    """Give a run's manifest; an empty one where there is none, or a damaged one, which training writes again."""
    try:
        return read(folder)
    except RunError:
        return RunManifest(plan.recipe.name)


def write(folder: Path, before: RunManifest, now: RunManifest) -> RunManifest:
    """Write config.yaml and then the manifest that records it, unless they hold that already; gives the new one.

    Raises:
        RunError: the disk refuses.
    """
    config = folder / CONFIG
    if not config.is_file() or config.read_bytes() != now.config.encode():
        write_text(config, now.config)
    if now != before or not (folder / NAME).is_file():
        write_json(folder / NAME, asdict(now))
    return now
