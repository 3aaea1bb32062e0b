"""manifest.json: what a stage was made of, so that it can be made again or its difference be named."""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

import torch

from omnikit.contracts.configs import ReaderConfig
from omnikit.contracts.optional import weight_files
from omnikit.contracts.protocols import Reader
from omnikit.contracts.types import ContentPart
from omnikit.errors import OmnikitError
from omnikit.plan.plan import Plan, StagePlan
from omnikit.recipe.schema import plain
from omnikit.store.checkpoint import hashes
from omnikit.store.files import disk_errors
from omnikit.store.runs import WEIGHTS

PACKAGES = ("hydra-core", "numpy", "pytorch-lightning", "safetensors", "tokenizers", "torch", "torchaudio", "transformers")
PROBES = 256  # rows of a dataset whose content goes into its fingerprint


@cache  # reads the metadata of every package
def versions() -> dict[str, str]:
    """Give name → version of omnikit, its plugins and what they stand on."""
    found = {dist.name: dist.version for dist in distributions() if dist.name}
    return {name: found[name] for name in sorted(found) if name.lower().startswith("omnikit") or name.lower() in PACKAGES}


def hardware() -> dict[str, str | int]:
    """Give what the stage ran on."""
    facts: dict[str, str | int] = {
        "machine": platform.machine(), "system": platform.system(), "python": platform.python_version(),
        "cores": os.cpu_count() or 0, "threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        facts |= {"gpu": torch.cuda.get_device_name(), "gpus": torch.cuda.device_count()}
    return facts


def data_fingerprint(reader: Reader) -> str:
    """Give 16 hex digits over a dataset's length and the words and media (of files their size) of rows spread over it."""
    digest = hashlib.sha256(str(len(reader)).encode())
    for index in range(0, len(reader), max(1, len(reader) // PROBES)):
        sample = reader[index]
        digest.update(sample.id.encode())
        for part in (part for message in sample.messages for part in message.content):
            digest.update(repr((part.type, part.text, part.codes)).encode())
            digest.update(_media(part))
    return digest.hexdigest()[:16]


def fingerprint_now(reader: ReaderConfig) -> str | None:
    """Give the fingerprint of a dataset as it lies there now; None if it cannot be opened, so that nothing could be trained."""
    try:
        built = reader.build()
    except OmnikitError:
        return None
    return data_fingerprint(built)


def part_files(plan: Plan, stage: StagePlan) -> dict[str, list[int]]:
    """Give path → size and time of the files that a stage's parts take their first weights from; earlier stages' are not."""
    configs = plan.parts()
    named = [Path(path) for part in stage.used if part not in stage.origins for path in weight_files(configs[part])]
    files = {file for path in named for file in (path, *path.rglob("*")) if file.is_file()}
    return {str(file): [file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(files)}


def recorded(stage: StagePlan, folder: Path, found: dict[str, str]) -> dict[str, str]:
    """Give part → hash as it is kept: of a backbone whose table alone was used that of the whole, as its stage wrote it."""
    if not stage.table:
        return found
    kept, origin = {part: digest for part, digest in found.items() if part != "backbone"}, stage.origins.get("backbone")
    if origin is None:
        return kept | {"backbone.table": found["backbone"]}
    return kept | {"backbone": hashes(folder / origin / WEIGHTS)[0]["backbone"]}


def is_stale(folder: Path, plan: Plan, stage: StagePlan, data_now: Callable[[str], str | None]) -> bool:
    """Say whether a finished stage was made of other data, or of other weights of files or of earlier stages, than lie there.

    Files that are gone change nothing: what was made of them is there.
    """
    try:
        record = json.loads((folder / stage.name / "manifest.json").read_text())
        data, before, files = dict(record["data"]), dict(record["weights_before"]), dict(record.get("part_files", {}))
    except (OSError, ValueError, KeyError, TypeError):
        return True
    now = part_files(plan, stage) if files else {}
    if any(now[path] != files[path] for path in now.keys() & files.keys()):
        return True
    for part, origin in stage.origins.items():
        if before.get(part) != hashes(folder / origin / WEIGHTS)[0].get(part):
            return True
    return any(data_now(name) not in (None, data.get(name)) for name in stage.datasets)


def _media(part: ContentPart) -> bytes:
    """Give the samples of a part that holds them, the size of the file of one that names it."""
    if part.audio is not None:
        return part.audio.tobytes()
    if part.path is None:
        return b""
    path = Path(part.path)
    return str(path.stat().st_size if path.is_file() else None).encode()


def write(path: Path, plan: Plan, facts: dict[str, object]) -> None:
    """Write a stage's lock: the resolved recipe, versions, hardware, command, and `facts` of the stage."""
    record = {"recipe": plan.recipe.name, "fingerprint": plan.recipe.fingerprint(), "seed": plan.recipe.seed,
              "command": sys.argv, "versions": versions(), "hardware": hardware(), **facts, "resolved": plain(plan.recipe)}
    with disk_errors(path):
        path.write_text(json.dumps(record, indent=1, default=str) + "\n")
