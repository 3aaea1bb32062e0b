"""What a stage's `train` names, part by part: the whole part, low-rank adapters (LoRA), or some of its tensors. Uses no torch.

    train: {audio: {projector: full}, backbone: lora}
    train: {vision: {encoder: {"layers[-4:]": full}}, backbone: {lora: {rank: 64}, embed_tokens: full}}

Whether a part has what a pattern names is found when the part is built.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from omnikit.errors import nearest
from omnikit.plan.patterns import problem
from omnikit.recipe.recipe import Stage
from omnikit.recipe.schema import construct, leaves

AUTO = "auto"
WHOLE_ONLY = {"import": "takes whole parts from its source", "units": "fits a codec by the codec's own method",
              "codec": "trains every weight of a codec"}  # objective → why it trains no piece of a part
_SHAPE = "full, lora, or a mapping of lora and patterns, {lora: {rank: 16}, \"norm*\": full}; leave a frozen part out"


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters on a part's linear layers: each adds alpha / rank · B A to a frozen matrix.

    Args:
        rank: of the matrices A and B.
        alpha: what the product is scaled by, over the rank.
        dropout: probability that an input of A is dropped while training.
        targets: patterns of the layers that get an adapter; auto: the linear layers inside repeated layers, or all linear
            layers where none repeat.
        dora: learn the length of each row of the matrix too (DoRA, arXiv:2402.09353).
        rslora: scale by alpha / √rank (arXiv:2312.03732).
        load_in: holds the frozen matrices in 8 or 4 bits while training; None: in the part's own dtype.

    Source: arXiv:2106.09685.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: str | tuple[str, ...] = AUTO
    dora: bool = False
    rslora: bool = False
    load_in: Literal["8bit", "4bit"] | None = None

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank is {self.rank}, but must be at least 1")
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha is {self.alpha:g}, but must be above 0, and finite")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout:g}, but must be at least 0 and below 1")
        if self.targets != AUTO and (isinstance(self.targets, str) or not self.targets):
            raise ValueError(f"targets is {self.targets!r}, but must be {AUTO} or a list of patterns, for example [q_proj,"
                             " v_proj]")
        for pattern in self.patterns:
            if found := problem(pattern):
                raise ValueError(f"targets holds {pattern!r}, which {found}")
        if self.load_in and self.dora:
            raise ValueError("dora is true, but needs the exact matrices; leave load_in out")

    @property
    def patterns(self) -> tuple[str, ...]:
        """The layers that are named; none where they are found by themselves."""
        return () if isinstance(self.targets, str) else self.targets

    @property
    def scale(self) -> float:
        """What the product of B and A is multiplied by."""
        return self.alpha / (self.rank ** 0.5 if self.rslora else self.rank)


@dataclass(frozen=True)
class Tuning:
    """What a stage trains of a part that it does not train as a whole.

    Args:
        lora: the adapters that are trained; None for none.
        full: patterns of the tensors that are trained themselves.
    """

    lora: Lora | None = None
    full: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Give it in a few words, for tables."""
        return ", ".join((*([f"lora {self.lora.rank}"] if self.lora else []), *self.full))


def trained_parts(name: str, stage: Stage, parts: Sequence[str], errors: list[str]) -> dict[str, Tuning | None]:
    """Give part → what a stage trains of it, None for the whole; a branch alone means all of its parts. null leaves one out."""
    found: dict[str, Tuning | None] = {}
    for path, value in _by_part(stage.train, parts):
        matching = [part for part in parts if part == path or part.startswith(f"{path}.")]
        where = f"stages.{name}.train.{path}"
        before = len(errors)
        if not matching:
            errors.append(f"{where} names no part of this model.{nearest(path, parts)} Parts: {', '.join(parts)}.")
        elif value is not None:
            tuning = _tuning(where, value, errors)
            found |= dict.fromkeys(matching if len(errors) == before else [], tuning)
    pieces = [part for part, tuning in found.items() if tuning]
    if pieces and stage.objective in WHOLE_ONLY:
        errors.append(f"stages.{name}.train.{pieces[0]} names pieces of the part, but objective {stage.objective}"
                      f" {WHOLE_ONLY[stage.objective]}; write {pieces[0]}: full.")
    return found


def _by_part(values: Mapping[str, Any], parts: Sequence[str], above: str = "") -> Iterator[tuple[str, Any]]:
    """Give (path, value) for each part or branch that has a value, and for each path that leads to none."""
    for key, value in values.items():
        path = f"{above}.{key}".lstrip(".")
        if isinstance(value, Mapping) and path not in parts:
            yield from _by_part(value, parts, path)
        else:
            yield path, value


def _tuning(where: str, value: Any, errors: list[str]) -> Tuning | None:
    """Read a part's value; None for the whole part."""
    if value == "full":
        return None
    if value == "lora":
        return Tuning(Lora())
    if not isinstance(value, Mapping) or not value:
        errors.append(f"{where} is {value!r}, but must be {_SHAPE}.")
        return None
    lora = _lora(f"{where}.lora", value["lora"], errors) if value.get("lora") is not None else None
    patterns = [path for path, word in leaves({key: below for key, below in value.items() if key != "lora"})
                if word is not None and _is_pattern(where, path, word, errors)]
    if all(below is None for below in value.values()):
        errors.append(f"{where} leaves everything out, but must be {_SHAPE}.")
    return Tuning(lora, tuple(patterns))


def _lora(where: str, value: Any, errors: list[str]) -> Lora | None:
    if isinstance(value, Mapping):
        return construct(Lora, value, where, errors) or Lora()
    if value not in (True, "full"):
        errors.append(f"{where} is {value!r}, but must be a mapping, for example {{rank: 16, alpha: 32}}, or {{}}.")
    return Lora()


def _is_pattern(where: str, path: str, word: Any, errors: list[str]) -> bool:
    if word != "full":
        errors.append(f"{where}.{path} is {word!r}, but tensors of a part are trained themselves: write full; name the layers"
                      " of adapters in lora.targets.")
    elif found := problem(path):
        errors.append(f"{where}.{path} {found}.")
    return bool(word == "full")
