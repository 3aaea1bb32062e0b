"""Evaluation of a run: exact answers, ablations, word errors of its speech, latency.

For each dataset of `evaluate.data` the run answers every question; the records are saved in RUN/eval/, and the report is
computed from them alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omnikit.contracts.types import Sample
from omnikit.errors import PlanError, RunError, nearest
from omnikit.evaluation import report
from omnikit.evaluation.latency import OMEGAS, independent, measure, streams
from omnikit.evaluation.records import write_json, write_lines
from omnikit.evaluation.runner import EvalRunner, stratified
from omnikit.inference.session import Session, restore
from omnikit.plan.plan import Plan
from omnikit.store import manifest
from omnikit.store.files import disk_errors
from omnikit.store.hashes import hashes
from omnikit.store.lineage import lineage
from omnikit.store.runs import find, load_plan


@dataclass(frozen=True)
class Options:
    """How a run is scored.

    Args:
        asr: the run that transcribes the generated speech; None takes the recipe's, if it names one.
        limit: rows of each dataset at most, of every kind as many, spread over it.
        batch_size: questions at a time.
        latency_rows: questions of the first dataset whose latency is measured; 0 for none.
        omegas: the Ω with which they are streamed.
        speaks_with: "codec", or "units": the part that makes the codes decodes them.
        keep_wavs: keep all of the generated speech, not only the examples on the page.
        stage: scores the weights as they were after this stage.
        data: titles of `evaluate.data` that are scored; empty for all.
    """

    asr: str | Path | None = None
    limit: int | None = None
    batch_size: int = 32
    latency_rows: int = 20
    omegas: tuple[int, ...] = OMEGAS
    speaks_with: str = "codec"
    keep_wavs: bool = False
    stage: str | None = None
    data: tuple[str, ...] = ()


def score(run: str | Path, options: Options = Options()) -> tuple[Path, dict[str, Any]]:
    """Score a run on each dataset that its recipe evaluates on.

    Returns:
        the folder with the report and the records (see `eval_folder`), and the report.

    Raises:
        OmnikitError: a run is not finished, or the recipe evaluates on nothing.
    """
    run_folder = find(run)
    plan = load_plan(run_folder)
    session, name = restore(plan, run_folder, options.stage), options.asr or plan.recipe.evaluate.asr
    if options.stage and not _speaks(session, lineage(plan, run_folder, options.stage)):
        session.speech = None
    asr = restore(load_plan(find(name)), find(name)) if name and session.speech else None
    if not plan.recipe.evaluate.data:
        raise PlanError(f"Recipe {plan.recipe.name} names no data under `evaluate`, so there is nothing to score.")
    if "latency" in plan.recipe.evaluate.data:
        raise PlanError(f"Recipe {plan.recipe.name} has evaluate.data.latency, but latency.jsonl holds the timings; give that"
                        " dataset another title.")
    folder = eval_folder(run, options.speaks_with, options.stage)
    rows = {title: _rows(plan, dataset, options.limit) for title, dataset in _datasets(plan, options).items()}
    conditions = _conditions(session, asr, options)
    runner = EvalRunner(session, asr, options.speaks_with, folder / "wavs", options.batch_size,
                        None if options.keep_wavs else report.EXAMPLES)
    with disk_errors(folder):
        folder.mkdir(exist_ok=True)
        for name in (report.CONDITIONS, report.TIMINGS):  # so that new answers never stand beside old conditions
            (folder / name).unlink(missing_ok=True)
    for title, samples in rows.items():
        shutil.rmtree(folder / "wavs" / title, ignore_errors=True)
        write_lines(folder / f"{title}.jsonl", runner.records(samples, title))
    timing = conditions["latency"]
    if timing:
        write_lines(folder / report.TIMINGS, measure(session, _timed_rows(rows[timing["data"]], options), options.omegas))
    write_json(folder / report.CONDITIONS, conditions)
    return folder, report.make(folder)


def rescore(run: str | Path, speaks_with: str = "codec", stage: str | None = None) -> tuple[Path, dict[str, Any]]:
    """Compute the report again from saved records, without the model.

    Raises:
        RunError: there is no such run, or it has no saved records.
    """
    folder = eval_folder(run, speaks_with, stage)
    return folder, report.make(folder)


def read_report(run: str | Path, stage: str, speaks_with: str = "codec") -> dict[str, Any]:
    """Give the report of a run after an earlier stage.

    Raises:
        RunError: the run was not scored after this stage.
    """
    folder = eval_folder(run, speaks_with, stage)
    if not (folder / report.CONDITIONS).is_file():
        raise RunError(f"{folder} holds no answers after stage {stage}, so nothing can be compared with them; score it first"
                       f" with omnikit eval {run} --stage {stage}.")
    return report.as_json(report.read(folder))


def eval_folder(run: str | Path, speaks_with: str = "codec", stage: str | None = None) -> Path:
    """Give the folder of a run's report: eval, eval_units where the units decode, eval_after_STAGE."""
    words = ["eval", *([] if speaks_with == "codec" else [speaks_with]), *([f"after_{stage}"] if stage else [])]
    return find(run) / "_".join(words)


def _speaks(session: Session, trained: Collection[str]) -> bool:
    """Say whether all parts of the speech branch that the stages train are among those trained so far."""
    parts = {part for stage in session.plan.stages.values() for part in stage.trained}
    return session.speech is not None and {part for part in parts if part.startswith(f"{session.speech.name}.")} <= set(trained)


def _datasets(plan: Plan, options: Options) -> dict[str, str]:
    """Give title → dataset of those that are scored."""
    found = plan.recipe.evaluate.data
    if unknown := [title for title in options.data if title not in found]:
        raise PlanError(f"{plan.recipe.name} has no evaluate.data.{unknown[0]}.{nearest(unknown[0], found)}"
                        f" Titles: {', '.join(found)}.")
    return {title: dataset for title, dataset in found.items() if not options.data or title in options.data}


def _rows(plan: Plan, dataset: str, limit: int | None) -> list[Sample]:
    reader = plan.readers[dataset].build()
    if limit is None:
        return [reader[index] for index in range(len(reader))]
    kinds = [_kind(reader[index]) for index in range(len(reader))]  # a sample may hold audio, so they are not held
    return [reader[index] for index in stratified(kinds, limit)]


def _kind(sample: Sample) -> str:
    return str(sample.facts.get("kind", ""))


def _timed_rows(samples: list[Sample], options: Options) -> list[Sample]:
    return [samples[index] for index in stratified([_kind(sample) for sample in samples], options.latency_rows)]


def _conditions(session: Session, asr: Session | None, options: Options) -> dict[str, Any]:
    """Give all that numbers depend on, except what scoring again replaces."""
    recipe, datasets = session.plan.recipe, _datasets(session.plan, options)
    omegas = list(options.omegas) if streams(session) else []
    clock = {"data": next(iter(datasets)), "rows": options.latency_rows, "omegas": omegas,
             "independent_segments": independent(session), "temperature": recipe.generate.temperature}
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "recipe": recipe.name, "run": recipe.fingerprint(), "weights": _weights(session), "seed": recipe.seed,
        "decoding": {"temperature": 0.0, "max_new_tokens": recipe.generate.max_new_tokens,
                     "speak_after": recipe.generate.speak_after},
        "speaks_with": options.speaks_with,
        "asr": {"recipe": asr.plan.recipe.name, "run": asr.plan.recipe.fingerprint(), "weights": _weights(asr)}
        if asr else None,
        "data": {title: {"dataset": dataset, "fingerprint": manifest.fingerprint_now(session.plan.readers[dataset])}
                 for title, dataset in datasets.items()},
        **({"after_stage": options.stage} if options.stage else {}), "limit": options.limit, "batch_size": options.batch_size,
        "latency": clock if options.latency_rows and options.speaks_with == "codec" and session.plan.backbone else None,
        "hardware": manifest.hardware(),
        "versions": {**manifest.versions(), "jiwer": version("jiwer")},
    }


def _weights(session: Session) -> str:
    """Give 16 hex digits over the weights of all parts."""
    return hashlib.sha256(json.dumps(hashes(session.model), sort_keys=True).encode()).hexdigest()[:16]
