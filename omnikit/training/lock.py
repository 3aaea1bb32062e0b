"""lock.json: what a stage was made of, so that it can be made again or its difference be named."""

import hashlib
import json
import os
import platform
import sys
from importlib.metadata import distributions
from pathlib import Path

import torch

from omnikit.data.collate import questions
from omnikit.plan import Plan
from omnikit.protocols import Reader
from omnikit.schema import plain
from omnikit.training.checkpoint import writing

PACKAGES = ("hydra-core", "numpy", "pytorch-lightning", "safetensors", "tokenizers", "torch", "torchaudio", "transformers")
PROBES = 16  # rows of a dataset whose content goes into its fingerprint


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
    """Give 16 hex digits over a dataset's length and the words and media sizes of rows spread over it."""
    digest = hashlib.sha256(str(len(reader)).encode())
    for index in range(0, len(reader), max(1, len(reader) // PROBES)):
        sample = reader[index]
        digest.update(sample.id.encode())
        for part in (part for message in sample.messages for part in message.content):
            digest.update(repr((part.type, part.text, part.codes)).encode())
        for part in questions(sample):
            digest.update(part.audio.tobytes() if part.audio is not None else b"")
    return digest.hexdigest()[:16]


def write(path: Path, plan: Plan, facts: dict[str, object]) -> None:
    """Write a stage's lock: the resolved recipe, versions, hardware, command, and `facts` of the stage."""
    record = {"recipe": plan.recipe.name, "fingerprint": plan.recipe.fingerprint(), "seed": plan.recipe.seed,
              "command": sys.argv, "versions": versions(), "hardware": hardware(), **facts, "resolved": plain(plan.recipe)}
    with writing(path):
        path.write_text(json.dumps(record, indent=1, default=str) + "\n")
