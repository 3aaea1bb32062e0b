"""Plain text tables and images of a plan; needs nothing installed, so that `check` runs beside hydra-core alone."""

from collections.abc import Iterable, Sequence

from omnikit.plan.plan import Plan
from omnikit.plan.stage_plan import StagePlan


def columns(rows: Iterable[Sequence[str]], indent: str = "  ") -> str:
    """Set rows in columns, each as wide as its widest cell; the last column is free."""
    rows = [tuple(row) for row in rows]
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows), default=0))]
    lines = (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) for row in rows)
    return "".join(line.rstrip() + "\n" for line in lines)


def wiring(plan: Plan, counts: dict[str, int] | None = None) -> str:
    """Describe who feeds whom, how wide and how fast; with `counts`, the parameters of each part."""
    rows = [("part", "component", "takes", "gives", *(["parameters"] if counts else []))]
    for path, component, takes, gives in wires(plan):
        count = [f"{counts[path]:,}".replace(",", " ")] if counts and path in counts else []
        rows.append((path, component, takes, gives, *count))
    if counts:
        heard = {path: count for path, count in counts.items() if _is_heard(plan, path)}
        sums = {"backbone and what it hears and sees": sum(heard.values())} if 0 < len(heard) < len(counts) else {}
        for words, total in (sums | {"all parts": sum(counts.values())}).items():
            rows.append(("", "", "", words, f"{total:,}".replace(",", " ")))
    return columns(rows)


def _is_heard(plan: Plan, path: str) -> bool:
    """Say whether a part is the backbone or brings it a signal: neither a head, nor a codec, nor a learned prompt."""
    input_branch = plan.inputs.get(path.partition(".")[0])
    return path == "backbone" or (input_branch is not None and plan.backbone is not None
                                  and input_branch.encoder.input.modality != "prompt"
                                  and path.rpartition(".")[2] in ("encoder", "projector"))


def wires(plan: Plan) -> list[tuple[str, str, str, str]]:
    """Give (part, component, takes, gives) of each part in wiring order."""
    rows = []
    picked = {"backbone": plan.recipe.backbone.use} if plan.recipe.backbone else {}
    picked |= {f"{branch}.{slot}": pick.use for branch, slots in plan.recipe.branches.items() for slot, pick in slots.items()}
    picked |= plan.recipe.picks
    for name, input_branch in plan.inputs.items():
        rows.append((f"{name}.encoder", picked[f"{name}.encoder"], str(input_branch.encoder.input), str(input_branch.encoded)))
        if input_branch.projector:
            row = (picked[f"{name}.projector"], str(input_branch.encoded), str(input_branch.projected))
            rows.append((f"{name}.projector", *row))
    if plan.backbone:
        size = f"{plan.backbone.dim} wide, {plan.backbone.vocabulary} tokens, context {plan.backbone.context}"
        rows.append(("backbone", picked["backbone"], f"{plan.backbone.dim} wide", size))
    for name, output in plan.outputs.items():
        source_width = f"{output.head.tap}, {output.source.dim} wide"
        gives = {"codes": "codes", "tokens": "the answer's tokens", "transcript": "what the audio says",
                 "caption": "what the image shows", "state": "audio or noise"}[output.head.target]
        rows.append((f"{name}.head", picked[f"{name}.head"], source_width, gives))
        if output.units:
            rows.append((f"{name}.units", picked[f"{name}.units"], f"waves, {output.units.spec.sample_rate} Hz", "codes"))
        if output.codec:
            rows.append((f"{name}.codec", picked[f"{name}.codec"], "codes", str(output.codes)))
    return rows


def stages(plan: Plan) -> str:
    """Describe what each stage trains, on what and from which weights."""
    rows = [("stage", "trains", "loss", "data", "steps", "starts from")]
    rows += [(name, ", ".join(s.trained), _losses(s), _shares(s), _steps(s), _origins(s)) for name, s in plan.stages.items()]
    return columns(rows)


def _losses(plan: StagePlan) -> str:
    if plan.stage.objective not in ("heads", "vocoder", "codec"):
        return plan.stage.objective
    return " + ".join(f"{weight:g} {branch}" for branch, weight in plan.stage.loss.items())


def _shares(plan: StagePlan) -> str:
    if plan.stage.objective == "import":
        return str(plan.stage.source.get("folder", plan.stage.source.get("use")))
    return " + ".join(f"{share:g} {name}" for name, share in plan.stage.data.items())


def _steps(plan: StagePlan) -> str:
    run = plan.stage.trainer
    if plan.stage.objective in ("units", "import"):
        return {"units": "fit", "import": "none"}[plan.stage.objective]
    limits = [f"{run.max_steps} steps"] if run.max_steps else []
    limits += [f"{run.max_epochs} epochs"] if run.max_epochs else []
    packed = f" packed to {run.pack}" if run.pack else ""
    return f"{' or '.join(limits)} x {run.batch_size * run.accumulate}{packed}"


def _origins(plan: StagePlan) -> str:
    if plan.stage.objective == "import":
        return f"a checkpoint of layout {plan.stage.source.get('use')}"
    return ", ".join(f"{part} of {stage}" for part, stage in plan.origins.items()) or "fresh weights"
