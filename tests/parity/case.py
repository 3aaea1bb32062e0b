"""One golden case: what was given to the original code, what came out, how far apart ours may be.

A case is a folder with case.json and, where its kind needs them, inputs.safetensors, outputs.safetensors, outputs.json,
weights*.safetensors and tokenizer.json.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, isfinite
from pathlib import Path
from typing import Any

import torch
from parity.settings import Settings
from safetensors.torch import load_file
from torch import Tensor

from omnikit.errors import OmnikitError


class ReplayError(Exception):
    """A case is of a known kind but lacks what its kind needs; the text is one sentence."""


@dataclass(frozen=True)
class Check:
    """One output compared: the largest error and what is allowed; an output that must be equal has inf or 0."""

    output: str
    error: float
    allowed: float

    @property
    def share(self) -> float:
        """Error as a share of what is allowed; above 1 the check failed."""
        if not self.error:
            return 0.0
        return self.error / self.allowed if self.allowed and isfinite(self.error) else inf


@dataclass
class Case:
    """A golden case; the comparisons made with it collect in `checks`.

    Args:
        folder: where it lies; nothing is written there.
        scratch: an empty folder to write to.
        differences: where the original raises and ours gives a result: named, and no failure.
    """

    folder: Path
    scratch: Path
    checks: list[Check] = field(default_factory=list)
    compared: set[str] = field(default_factory=set)
    differences: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The content of case.json."""
        found: dict[str, Any] = json.loads((self.folder / "case.json").read_text(encoding="utf-8"))
        return found

    @cached_property
    def config(self) -> Settings:
        """The configuration of the original; records what is read of it."""
        return Settings(self.facts.get("config", {}))

    @cached_property
    def words(self) -> str:
        """System and module in lower case, which identify the kind."""
        return f"{self.facts.get('system', '')}: {self.facts.get('module', '')}".lower()

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """Every weight in float32, which holds the stored formats without loss."""
        files = sorted(self.folder.glob("weights*.safetensors"))
        return {name: tensor for file in files for name, tensor in _read(file).items()}

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        return _read(self.folder / "inputs.safetensors")

    @cached_property
    def outputs(self) -> dict[str, Tensor]:
        return _read(self.folder / "outputs.safetensors")

    @cached_property
    def words_out(self) -> dict[str, Any]:
        """What outputs.json holds."""
        path = self.folder / "outputs.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return found

    def limit(self, key: str, kind: str, default: float, behind: str = "") -> float:
        """Give a stated tolerance: the number behind `kind` (atol, rtol) in the text at `key`, from the word `behind` on."""
        stated = self.facts.get("tolerance", {})
        value = stated.get(key) if isinstance(stated, dict) else stated
        if isinstance(value, int | float):
            return float(value)
        text = str(value)
        found = re.search(rf"{kind}\s*=?\s*([0-9.]+(?:e[-+]?\d+)?)", text[max(text.find(behind), 0):], re.IGNORECASE)
        return float(found[1]) if found else default

    def close(self, output: str, found: Tensor, *, atol: float | Tensor = 0.0, rtol: float = 0.0,
              expected: Tensor | None = None) -> None:
        """Compare a tensor with the output of that name, if there is one: each value may be atol + rtol x it off, where atol
        may be one for each value."""
        expected = self.outputs.get(output) if expected is None else expected
        if expected is None:
            return
        self.compared.add(output)
        if found.shape != expected.shape:
            self.checks.append(Check(f"{output} has shape {list(found.shape)}, not {list(expected.shape)}", inf, 0.0))
            return
        error = (found.double() - expected.double()).abs()
        allowed = atol + rtol * expected.double().abs()
        if not error.numel():
            self.checks.append(Check(output, 0.0, rtol))
            return
        worst = int(torch.where(error == 0, 0.0, error / allowed).argmax())  # nan counts as the largest; 0 of 0 is no error
        self.checks.append(Check(output, float(error.flatten()[worst]), float(allowed.expand_as(error).flatten()[worst])))

    def equal(self, output: str, found: object, expected: object) -> None:
        """Compare what must be the same."""
        self.compared.add(output.partition(" ")[0].partition("/")[0].partition("[")[0])
        same = torch.equal(found, expected) if isinstance(found, Tensor) and isinstance(expected, Tensor) else found == expected
        self.checks.append(Check(output, 0.0 if same else inf, 0.0))

    def raises(self, output: str, attempt: Callable[[], object]) -> None:
        """Compare where the original raises: ours refuses as well, or the difference is named."""
        try:
            attempt()
        except (OmnikitError, ValueError):
            self.equal(output, True, True)
            return
        self.equal(output, True, True)
        self.differences.append(f"{output} has a result here, where the original raises")

    @property
    def left(self) -> list[str]:
        """Outputs that no check looked at."""
        return sorted({*self.outputs, *self.words_out} - self.compared)

    @property
    def worst(self) -> Check:
        """The check nearest to its limit, or farthest beyond."""
        return max(self.checks, key=lambda check: check.share)


def refuse_others(settings: Mapping[str, Any], only: Mapping[str, tuple[object, ...]]) -> None:
    """Raise ReplayError for a setting of which ours has none but the values of `only`."""
    for key, values in only.items():
        if key in settings and settings[key] not in values:
            raise ReplayError(f"its {key} is {settings[key]!r}, but what replays it has {' or '.join(map(repr, values))} alone")


def _read(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        return {}
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in load_file(file).items()}
