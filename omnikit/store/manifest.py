"""manifest.json: what a stage was made of, so that it can be made again or its difference be named."""

import hashlib
import os
import platform
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

import torch

from omnikit.contracts.codes import to_file
from omnikit.contracts.configs import ReaderConfig
from omnikit.contracts.optional import weight_files
from omnikit.contracts.protocols import Reader
from omnikit.contracts.types import ContentPart
from omnikit.errors import OmnikitError
from omnikit.plan.plan import Plan, StagePlan
from omnikit.recipe.schema import plain
from omnikit.store.checkpoint import hashes
from omnikit.store.facts import Difference, facts_hash, stage_facts
from omnikit.store.files import write_json
from omnikit.store.runs import WEIGHTS
from omnikit.store.stage_record import NAME, read

__all__ = ["NAME", "data_fingerprint", "fingerprint_now", "hardware", "input_changes", "part_files", "read", "recorded",
           "versions", "write"]

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
            digest.update(repr((part.type, part.text, None if part.codes is None else tuple(to_file(part.codes)))).encode())
            digest.update(_media(part))
    return digest.hexdigest()[:16]


def fingerprint_now(reader: ReaderConfig) -> str | None:
    """Give the fingerprint of a dataset as it lies there now; None if it cannot be opened, so that nothing could be trained."""
    try:
        built = reader.build()
    except OmnikitError:
        return None
    return data_fingerprint(built)


def part_files(plan: Plan, stage: StagePlan) -> list[Path]:
    """Give the files that a stage's parts take their first weights from; earlier stages' are not among them."""
    configs = plan.parts()
    named = [Path(path) for part in stage.used if part not in stage.origins for path in weight_files(configs[part])]
    return sorted({file for path in named for file in (path, *path.rglob("*")) if file.is_file()})


def recorded(stage: StagePlan, folder: Path, found: dict[str, str]) -> dict[str, str]:
    """Give part → hash as it is recorded: of a backbone whose table alone was used that of the whole, as its stage wrote it."""
    if not stage.table:
        return found
    others, origin = {part: digest for part, digest in found.items() if part != "backbone"}, stage.origins.get("backbone")
    if origin is None:
        return others | {"backbone.table": found["backbone"]}
    return others | {"backbone": hashes(folder / origin / WEIGHTS)[0]["backbone"]}


def input_changes(folder: Path, stage: StagePlan, files: Mapping[str, str],
                  data_now: Callable[[str], str | None]) -> list[Difference]:
    """Give what a finished stage was made of and is otherwise now: data, files with weights, weights of earlier stages.

    Files that are gone change nothing: what was made of them is there.

    Args:
        files: path → hash of the files that are there now.
        data_now: gives a dataset's fingerprint, or None where it cannot be opened.

    Raises:
        RunError: the stage's manifest is damaged.
    """
    record = read(folder, stage.name)
    found = [Difference(f"the file {path} with hash", record["files"][path], digest) for path, digest in files.items()
             if record["files"].get(path, digest) != digest]
    for part, origin in stage.origins.items():
        before, now = record["weights_before"].get(part), hashes(folder / origin / WEIGHTS)[0].get(part)
        found += [Difference(f"{part} of stage {origin} with hash", before, now, origin)] if before != now else []
    for name in stage.datasets:
        before, now = record["data"].get(name), data_now(name)
        found += [Difference(f"data.{name} with content of fingerprint", before, now)] if now not in (None, before) else []
    return found


def _media(part: ContentPart) -> bytes:
    """Give the samples of a part that holds them, the size of the file of one that names it."""
    if part.audio is not None:
        return part.audio.tobytes()
    if part.data is not None:
        return str(len(part.data)).encode()
    if part.path is None:
        return b""
    path = Path(part.path)
    return str(path.stat().st_size if path.is_file() else None).encode()


def write(path: Path, plan: Plan, name: str, facts: Mapping[str, object]) -> None:
    """Write a stage's record: what decided its weights, the resolved recipe, versions, hardware, command, and `facts`."""
    decided = stage_facts(plan, name)
    write_json(path, {
        "recipe": plan.recipe.name, "fingerprint": plan.recipe.fingerprint(), "stage": name, "seed": plan.recipe.seed,
        "trained": plan.stages[name].trained,
        "hash": facts_hash(decided), "finished": datetime.now().astimezone().isoformat(" "), "command": sys.argv,
        "versions": versions(), "hardware": hardware(), **facts, "facts": decided, "resolved": plain(plan.recipe)})
