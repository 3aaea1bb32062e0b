"""Runs compared by their saved answers: metrics on the rows that all of them answered, and how far each is from the first.

Reads evaluation reports alone; a difference has an interval from answers to the same rows, so that luck in the rows that were
drawn counts once, not twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omnikit.errors import ConfigError, RunError, nearest
from omnikit.evaluation import aggregate, conditions, report
from omnikit.evaluation.estimates import Estimate, difference, fraction, ratio
from omnikit.evaluation.metrics import Pair, character_errors, exact, word_errors
from omnikit.evaluation.records import Record
from omnikit.evaluation.report import EvalRun
from omnikit.store.facts import flat
from omnikit.store.runs import find

EXAMPLES = 8  # answers that are shown where one run is right and another wrong
OWN_CONDITIONS = ("date", "recipe", "run", "weights", "data", "latency", "seed", "normaliser", "intervals")  # not compared
TIMES = ("ttft", "time_to_first_audio", "total_time", "real_time_factor")


@dataclass(frozen=True)
class ComparedRun:
    """A run that is compared.

    Args:
        label: as it was named.
        folder: of the run; None where the folder of a report was named that lies in none.
    """

    label: str
    folder: Path | None
    evaluation: EvalRun


@dataclass(frozen=True)
class MetricLine:
    """One metric of each run, in their order; None where it was not measured.

    Args:
        differences: how far each run is from the first, on the rows where both have the metric; that of the first is None.
    """

    metric: str
    values: tuple[Estimate | None, ...]
    differences: tuple[Estimate | None, ...]


@dataclass(frozen=True)
class ExactCounts:
    """How many of the rows the first run and another answered exactly: both, only one of them, none."""

    both: int
    only_first: int
    only_other: int
    neither: int


@dataclass(frozen=True)
class DatasetComparison:
    """One dataset.

    Args:
        there: indices of the runs that were scored on it.
        rows: that all of them answered.
        left_out: rows that not all of them answered.
        note: why nothing can be compared; "" where it can be.
        exact: of each run beside the first; None for the first, and where no text is expected.
        examples: a row of each run that is there, where not all answers are right and not all are wrong.
    """

    title: str
    there: tuple[int, ...] = ()
    rows: int = 0
    left_out: int = 0
    note: str = ""
    lines: tuple[MetricLine, ...] = ()
    exact: tuple[ExactCounts | None, ...] = ()
    examples: tuple[tuple[Record, ...], ...] = ()


@dataclass(frozen=True)
class RunsComparison:
    """Runs compared.

    Args:
        conditions: that differ: place → value of each run.
        latency: setting and number → estimate of each run.
    """

    runs: tuple[ComparedRun, ...]
    datasets: tuple[DatasetComparison, ...]
    latency: dict[tuple[str, str], tuple[Estimate | None, ...]] = field(default_factory=dict)
    conditions: dict[str, tuple[object, ...]] = field(default_factory=dict)


def open_runs(names: Sequence[str]) -> list[ComparedRun]:
    """Open the reports of runs: a run's folder, a recipe's name, or the folder of a report (RUN/eval_after_STAGE).

    Raises:
        ConfigError: fewer than two runs, or one twice.
        RunError: there is no such run, or it was not scored.
    """
    if len(names) < 2:
        raise ConfigError("compare takes at least two runs; write omnikit compare RUN RUN, or omnikit eval RUN for one.")
    found = [_open(name) for name in names]
    folders = [one.evaluation.folder.resolve() for one in found]
    for number, folder in enumerate(folders):
        if folder in folders[:number]:
            raise ConfigError(f"{names[number]} and {names[folders.index(folder)]} are the same run; name two.")
    return found


def compare_runs(runs: Sequence[ComparedRun], titles: Sequence[str] = ()) -> RunsComparison:
    """Compare runs on the datasets that at least two of them were scored on.

    Raises:
        ConfigError: a title that no run was scored on, or no dataset that two of them share.
    """
    scored = list(dict.fromkeys(title for run in runs for title in run.evaluation.records))
    for title in titles:
        if title not in scored:
            raise ConfigError(f"No run was scored on {title}.{nearest(title, scored)} Titles: {', '.join(scored)}.")
    chosen = [title for title in titles or scored if sum(title in run.evaluation.records for run in runs) > 1]
    if not chosen:
        raise ConfigError(f"{', '.join(run.label for run in runs)} were not scored on the same data; score them with omnikit"
                          " eval RUN --data TITLE.")
    found = tuple(_dataset(runs, title) for title in chosen)
    return RunsComparison(tuple(runs), found, _latency(runs), _conditions(runs, chosen))


def _open(name: str) -> ComparedRun:
    if (Path(name) / conditions.FILE).is_file():
        above = Path(name).resolve().parent
        return ComparedRun(name, above if any(above.glob("[!.]*/config.yaml")) else None, report.read(Path(name)))
    folder = find(name)
    if not (folder / "eval" / conditions.FILE).is_file():
        raise RunError(f"{name} was not scored, so it cannot be compared; score it with omnikit eval {name}.")
    return ComparedRun(name, folder, report.read(folder / "eval"))


# ---- answers ---------------------------------------------------------------------------------------------------------


def _errors(measure: Callable[[Sequence[str], Sequence[str]], list[Pair]],
            texts: Callable[[Record], tuple[str | None, str]]) -> Callable[[Record], list[Pair]]:
    def pairs(row: Record) -> list[Pair]:
        found, expected = texts(row)
        return [] if found is None else measure([found], [expected])
    return pairs


def _right(answer: Callable[[Record], str | None]) -> Callable[[Record], list[Pair]]:
    def pairs(row: Record) -> list[Pair]:
        found = answer(row)
        return [(float(exact(found, row.expected)), 1.0)] if row.scored and found is not None else []
    return pairs


def _spoken(row: Record) -> tuple[str | None, str]:
    return row.speech_transcript, row.answer


def _written(row: Record) -> tuple[str | None, str]:
    return (row.answer if row.scored else None), row.expected


PAIRS: Mapping[str, Callable[[Record], list[Pair]]] = {  # of each metric its numerator and denominator of a row
    "exact": _right(lambda row: row.answer), "shuffled_audio": _right(lambda row: row.shuffled_audio),
    "shuffled_image": _right(lambda row: row.shuffled_image), "shuffled_video": _right(lambda row: row.shuffled_video),
    "text_wer": _errors(word_errors, _written), "text_cer": _errors(character_errors, _written),
    "transcript_wer": lambda row: word_errors(row.transcripts, row.reference_transcripts[:len(row.transcripts)]),
    "transcript_cer": lambda row: character_errors(row.transcripts, row.reference_transcripts[:len(row.transcripts)]),
    "speech_wer": _errors(word_errors, _spoken), "speech_cer": _errors(character_errors, _spoken),
}
ERRORS = [name for name in PAIRS if name.endswith("er")]  # the others are fractions of rows


def _dataset(runs: Sequence[ComparedRun], title: str) -> DatasetComparison:
    """Compare runs on the rows of a dataset that all of those answered which were scored on it."""
    there = tuple(index for index, run in enumerate(runs) if title in run.evaluation.records)
    prints = {str(runs[index].evaluation.data(title)["fingerprint"]) for index in there}
    if len(prints) > 1:
        return DatasetComparison(title, note="the runs were scored on other data under this title")
    by_id = {index: {row.id: row for row in runs[index].evaluation.records[title]} for index in there}
    common = [name for name in by_id[there[0]] if all(name in rows for rows in by_id.values())]
    if not common:
        return DatasetComparison(title, note="the runs have no row in common; score them with the same --limit")
    most = max(map(len, by_id.values()))
    answered = [[by_id[index][name] for name in common] if index in there else [] for index in range(len(runs))]
    measured = {name: [[pairs(row) for row in rows] for rows in answered] for name, pairs in PAIRS.items()}
    lines = tuple(_line(name, found) for name, found in measured.items() if any(any(rows) for rows in found))
    return DatasetComparison(title, there, len(common), most - len(common), "", lines, tuple(_counts(answered)),
                             tuple(_examples([answered[index] for index in there])))


def _line(name: str, found: Sequence[Sequence[list[Pair]]]) -> MetricLine:
    """Give a metric from (run, row) → pairs."""
    values = tuple(_estimate(name, [_sum(pairs) for pairs in rows if pairs]) for rows in found)
    first = found[0]
    differences = tuple(None if number == 0 else _difference(first, rows) for number, rows in enumerate(found))
    return MetricLine(name, values, differences)


def _estimate(name: str, pairs: Sequence[Pair]) -> Estimate | None:
    return ratio(pairs) if name in ERRORS else fraction([bool(part) for part, _ in pairs])


def _difference(first: Sequence[list[Pair]], other: Sequence[list[Pair]]) -> Estimate | None:
    both = [(_sum(a), _sum(b)) for a, b in zip(first, other, strict=False) if a and b]
    return difference([a for a, _ in both], [b for _, b in both]) if both else None


def _sum(pairs: Sequence[Pair]) -> Pair:
    return sum(part for part, _ in pairs), sum(whole for _, whole in pairs)


def _is_exact(row: Record) -> bool:
    return exact(row.answer, row.expected)


def _counts(answered: Sequence[Sequence[Record]]) -> list[ExactCounts | None]:
    found: list[ExactCounts | None] = [None]
    for rows in answered[1:]:
        both = [(_is_exact(a), _is_exact(b)) for a, b in zip(answered[0], rows, strict=False) if a.scored]
        found.append(ExactCounts(*(both.count(kind) for kind in ((True, True), (True, False), (False, True), (False, False))))
                     if both else None)
    return found


def _examples(answered: Sequence[Sequence[Record]]) -> list[tuple[Record, ...]]:
    mixed = [rows for rows in zip(*answered, strict=True) if rows[0].scored and len(set(map(_is_exact, rows))) > 1]
    return mixed[:EXAMPLES]


# ---- conditions ------------------------------------------------------------------------------------------------------


def _latency(runs: Sequence[ComparedRun]) -> dict[tuple[str, str], tuple[Estimate | None, ...]]:
    found = [aggregate.latency(run.evaluation.timings) for run in runs]
    settings = dict.fromkeys(setting for one in found for setting in one)
    lines = {(setting, name): tuple(one.get(setting, {}).get(name) for one in found) for setting in settings for name in TIMES}
    return {place: values for place, values in lines.items() if any(values)}


def _conditions(runs: Sequence[ComparedRun], titles: Sequence[str]) -> dict[str, tuple[object, ...]]:
    """Give the conditions that differ, of the first dataset that each run was scored on."""
    found = []
    for run in runs:
        title = next(title for title in (*titles, *run.evaluation.ids) if title in run.evaluation.ids)
        known = run.evaluation.conditions[run.evaluation.ids[title]]
        found.append(flat({key: value for key, value in known.items() if key not in OWN_CONDITIONS}))
    values = {place: tuple(one.get(place) for one in found) for place in dict.fromkeys(place for one in found for place in one)}
    return {place: some for place, some in values.items() if any(one != some[0] for one in some)}
