"""What decides a stage's weights, as a person can read it, and how two such records differ. Uses no run folder."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path

from omnikit.contracts.specs import later_defaults
from omnikit.plan.plan import Plan
from omnikit.recipe.recipe import training_settings
from omnikit.recipe.schema import plain
from omnikit.store.tokenizer_files import FILES

SHOWN = 3  # differences that a sentence names
ABSENT = "nothing"


@dataclass(frozen=True)
class Difference:
    """One thing that a finished stage was made of and that is otherwise now.

    Args:
        place: a dotted key as overrides have it, a dataset's content, a file, or an earlier stage.
        stage: the earlier stage.
    """

    place: str
    old: object
    new: object
    stage: str | None = None

    def __str__(self) -> str:
        return f"{self.place} {_shown(self.old)}, which is {_shown(self.new)} now"


def stage_facts(plan: Plan, name: str) -> dict[str, object]:
    """Give what decides a stage's weights: its parts, codes, data, settings, seed, place in the order, and earlier stages."""
    stage, configs = plan.stages[name], plan.parts()
    found: dict[str, object] = {part: component_fields(configs[part]) for part in stage.used}
    found |= {f"data.{dataset}": component_fields(plan.readers[dataset]) for dataset in stage.datasets}
    found |= {f"data.{dataset}.rows": plain(plan.recipe.row_policies[dataset]) for dataset in stage.datasets
              if dataset in plan.recipe.row_policies}
    found |= {"template": _settings(plan.template), "tokenizer": _content(plan.tokenizer), "seed": plan.recipe.seed,
              f"stages.{name}": training_settings(stage.stage), f"stages.{name}.position": list(plan.stages).index(name),
              f"stages.{name}.starts_from": stage.origins,
              "parents": {origin: stage_hash(plan, origin) for origin in sorted(set(stage.origins.values()))}}
    for branch, output in plan.outputs.items():
        if f"{branch}.head" in stage.used:
            found[f"{branch}.codes"] = plain(output.codes)
            found |= {f"{branch}.normaliser": component_fields(output.normaliser)} if output.normaliser else {}
    normal: dict[str, object] = json.loads(json.dumps(found, sort_keys=True))
    return normal


def settings(plan: Plan) -> dict[str, object]:
    """Give all that a recipe sets, with every default, whether it decides weights or not; keys are those of stage_facts."""
    found: dict[str, object] = {part: _all_fields(config) for part, config in plan.parts().items()}
    found |= {f"{branch}.normaliser": _all_fields(output.normaliser) for branch, output in plan.outputs.items()
              if output.normaliser}
    found |= {f"data.{dataset}": _all_fields(reader) for dataset, reader in plan.readers.items()}
    found |= {"template": plain(plan.template), "tokenizer": _content(plan.tokenizer), "seed": plan.recipe.seed,
              "generate": plain(plan.recipe.generate), "evaluate": plain(plan.recipe.evaluate),
              "stages": plain(plan.recipe.stages)}
    normal: dict[str, object] = json.loads(json.dumps(found, sort_keys=True))
    return normal


def stage_hash(plan: Plan, name: str) -> str:
    """Give 16 hex digits over what decides a stage's weights."""
    return facts_hash(stage_facts(plan, name))


def facts_hash(facts: Mapping[str, object]) -> str:
    """Give 16 hex digits over a stage's facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def differences(old: Mapping[str, object], new: Mapping[str, object]) -> list[Difference]:
    """Give what differs between the facts of two stages, without the stages that they start from."""
    before, now = (flat({key: value for key, value in facts.items() if key != "parents"}) for facts in (old, new))
    return [Difference(key, before.get(key, ABSENT), now.get(key, ABSENT)) for key in sorted({*before, *now})
            if before.get(key, ABSENT) != now.get(key, ABSENT)]


def parent_differences(old: Mapping[str, object], new: Mapping[str, object]) -> list[Difference]:
    """Give which of the stages that a stage starts from are made otherwise."""
    before, now = (flat({"": facts.get("parents")}) for facts in (old, new))
    return [Difference(f"stage {name} with settings of hash", before.get(key, ABSENT), value, name)
            for key, value in now.items() if before.get(key) != value and (name := key.removeprefix("."))]


def flat(values: Mapping[str, object], above: str = "") -> dict[str, object]:
    """Give nested mappings as one with dotted keys."""
    found: dict[str, object] = {}
    for key, value in values.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, Mapping) and value else {f"{above}{key}": value}
    return found


def listed(found: Iterable[Difference]) -> str:
    """Give differences in words, the first few of them."""
    words = [str(difference) for difference in found]
    more = f", and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more


def _shown(value: object) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def component_fields(config: object) -> dict[str, object]:
    """Give a component's class and fields."""
    settings = _settings(config)
    assert isinstance(settings, dict), "a component is a dataclass"
    return {"component": f"{_module(config)}.{type(config).__qualname__}", **settings}


def _module(config: object) -> str:
    """Give the module of a component's class; all files of a package `config` count as one, so that it can be split."""
    above, package, _ = type(config).__module__.partition(".config.")
    return f"{above}.config" if package else above


def _all_fields(config: object) -> dict[str, object]:
    """Give a component's class and all its fields, its tokenizer by content."""
    own = plain(config)
    return {**component_fields(config), **own, **({"tokenizer": _content(own["tokenizer"])} if "tokenizer" in own else {})}


def _settings(config: object) -> object:
    """Give a dataclass's fields, without those that came later and stand at their default: older runs stay finished."""
    if not is_dataclass(config):
        return plain(config)
    later = later_defaults(config)
    own = {name: value for name, value in plain(config).items() if name not in later}
    return {**own, "tokenizer": _content(own["tokenizer"])} if "tokenizer" in own else own


def _content(tokenizer: str | None) -> str | None:
    """Give a tokenizer as it counts: files by what they hold, wherever they lie; a name as it is."""
    path = Path(tokenizer or "")
    files = [path] if path.is_file() else [path / name for name in FILES if (path / name).is_file()] if tokenizer else []
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    return digest if files else tokenizer
