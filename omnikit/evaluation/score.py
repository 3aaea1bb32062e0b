"""Evaluation of a run: exact answers, ablations, word errors of its speech, latency.

For each dataset the run answers every question; the records are saved in RUN/eval/, and the report is computed from them
alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omnikit.contracts.optional import weight_files
from omnikit.contracts.types import Sample
from omnikit.errors import RunError
from omnikit.evaluation import conditions, report
from omnikit.evaluation.datasets import EvalDataset, datasets, kind
from omnikit.evaluation.datasets import rows as rows_of
from omnikit.evaluation.latency import OMEGAS, independent, measure, streams
from omnikit.evaluation.runner import EvalRunner, stratified
from omnikit.inference.session import Session, restore
from omnikit.store import manifest
from omnikit.store.files import disk_errors
from omnikit.store.hashes import hashes
from omnikit.store.lineage import lineage
from omnikit.store.locks import hold
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
        data: what is scored: titles of `evaluate.data`, files of rows, TITLE=FILE; empty for all of `evaluate.data`.
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
    """Score a run on each dataset that its recipe evaluates on, or on others; what was scored before stays in the report.

    Returns:
        the folder with the report and the records (see `eval_folder`), and the report.

    Raises:
        OmnikitError: a run is not finished, there is nothing to score, a row cannot be scored, or another process scores the
            run.
    """
    run_folder = find(run)
    plan = load_plan(run_folder)
    chosen = datasets(plan, options.data)
    rows = {title: rows_of(plan, dataset, options.limit) for title, dataset in chosen.items()}
    session = restore(plan, run_folder, options.stage)
    if options.stage and not _speaks(session, lineage(plan, run_folder, options.stage)):
        session.speech = None
    asr, missing = _asr(session, options)
    folder = eval_folder(run, options.speaks_with, options.stage)
    runner = EvalRunner(session, asr, options.speaks_with, folder / conditions.WAVS, options.batch_size,
                        None if options.keep_wavs else report.EXAMPLES)
    with _held(folder):
        written = conditions.ConditionsFile(folder, _conditions(session, asr, options) | missing)
        for title, samples in rows.items():
            written.begin(title)
            written.finish(title, _described(chosen[title]), runner.records(samples, title))
        title = next(iter(rows))
        if options.latency_rows and options.speaks_with == "codec" and plan.backbone:
            clock = _clock(session, title, options)
            written.write_timings(clock, measure(session, _timed_rows(rows[title], options), options.omegas))
        return folder, report.make(folder)


def rescore(run: str | Path, speaks_with: str = "codec", stage: str | None = None) -> tuple[Path, dict[str, Any]]:
    """Compute the report again from saved records, without the model.

    Raises:
        RunError: there is no such run, or it has no saved records.
    """
    folder = eval_folder(run, speaks_with, stage)
    if not folder.is_dir():
        return folder, report.make(folder)  # which raises
    with _held(folder):
        return folder, report.make(folder)


def read_report(run: str | Path, stage: str, speaks_with: str = "codec") -> dict[str, Any]:
    """Give the report of a run after an earlier stage.

    Raises:
        RunError: the run was not scored after this stage.
    """
    folder = eval_folder(run, speaks_with, stage)
    if not (folder / conditions.FILE).is_file():
        raise RunError(f"{folder} holds no answers after stage {stage}, so nothing can be compared with them; score it first"
                       f" with omnikit eval {run} --stage {stage}.")
    return report.as_json(report.read(folder))


def eval_folder(run: str | Path, speaks_with: str = "codec", stage: str | None = None) -> Path:
    """Give the folder of a run's report: eval, eval_units where the units decode, eval_after_STAGE."""
    words = ["eval", *([] if speaks_with == "codec" else [speaks_with]), *([f"after_{stage}"] if stage else [])]
    return find(run) / "_".join(words)


def _speaks(session: Session, trained: Collection[str]) -> bool:
    """Say whether all parts of the speech branch that have parameters are among those trained so far, or have weight files."""
    configs, name = session.plan.parts(), session.speech.name if session.speech else ""
    needed = [part for part, module in session.model.parts().items()
              if part.startswith(f"{name}.") and any(True for _ in module.parameters())]
    return bool(name) and all(part in trained or weight_files(configs[part]) for part in needed)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep other processes out of a report's folder."""
    with disk_errors(folder):
        folder.mkdir(exist_ok=True)
    with hold(folder / ".lock", f"{folder} is being written", "wait for it to end"):
        yield


def _asr(session: Session, options: Options) -> tuple[Session | None, dict[str, str]]:
    """Give the ASR model, and the name of the recipe's where that was not trained."""
    name = options.asr or session.plan.recipe.evaluate.asr
    if not name or not session.speech:
        return None, {}
    try:
        folder = find(name)
    except RunError:
        if options.asr:
            raise
        return None, {"asr_missing": str(name)}
    return restore(load_plan(folder), folder), {}


def _described(dataset: EvalDataset) -> dict[str, Any]:
    return {"dataset": dataset.name, "fingerprint": manifest.fingerprint_now(dataset.reader)}


def _timed_rows(samples: list[Sample], options: Options) -> list[Sample]:
    return [samples[index] for index in stratified([kind(sample) for sample in samples], options.latency_rows)]


def _clock(session: Session, title: str, options: Options) -> dict[str, Any]:
    """Give how latency is measured."""
    return {"data": title, "rows": options.latency_rows, "omegas": list(options.omegas) if streams(session) else [],
            "independent_segments": independent(session), "temperature": session.plan.recipe.generate.temperature}


def _conditions(session: Session, asr: Session | None, options: Options) -> dict[str, Any]:
    """Give all that numbers depend on, except the data and what scoring again replaces."""
    recipe = session.plan.recipe
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "recipe": recipe.name, "run": recipe.fingerprint(), "weights": _weights(session), "seed": recipe.seed,
        "decoding": {"temperature": 0.0, "max_new_tokens": recipe.generate.max_new_tokens,
                     "speak_after": recipe.generate.speak_after},
        "speaks_with": options.speaks_with,
        "asr": {"recipe": asr.plan.recipe.name, "run": asr.plan.recipe.fingerprint(), "weights": _weights(asr)}
        if asr else None,
        **({"after_stage": options.stage} if options.stage else {}), "limit": options.limit, "batch_size": options.batch_size,
        "hardware": manifest.hardware(),
        "versions": {**manifest.versions(), "jiwer": version("jiwer")},
    }


def _weights(session: Session) -> str:
    """Give 16 hex digits over the weights of all parts."""
    return hashlib.sha256(json.dumps(hashes(session.model), sort_keys=True).encode()).hexdigest()[:16]
