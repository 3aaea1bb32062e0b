"""A forecast as plain text and as a record. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

from omnikit.contracts.optional import row_options
from omnikit.plan.batch_sizes import SECONDS, TEXT_TOKENS
from omnikit.plan.footprints import footprints
from omnikit.plan.forecast import GIB, Forecast, Setting
from omnikit.plan.forecast_changes import Fit
from omnikit.plan.plan import Plan
from omnikit.text_table import columns

COLUMNS = ("weights", "gradients", "optimizer", "casts", "activations", "logits")
UNITS = {"GiB": GIB, "MiB": 2**20, "GB": 10**9, "MB": 10**6}


def forecast_table(found: Mapping[str, Forecast]) -> str:
    """Set each stage in a line: parameters, then GiB of each kind on one device."""
    lines: list[tuple[str, ...]] = [("stage", "trained", "frozen", *COLUMNS, "card", "CPU process")]
    lines += [(name, count(one.trained), count(one.frozen), *(gib(getattr(one, key)) for key in COLUMNS), gib(one.card),
               gib(one.process)) for name, one in found.items()]
    return columns(lines)


def notes(plan: Plan, found: Mapping[str, Forecast], setting: Setting) -> str:
    """Give what was assumed, what could not be counted, and what answers and the run's folder take."""
    lines = [_batches(found)]
    if setting.devices > 1:
        lines.append(f"Weights, gradients and moments are divided among {setting.devices} devices as FSDP does; batches are"
                     " those of each device.")
    if away := {name: one.offloaded for name, one in found.items() if one.offloaded}:
        listed = ", ".join(f"{name} {gib(size)} GiB" for name, size in away.items())
        lines.append(f"Of the optimizer, in the host's memory instead of the card's: {listed}.")
    unknown = sorted(name for stage in plan.stages.values() for name in stage.datasets
                     if row_options(plan.readers[name]).text_tokens is None)
    if unknown and any(not one.sizes.packed for one in found.values()):
        lines.append(f"Assumed: {setting.text_tokens or TEXT_TOKENS} tokens of text in a row (--text-tokens), and"
                     f" {SECONDS:g} s of audio where a dataset states no limit.")
    if missing := sorted({part for one in found.values() for part in one.uncounted}):
        lines.append(f"Not counted: {', '.join(missing)}, whose components state no `footprint`.")
    return "".join(f"{line}\n" for line in [*lines, *_answers(plan), disk(found)])


def verdict(name: str, found: Mapping[str, Forecast], memory: float | None = None) -> str:
    """Give one sentence: the stage that needs most, and whether it fits a card of so many bytes."""
    if not found:
        return ""
    worst = max(found.values(), key=lambda one: one.card)
    needs = (f"Memory: at most {gib(worst.card)} GiB on a card ({gib(worst.process)} GiB in a process without one), in"
             f" {worst.stage}")
    if memory is not None:
        needs += f"; that {'fits' if worst.card <= memory else 'does not fit'} the card here, {gib(memory)} GiB"
    return f"{needs}: omnikit forecast {name}.\n"


def fits_text(fits: Mapping[str, Fit], memory: float, devices: int) -> str:
    """Say of each stage whether it fits, and with which overrides."""
    cards = f"{devices} x {gib(memory)} GiB" if devices > 1 else f"{gib(memory)} GiB"
    return "".join(f"{_fit_line(name, fit, cards)}\n" for name, fit in fits.items())


def measured_line(forecast: Forecast, measured: Mapping[str, float]) -> str:
    """Set what a stage took (`process`, `card` in bytes, `seconds` of a step) beside its forecast."""
    on_card = bool(measured["card"])
    expected, took = (forecast.tensors, measured["card"]) if on_card else (forecast.process, measured["process"])
    step = f", {measured['seconds']:.2f} s a step" if measured["seconds"] else ""
    return (f"  {forecast.stage}: {gib(took)} GiB {'of tensors on the card' if on_card else 'in the process'}, forecast"
            f" {gib(expected)} ({expected / took - 1:+.0%}){step}\n")


def record(found: Mapping[str, Forecast], fits: Mapping[str, Fit]) -> dict[str, object]:
    """Give stage → numbers in bytes, for --json."""
    return {name: {"trained": one.trained, "frozen": one.frozen, **{key: round(getattr(one, key)) for key in COLUMNS},
                   "card": round(one.card), "process": round(one.process), "saved": round(one.saved),
                   **({"fits": fits[name].fits, "changes": list(fits[name].changes)} if name in fits else {})}
            for name, one in found.items()}


def parse_memory(text: str) -> float | None:
    """Read 80GiB, 24GB or a number of GiB as bytes; None where it is none."""
    unit = next((unit for unit in UNITS if text.endswith(unit)), "")
    try:
        value = float(text.removesuffix(unit))
    except ValueError:
        return None
    return value * UNITS.get(unit, GIB) if 0 < value < float("inf") else None


def gib(size: float) -> str:
    """Give bytes in GiB, to three digits."""
    value = size / GIB
    return "0" if value == 0 else "<0.01" if value < 0.01 else f"{value:.2f}" if value < 10 else f"{value:.1f}" if (
        value < 100) else f"{value:.0f}"


def count(parameters: int) -> str:
    """Give a number of parameters in thousands, millions or billions."""
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if parameters >= size:
            return f"{parameters / size:.3g} {unit}"
    return str(parameters)


def disk(found: Mapping[str, Forecast]) -> str:
    """Say what the run's folder takes: each stage's weights, and checkpoints while one trains."""
    weights = sum(one.saved for one in found.values())
    largest = max((4 * one.trained + one.optimizer for one in found.values()), default=0.0)
    return f"Disk: {gib(weights)} GiB of weights, and {gib(largest)} GiB for each checkpoint inside the largest stage."


def _batches(found: Mapping[str, Forecast]) -> str:
    sizes = [f"{name} {one.sizes.sequences} x {one.sizes.length}" for name, one in found.items() if one.sizes.length]
    return f"Largest batches of the backbone (sequences x positions): {', '.join(sizes) or 'none'}."


def _answers(plan: Plan) -> list[str]:
    parts = footprints(plan)
    if plan.backbone is None or "backbone" not in parts:
        return []
    backbone = parts["backbone"]
    size = 2 if backbone.dtype != "float32" else 4
    weights = sum(part.parameters * (2 if part.dtype != "float32" else 4) for part in parts.values())
    return [f"Answers: {gib(weights)} GiB of weights, and {gib(1024 * backbone.cache * size)} GiB of keys and values for each"
            " 1024 positions."]


def _fit_line(name: str, fit: Fit, cards: str) -> str:
    if not fit.fits:
        return (f"{name} does not fit {cards}: it needs {gib(fit.forecast.card)} GiB with every change that is known here; take"
                " more devices, shorter rows or a smaller model.")
    if not fit.changes:
        return f"{name} fits {cards} as it is."
    return f"{name} fits {cards}, {gib(fit.forecast.card)} GiB, with {' '.join(fit.changes)}"
