"""Two recipes or runs compared: what changed, and which weights of the first stay valid for the second. Imports no torch.

A stage's weights are invalid where what decides them changed, and suspect where only a stage that they start from did. A part
of an input branch decides nothing where no dataset of the stage holds its media.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from omnikit.errors import ConfigError
from omnikit.plan.plan import Plan, make
from omnikit.plan.reach import unreached
from omnikit.recipe.compose import compose
from omnikit.recipe.run_recipe import is_run_config
from omnikit.store.facts import ABSENT, Difference, differences, facts_hash, flat, parent_differences, settings, stage_facts
from omnikit.store.runs import finished_hash, load_plan
from omnikit.store.stage_record import StageRecord, record

Status = Literal["valid", "invalid", "suspect", "new", "not trained", "left out"]
TO_TRAIN = ("invalid", "new", "not trained")


@dataclass(frozen=True)
class Side:
    """A recipe or a run that is compared.

    Args:
        title: as it was named, with its overrides.
        folder: of a run.
        records: of a run's finished stages; a recipe has none, and its stages count as trained by it.
    """

    title: str
    plan: Plan
    folder: Path | None = None
    records: dict[str, StageRecord] = field(default_factory=dict)

    def facts(self, stage: str) -> dict[str, object]:
        """Give what decided, or would decide, a stage's weights."""
        return self.records[stage].facts if stage in self.records else stage_facts(self.plan, stage)

    def is_trained(self, stage: str) -> bool:
        """Whether there are weights of this stage, or would be in a finished run of this recipe."""
        return stage in self.plan.stages and (self.folder is None or stage in self.records)


@dataclass(frozen=True)
class Change:
    """One thing that is otherwise in the second, and the stages whose weights it decides."""

    place: str
    old: object
    new: object
    stages: tuple[str, ...] = ()


@dataclass(frozen=True)
class StageVerdict:
    """What becomes of one stage's weights.

    Args:
        because: places that changed; for suspect weights the stages before, and parts that its rows may not reach.
        unreached: places that changed in parts that none of its rows reaches.
        seconds: that its training took in the first; None where the first is a recipe, or has not trained it.
        equal_weights: whether two runs hold the same; None where one of them holds none.
    """

    stage: str
    status: Status
    trained: tuple[str, ...]
    because: tuple[str, ...] = ()
    unreached: tuple[str, ...] = ()
    steps: int | None = None
    seconds: float | None = None
    equal_weights: bool | None = None


@dataclass(frozen=True)
class Comparison:
    """What two recipes or runs differ in.

    Args:
        stages: of the second in its order, then those that only the first has.
        cheapest: of the stages to train that wait for no other, the one with the fewest recorded seconds, or steps.
        suspect: stages that keep weights which were trained from others.
    """

    changes: tuple[Change, ...]
    stages: tuple[StageVerdict, ...]
    to_train: tuple[str, ...]
    suspect: tuple[str, ...]
    cheapest: str | None


def open_side(name: str, overrides: Sequence[str] = ()) -> Side:
    """Open what is named: a run's folder, which with overrides counts as its recipe, a recipe's name, or a YAML file.

    Raises:
        OmnikitError: as compose and make, or the run's record is damaged.
    """
    title, folder = " ".join([name, *overrides]), Path(name)
    if not is_run_config(folder / "config.yaml") or overrides:
        return Side(title, make(compose(name, overrides)))
    plan = load_plan(folder)
    done = [stage for stage in plan.stages if finished_hash(folder, stage) is not None]
    return Side(title, plan, folder, {stage: record(folder, stage) for stage in done})


def open_sides(words: Sequence[str]) -> tuple[Side, Side]:
    """Open two sides, each followed by its overrides; one alone is compared with itself under its overrides.

    Raises:
        OmnikitError: as open_side; or there is no side, or more than two.
    """
    starts = [index for index, word in enumerate(words) if not _is_override(word)]
    if len(starts) not in (1, 2) or starts[0] != 0:
        raise ConfigError(f"diff takes two recipes or runs, each followed by its overrides, but finds {len(starts)} in"
                          f" {' '.join(words)!r}; write omnikit diff A [override …] B [override …].")
    if len(starts) == 1:
        return open_side(words[0]), open_side(words[0], words[1:])
    second = starts[1]
    return open_side(words[0], words[1:second]), open_side(words[second], words[second + 1:])


def compare(first: Side, second: Side) -> Comparison:
    """Compare two recipes or runs; of data, what a run recorded is compared, and no dataset is read."""
    own = {name: _own(first, second, name) for name in second.plan.stages if first.is_trained(name)}
    verdicts: dict[str, StageVerdict] = {}
    for name in second.plan.stages:
        verdicts[name] = _verdict(first, second, name, own.get(name, []), verdicts)
    left_out = [StageVerdict(name, "left out", stage.trained) for name, stage in first.plan.stages.items()
                if name not in second.plan.stages]
    to_train = tuple(name for name, found in verdicts.items() if found.status in TO_TRAIN)
    return Comparison(tuple(_changes(first, second, own)), (*verdicts.values(), *left_out), to_train,
                      tuple(name for name, found in verdicts.items() if found.status == "suspect"),
                      _cheapest(second.plan, verdicts, to_train))


def _is_override(word: str) -> bool:
    return word.startswith(("+", "~")) or "=" in word


def _own(first: Side, second: Side, name: str) -> list[Difference]:
    """Give what differs in a stage itself: its settings, the content of its data and of the files it takes weights from."""
    found = differences(first.facts(name), second.facts(name))
    before, now = first.records.get(name), second.records.get(name)
    if before and now:
        found += [Difference(f"data.{key} with content of fingerprint", before.data[key], now.data[key])
                  for key in before.data.keys() & now.data.keys() if before.data[key] != now.data[key]]
        found += [Difference(f"the file {key} with hash", before.files[key], now.files[key])
                  for key in before.files.keys() & now.files.keys() if before.files[key] != now.files[key]]
    return found


def _within(found: Sequence[Difference], parts: Collection[str]) -> list[Difference]:
    """Give the differences within some parts."""
    return [difference for difference in found if any(difference.place.startswith(f"{part}.") for part in parts)]


def _verdict(first: Side, second: Side, name: str, own: Sequence[Difference], above: dict[str, StageVerdict]) -> StageVerdict:
    stage, record, beside = second.plan.stages[name], first.records.get(name), unreached(second.plan, name)
    ignored, doubtful = _within(own, beside.surely), _within(own, beside.declared)
    deciding = [difference for difference in own if difference not in ignored]
    changed = _changed_before(first, second, name, above) if first.is_trained(name) else []
    status: Status = "valid"
    because: tuple[str, ...] = ()
    if not first.is_trained(name):
        status = "not trained" if name in first.plan.stages else "new"
    elif deciding != doubtful:
        status, because = "invalid", _changed_keys(first, second, deciding)
    elif doubtful or changed:
        status, because = "suspect", (*_changed_keys(first, second, doubtful), *(f"stage {parent}" for parent in changed))
    return StageVerdict(name, status, stage.trained, because, _changed_keys(first, second, ignored),
                        stage.stage.trainer.max_steps if _steps(stage.stage.objective) else None,
                        record.seconds if record else None, _equal(first, second, name))


def _changed_keys(first: Side, second: Side, found: Iterable[Difference]) -> tuple[str, ...]:
    return tuple(difference.place for difference in _collapsed(found, first.plan, second.plan))


def _changed_before(first: Side, second: Side, name: str, above: dict[str, StageVerdict]) -> list[str]:
    """Give the stages that a stage starts from, in a part that its rows reach, and whose weights are others now."""
    origins, surely = second.plan.stages[name].origins, unreached(second.plan, name).surely
    parents = dict.fromkeys(origin for part, origin in origins.items() if part not in surely)
    changed = [parent for parent in parents if above[parent].status != "valid"]
    changed += [found.stage for found in parent_differences(first.facts(name), second.facts(name))
                if found.stage in parents and found.stage not in changed and not _is_same(first, found, above[found.stage])]
    return changed + [parent for parent in _replaced(first, name) if parent in parents and parent not in changed]


def _is_same(first: Side, found: Difference, parent: StageVerdict) -> bool:
    """Whether a stage that is made otherwise still holds the weights that were started from: what changed decides nothing."""
    return bool(parent.unreached) and found.old == facts_hash(first.facts(parent.stage))


def _steps(objective: str) -> bool:
    return objective not in ("units", "import")


def _replaced(first: Side, name: str) -> Iterator[str]:
    """Give the stages of a run that hold other weights now than this one started from."""
    record = first.records.get(name)
    for part, origin in first.plan.stages[name].origins.items() if record else ():
        before, holder = record.weights_before.get(part) if record else None, first.records.get(origin)
        if before and holder and holder.weights_after.get(part) not in (None, before):
            yield origin


def _equal(first: Side, second: Side, name: str) -> bool | None:
    before, now = first.records.get(name), second.records.get(name)
    if not before or not now:
        return None
    trained = second.plan.stages[name].trained
    return [before.weights_after.get(part) for part in trained] == [now.weights_after.get(part) for part in trained]


def _changes(first: Side, second: Side, own: dict[str, list[Difference]]) -> Iterator[Change]:
    """Give everything that differs, each thing once: what decides weights, then the rest."""
    stages: dict[str, tuple[Difference, list[str]]] = {}
    for name, found in own.items():
        ignored = _within(found, unreached(second.plan, name).surely)
        for difference in _collapsed([one for one in found if one not in ignored], first.plan, second.plan):
            stages.setdefault(repr(difference), (difference, []))[1].append(name)
    only = set(first.plan.stages) ^ set(second.plan.stages)
    for name in (*first.plan.stages, *second.plan.stages):
        if name in only:
            there = name in first.plan.stages
            yield Change(f"stages.{name}", "a stage" if there else ABSENT, ABSENT if there else "a stage", (name,))
    before, now = settings(first.plan), settings(second.plan)
    defaults = [flat(before), flat(now)]  # facts lack the fields that came later and stand at their default
    for difference, names in sorted(stages.values(), key=lambda item: item[0].place):
        old, new = (value if value != ABSENT else default.get(difference.place, ABSENT)
                    for value, default in zip((difference.old, difference.new), defaults, strict=True))
        yield Change(difference.place, old, new, tuple(names))
    listed = {difference.place for difference, _ in stages.values()}
    for difference in _collapsed(differences(before, now), first.plan, second.plan):
        above = {f"stages.{name}" for name in only}
        if difference.place not in listed and not any(difference.place.startswith(f"{place}.") for place in above):
            yield Change(difference.place, difference.old, difference.new)
    yield from _machines(first, second)


def _machines(first: Side, second: Side) -> Iterator[Change]:
    """Give in which versions and on what hardware two runs were trained otherwise; weights may differ by it."""
    seen = set()
    for name in first.records.keys() & second.records.keys():
        for what in ("versions", "hardware"):
            before, now = ({f"{what}.{key}": value for key, value in getattr(side.records[name], what).items()}
                           for side in (first, second))
            for difference in differences(before, now):
                if repr(difference) not in seen:
                    seen.add(repr(difference))
                    yield Change(difference.place, difference.old, difference.new)


def _collapsed(found: Iterable[Difference], first: Plan, second: Plan) -> Iterator[Difference]:
    """Give differences, those of another component's fields as one: audio/encoder whisper → mel_cnn."""
    found = list(found)
    swapped = {difference.place.removesuffix(".component") for difference in found if difference.place.endswith(".component")}
    for difference in found:
        owner = next((part for part in swapped if difference.place.startswith(f"{part}.")), None)
        if owner is None:
            yield difference
        elif difference.place == f"{owner}.component":
            yield Difference(owner.replace(".", "/"), _use(first, owner, difference.old), _use(second, owner, difference.new))


def _use(plan: Plan, part: str, component: object) -> object:
    """Give the name of a component that a recipe picks for a part or a dataset; of one without a name its class."""
    branch, _, slot = part.partition(".")
    slots = plan.recipe.data if branch == "data" else plan.recipe.branches.get(branch, {})
    choice = slots.get(slot) if slot else plan.recipe.backbone
    return choice.use if choice else component


def _cheapest(plan: Plan, verdicts: dict[str, StageVerdict], to_train: Sequence[str]) -> str | None:
    ready = [name for name in to_train if not set(_ancestors(plan, name)) & set(to_train)]
    timed = all(verdicts[name].seconds is not None for name in ready)
    costs = {name: (verdicts[name].seconds if timed else verdicts[name].steps) or 0 for name in ready}
    return min(ready, key=lambda name: costs[name], default=None)


def _ancestors(plan: Plan, name: str) -> set[str]:
    origins = set(plan.stages[name].origins.values())
    return origins.union(*(_ancestors(plan, origin) for origin in origins))
