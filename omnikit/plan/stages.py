"""Stages checked against the wiring: what each trains, runs, reads and starts from. Each mismatch becomes one sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from omnikit.contracts.optional import backbone_options
from omnikit.errors import nearest
from omnikit.plan.branches import BACKBONE_TAPS, OutputBranch
from omnikit.plan.cache_points import check_cache
from omnikit.plan.codec_stages import check_codec
from omnikit.plan.data_checks import check_supplies
from omnikit.plan.feeding import check_feeding_stage
from omnikit.plan.import_stages import check_import, check_no_source
from omnikit.plan.memory_checks import check_memory_settings
from omnikit.plan.stage_plan import StagePlan, Wiring
from omnikit.plan.strategy_checks import check_strategy
from omnikit.plan.tuning import trained_parts
from omnikit.plan.validation_checks import check_validation
from omnikit.recipe.interval import parse_interval
from omnikit.recipe.recipe import Stage
from omnikit.recipe.schema import leaves

_COUNTS = {"batch_size": 1, "accumulate": 1, "max_steps": 1, "max_epochs": 1, "log_every": 1, "workers": 0,
           "window": 1, "pack": 1, "batch_tokens": 1, "keep": 0, "devices": 1,
           "nodes": 1}  # key: least
_MOST = {"workers": 1024, "nodes": 65536, "devices": 65536}
TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")  # what trainer.logger may name
_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {  # every comparison is false for nan
    "lr": ("above 0", lambda value: value > 0),
    "muon": ("above 0, or null", lambda value: value > 0),
    "weight_decay": ("at least 0", lambda value: value >= 0),
    "warmup": ("between 0 and 1", lambda value: 0 <= value <= 1),
    "beta1": ("at least 0 and below 1", lambda value: 0 <= value < 1),
    "beta2": ("at least 0 and below 1", lambda value: 0 <= value < 1),
    "clip": ("at least 0 (0: no limit)", lambda value: value >= 0),
}


def plan_stages(stages: dict[str, Stage], wired: Wiring, errors: list[str]) -> dict[str, StagePlan]:
    """Check every stage in order; each starts from the stage before unless it names another."""
    plans: dict[str, StagePlan] = {}
    holders: dict[str, dict[str, str]] = {}  # stage → part → the stage that trained it last
    before: str | None = None
    for name, stage in stages.items():
        _check_order(name, stage, stages, errors)
        inherited = _inherited(name, stage, before, holders, errors)
        imports = stage.objective == "import"
        chosen = trained_parts(name, stage, wired.parts, errors)
        trained = wired.parts if imports and not stage.train else tuple(chosen)
        used = _used(name, stage, trained, wired, errors)
        origins = {part: inherited[part] for part in used if part in inherited and not imports}
        holders[name] = {**inherited, **dict.fromkeys(trained, name)}
        plans[name] = StagePlan(name, stage, trained, used, origins, tuple(d for d in stage.data if d in wired.readers),
                                _table(stage, trained, used, wired), holders[name],
                                {part: tuning for part, tuning in chosen.items() if tuning})
        _check_stage(plans[name], wired, errors)
        before = name
    return plans


def _check_order(name: str, stage: Stage, stages: dict[str, Stage], errors: list[str]) -> None:
    if stage.after is not None and stage.after not in stages:
        errors.append(f"stages.{name}.after is {stage.after!r}, which is not a stage.{nearest(stage.after, stages)}"
                      f" Stages: {', '.join(stages)}.")
    seen, above = [name], stage.after
    while above in stages and above not in seen:
        seen.append(above)
        above = stages[above].after
    if above == name == min(seen):  # once for each circle
        errors.append(f"stages.{name}.after goes in a circle ({' → '.join(seen)}); let one of them come first.")


def _inherited(
    name: str, stage: Stage, before: str | None, holders: dict[str, dict[str, str]], errors: list[str]
) -> dict[str, str]:
    """Give part → stage for the weights that a stage starts from."""
    parents = stage.init_from
    if parents is None:
        return dict(holders.get(stage.after or before or "", {}))
    if isinstance(parents, str):
        parents = {"": parents}
    if not isinstance(parents, Mapping):
        errors.append(f"stages.{name}.init_from is {parents!r}, but must be a stage or a mapping of parts to stages.")
        return {}
    found: dict[str, str] = {}
    for part, parent in leaves(parents):
        if not isinstance(parent, str) or parent not in holders:
            errors.append(f"stages.{name}.init_from names {parent!r}, which is not an earlier stage."
                          f"{nearest(str(parent), holders)} Earlier: {', '.join(holders) or 'none'}.")
            continue
        matching = {p: s for p, s in holders[parent].items() if not part or p == part or p.startswith(f"{part}.")}
        if part and not matching:
            errors.append(f"stages.{name}.init_from takes {part} from {parent!r}, where it was never trained;"
                          f" trained there: {', '.join(holders[parent]) or 'nothing'}.")
        found |= matching
    return found


def _used(name: str, stage: Stage, trained: tuple[str, ...], wired: Wiring, errors: list[str]) -> tuple[str, ...]:
    if stage.objective == "vocoder":  # learns from what makes the codes
        makers = {o.code_source_part for o in wired.outputs.values() if f"{o.name}.codec" in trained and o.code_source_part}
        return tuple(part for part in wired.parts if part in makers or part in trained)
    if stage.objective != "heads":
        return trained
    used: set[str] = set()
    for branch, weight in stage.loss.items():
        if branch not in wired.outputs:
            errors.append(f"stages.{name}.loss.{branch} names no output branch.{nearest(branch, wired.outputs)}"
                          f" Output branches: {', '.join(wired.outputs) or 'none'}.")
        elif not 0 < weight < math.inf:
            errors.append(f"stages.{name}.loss.{branch} is {weight:g}, but a loss's weight must be above 0,"
                          " or 0 to leave it out.")
        else:
            used |= _reach(wired.outputs[branch], wired)
    return tuple(part for part in wired.parts if part in used)


def _reach(output: OutputBranch, wired: Wiring) -> set[str]:
    """Give the parts that a head's loss runs: itself, its codec (for targets) and what lies before its tap."""
    reached = {f"{output.name}.head"} | ({output.code_source_part} if output.code_source_part else set())
    tap = output.head.tap
    if not output.needs_hidden and tap in BACKBONE_TAPS:
        return reached | {"backbone"}
    if tap in BACKBONE_TAPS:
        branches = {part for name in wired.inputs for part in (f"{name}.encoder", f"{name}.projector")}
        return reached | (branches & set(wired.parts)) | {"backbone"}
    branch, _, slot = tap.partition(".")
    found = wired.inputs.get(branch)
    sources = {f"{each.name}.encoder" for each in found.sources} if found and slot == "projector" else set()
    return reached | {f"{branch}.encoder"} | sources | ({tap} if slot == "projector" else set())


def _table(stage: Stage, trained: tuple[str, ...], used: tuple[str, ...], wired: Wiring) -> bool:
    """Say whether a stage's losses read the backbone's embedding table and nothing else of it."""
    outputs = [wired.outputs[branch] for branch in stage.loss if branch in wired.outputs] if stage.objective == "heads" else []
    return "backbone" in used and "backbone" not in trained and wired.backbone is not None and (
        backbone_options(wired.backbone).build_table is not None) and not any(output.needs_hidden for output in outputs)


def _check_stage(plan: StagePlan, wired: Wiring, errors: list[str]) -> None:
    where, stage = f"stages.{plan.name}", plan.stage
    if stage.objective == "import":
        check_import(where, stage, plan.trained, errors)
        return
    check_no_source(where, stage, errors)
    if not plan.trained and not stage.train:
        errors.append(f"{where}.train is empty, so nothing would be trained; name a part, for example"
                      f" {{{wired.parts[0] if wired.parts else 'backbone'}: full}}.")
    for dataset in stage.data:
        if not 0 < stage.data[dataset] < math.inf:
            errors.append(f"{where}.data.{dataset} is {stage.data[dataset]:g}, but a share must be above 0,"
                          " or 0 to leave it out.")
    if not stage.data:
        errors.append(f"{where}.data is empty; name a dataset and its share, for example {{spoken_qa: 1.0}}.")
    _check_numbers(where, stage, errors)
    check_strategy(where, stage, errors)
    _check_pack(where, plan, wired, errors)
    _check_batch_tokens(where, plan, errors)
    check_memory_settings(where, plan, wired.parts, errors)
    check_cache(where, plan, wired, errors)
    check_feeding_stage(where, plan.stage, wired.outputs, errors)
    check_validation(where, plan, wired.outputs, errors)
    if stage.objective == "heads":
        _check_heads(where, plan, wired, errors)
    else:
        check_codec(where, plan, wired.outputs, wired.readers, errors)
    if stage.objective in ("heads", "vocoder", "codec"):
        _check_steps(where, plan, errors)


def _check_heads(where: str, plan: StagePlan, wired: Wiring, errors: list[str]) -> None:
    stage = plan.stage
    if not stage.loss:
        errors.append(f"{where}.loss is empty; weigh an output branch, for example {{text: 1.0}}.")
    for part in plan.trained:
        if stage.loss and plan.used and part not in plan.used:
            errors.append(f"{where}.train names {part}, but none of its losses ({', '.join(stage.loss)}) reaches it;"
                          " add the loss that does or leave the part out.")
    _check_media(where, plan, wired, errors)
    for branch in stage.loss:
        if branch in wired.outputs:
            check_supplies(where, plan, wired.outputs[branch], wired.readers, errors)


def _check_media(where: str, plan: StagePlan, wired: Wiring, errors: list[str]) -> None:
    """Refuse a stage that trains parts of input branches only, on data without any of their media."""
    branches = list(dict.fromkeys(part.partition(".")[0] for part in plan.trained))
    if not branches or not plan.datasets or not set(branches) <= set(wired.inputs):
        return
    media = dict.fromkeys(kind for branch in branches for kind in wired.inputs[branch].media)
    held = {name: wired.readers[name].provides for name in plan.datasets}
    if not any(set(media) & set(provides) for provides in held.values()):
        there = "; ".join(f"{name} gives {', '.join(provides)}" for name, provides in held.items())
        errors.append(f"{where} trains only {', '.join(plan.trained)}, but none of its data has {' or '.join(media)} ({there});"
                      " add a dataset that has, or train another part.")


def _check_steps(where: str, plan: StagePlan, errors: list[str]) -> None:
    """Check what a stage needs that learns step by step."""
    if plan.stage.trainer.max_steps is None and plan.stage.trainer.max_epochs is None:
        errors.append(f"{where}.trainer has neither max_steps nor max_epochs; set one of them.")
    _check_optim_parts(where, plan, errors)


def _check_numbers(where: str, stage: Stage, errors: list[str]) -> None:
    for key, least in _COUNTS.items():
        value = getattr(stage.trainer, key)
        if value is not None and value < least:
            errors.append(f"{where}.trainer.{key} is {value}, but must be at least {least}.")
        elif value is not None and value > _MOST.get(key, value):
            errors.append(f"{where}.trainer.{key} is {value}, but must be at most {_MOST[key]}.")
    if not stage.trainer.cache_gib > 0:
        errors.append(f"{where}.trainer.cache_gib is {stage.trainer.cache_gib:g}, but must be above 0.")
    try:
        parse_interval(stage.trainer.save_every)
    except ValueError:
        errors.append(f"{where}.trainer.save_every is {stage.trainer.save_every!r}, but must be steps, as 500, or time, as 30s,"
                      " 10min or 2h.")
    errors += [f"{where}.trainer.logger names {name!r}, but must be of {', '.join(TRACKERS)}.{nearest(name, TRACKERS)}"
               for name in stage.trainer.logger or () if name not in TRACKERS]
    for key in _RANGES:
        if (value := getattr(stage.optim, key)) is not None:
            _check_range(f"{where}.optim.{key}", key, value, errors)


def _check_pack(where: str, plan: StagePlan, wired: Wiring, errors: list[str]) -> None:
    """Refuse packed rows where no backbone reads them, or none that could."""
    pack = plan.stage.trainer.pack
    if pack is None:
        return
    if plan.stage.objective != "heads" or plan.table or not wired.backbone or (
            plan.used and "backbone" not in plan.used):
        errors.append(f"{where}.trainer.pack is {pack}, but the backbone, whose rows are packed, does not run in this"
                      " stage; leave pack out.")
    elif not backbone_options(wired.backbone).packs:
        errors.append(f"{where}.trainer.pack is {pack}, but this backbone cannot separate the conversations of a row; leave"
                      " pack out, or take one that can, for example hf with model_type qwen2.")
    elif pack > wired.backbone.context:
        errors.append(f"{where}.trainer.pack is {pack}, but backbone.context is {wired.backbone.context}; set pack to at most"
                      " that.")


def _check_batch_tokens(where: str, plan: StagePlan, errors: list[str]) -> None:
    budget, pack = plan.stage.trainer.batch_tokens, plan.stage.trainer.pack
    if budget is None:
        return
    if plan.stage.objective != "heads" or plan.table:
        errors.append(f"{where}.trainer.batch_tokens is {budget}, but this stage runs no rows through an encoder or the"
                      " backbone whose positions it could count; set batch_size instead.")
    elif pack is not None and budget < pack:
        errors.append(f"{where}.trainer.batch_tokens is {budget}, but a packed sequence has {pack} positions; set it to a"
                      " multiple of pack.")


def _check_range(place: str, key: str, value: float, errors: list[str]) -> None:
    words, holds = _RANGES[key]
    if not (math.isfinite(value) and holds(value)):
        errors.append(f"{place} is {value:g}, but must be {words}{'' if math.isfinite(value) else ', and finite'}.")


def _check_optim_parts(where: str, plan: StagePlan, errors: list[str]) -> None:
    for path, value in leaves(plan.stage.optim.parts):
        part, _, key = path.rpartition(".")
        if key not in ("lr", "weight_decay"):
            errors.append(f"{where}.optim.parts.{path} is not lr or weight_decay.{nearest(key, ('lr', 'weight_decay'))}")
        elif not part:
            errors.append(f"{where}.optim.parts.{key} stands under no part; write it under one, {{backbone: {{{key}: …}}}},"
                          f" or set {where}.optim.{key} for all.")
        elif not isinstance(value, int | float) or isinstance(value, bool):
            errors.append(f"{where}.optim.parts.{path} is {value!r}, but must be a number.")
        elif not any(p == part or p.startswith(f"{part}.") for p in plan.trained):
            errors.append(f"{where}.optim.parts.{part} is not trained in this stage.{nearest(part, plan.trained)}"
                          f" Trained: {', '.join(plan.trained)}.")
        else:
            _check_range(f"{where}.optim.parts.{path}", key, value, errors)
