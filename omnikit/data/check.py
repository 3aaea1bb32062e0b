"""Check every row of a dataset as training reads it, without the model: what is wrong, and of what kind. Prints nothing.

A reader may offer `problems(index)`, a list of DataErrors, to name more than the first problem of a row.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from torch.utils.data import DataLoader, Dataset

from omnikit.contracts.optional import reader_options
from omnikit.contracts.protocols import Reader
from omnikit.contracts.types import Sample
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.signals import answer_audio, check_header, load_waveform, question_media
from omnikit.data.batch.worker_errors import plain_errors
from omnikit.data.text.text_checks import check_text, check_typed
from omnikit.errors import ConfigError, DataError, OmnikitError, nearest
from omnikit.plan.plan import Plan
from omnikit.recipe.media import MediaLimits

HARMLESS = ("control token",)  # kinds
DEFAULT_RATE = 16000  # Hz at which the audio of answers is read


@dataclass(frozen=True)
class RowProblem:
    """One problem of one row.

    Args:
        dataset: its name in the recipe.
        row: the row's id; "" where it has none that could be read.
        index: the row's index in the dataset, from 0.
        kind: two or three words to count by.
        sentence: what is wrong, where, and what to do.
        harmless: the row can be trained on as it is.
    """

    dataset: str
    row: str
    index: int
    kind: str
    sentence: str
    harmless: bool = False


@dataclass(frozen=True)
class CheckedRow:
    """A row that was read: its id (None where it could not be read) and what is wrong with it, but for duplicates."""

    id: str | None
    problems: tuple[RowProblem, ...]


class RepeatedIds:
    """Owns the ids of a dataset's rows so far: of a repeated one only the second and later rows are problems."""

    def __init__(self, dataset: str) -> None:
        self.dataset = dataset
        self._first: dict[str, int] = {}  # id → index

    def __call__(self, row: str | None, index: int) -> list[RowProblem]:
        """Give what is wrong with the id of the next row; None for one that has none that could be read."""
        if row is None or self._first.setdefault(row, index) == index:
            return []
        return [RowProblem(self.dataset, row, index, "duplicate id", f"Row {row} is row {index} of {self.dataset}, but row"
                           f" {self._first[row]} has the same id; give one of them another.")]


class DatasetChecker(Dataset[CheckedRow]):
    """Checks the rows of one dataset for every stage of a plan that reads it; where none does, as conversations to train on.

    Args:
        plan: the wiring.
        dataset: its name in the recipe.
        reader: the dataset; of its duplicates only the second and later ones are problems.
    """

    def __init__(self, plan: Plan, dataset: str, reader: Reader) -> None:
        self.dataset, self.reader, self.limits = dataset, reader, plan.recipe.media
        self.collators, self.learns_speech = _collators(plan, dataset)

    def problems(self, advance: Callable[[], None], workers: int = 0) -> Iterator[RowProblem]:
        """Give what is wrong, row by row, read in so many other processes; calls `advance` behind each row."""
        rows = DataLoader(self, batch_size=None, num_workers=workers)
        repeated = RepeatedIds(self.dataset)
        with plain_errors():
            for index, row in enumerate(rows):
                yield from repeated(row.id, index)
                yield from row.problems
                advance()

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> CheckedRow:
        sample, errors = read_row(self.reader, index)
        name = sample.id if sample else ""
        errors = errors or (self._collate_errors(sample) if sample else [])
        found = tuple(RowProblem(self.dataset, error.row or name, index, error.kind, str(error), error.kind in HARMLESS)
                      for error in errors)
        return CheckedRow(sample.id if sample else None, found)

    def _collate_errors(self, sample: Sample) -> list[DataError]:
        """Give the first error that each stage would stop at; the same one is given once."""
        found: dict[str, DataError] = {}
        collations = [partial(_collate, collator) for collator in self.collators]
        texts = [partial(check_text, collator.tokenizer) for collator in self.collators[:1] if collator.tokenizer]
        typed = [partial(check_typed, collator.tokenizer) for collator in self.collators[:1] if collator.tokenizer]
        checks: list[Callable[[Sample], None]] = [_check_roles, *collations, self._check_speech, *texts, *typed]
        for check in checks:
            try:
                check(sample)
            except DataError as error:
                found.setdefault(str(error), error)
        return list(found.values())

    def _check_speech(self, sample: Sample) -> None:
        """Read the audio of the answers, where a stage is trained on it."""
        parts = answer_audio(sample)
        if self.learns_speech and not parts:
            raise DataError(f"Row {sample.id} has no speech in its answer, but a stage is trained on it; give it audio or"
                            " codes, or leave the row out.", kind="no speech")
        for part in parts:
            if self.learns_speech and part.codes is None:
                load_waveform(part, DEFAULT_RATE, sample.id, self.limits)


@dataclass(frozen=True)
class DataReport:
    """What was found in the datasets of a recipe.

    Args:
        recipe: its name.
        rows: dataset → rows that were read; 0 where it could not be opened.
    """

    recipe: str
    rows: dict[str, int]
    problems: tuple[RowProblem, ...]

    def bad_rows(self, dataset: str) -> int:
        """Give the number of rows with a problem."""
        return len({problem.index for problem in self.problems if problem.dataset == dataset and not problem.harmless})

    def as_json(self) -> dict[str, object]:
        """Give rows and bad rows of each dataset, problems by kind, and all problems."""
        datasets = {name: {"rows": rows, "bad": self.bad_rows(name)} for name, rows in self.rows.items()}
        problems = [vars(problem) for problem in self.problems]
        return {"recipe": self.recipe, "datasets": datasets, "kinds": count_by_kind(self.problems), "problems": problems}


def read_row(reader: Reader, index: int) -> tuple[Sample | None, list[DataError]]:
    """Give a row, or all that is wrong with it as far as its reader can tell."""
    try:
        return reader[index], []
    except DataError as error:
        problems = reader_options(reader).problems
        return None, (problems(index) if problems else []) or [error]


def read_problems(dataset: str, reader: Reader, index: int, repeated: RepeatedIds, limits: MediaLimits) -> list[RowProblem]:
    """Give what is wrong with a row, for a dataset that no recipe trains on: its id, what its reader reads, media headers."""
    sample, errors = read_row(reader, index)
    if sample:
        for part in (*question_media(sample), *answer_audio(sample)):
            try:
                check_header(part, limits)
            except DataError as error:
                errors.append(DataError(f"Row {sample.id}: {error}", kind=error.kind))
    name = sample.id if sample else ""
    return [*repeated(name or None, index),
            *(RowProblem(dataset, error.row or name, index, error.kind, str(error)) for error in errors)]


def check_datasets(plan: Plan, names: Sequence[str] = (), *, workers: int = 0,
                   advance: Callable[[str, int], None] = lambda dataset, rows: None) -> DataReport:
    """Read every row of a plan's datasets as training would.

    Args:
        names: datasets; empty for all.
        workers: other processes that read; 0 for none.
        advance: called behind each row with its dataset and the dataset's number of rows.

    Raises:
        ConfigError: the recipe has no dataset of that name.
    """
    for name in names:
        if name not in plan.readers:
            raise ConfigError(f"{name!r} is not a dataset of {plan.recipe.name}.{nearest(name, plan.readers)} It has:"
                              f" {', '.join(plan.readers) or 'none'}.")
    rows: dict[str, int] = {}
    problems: list[RowProblem] = []
    for name in names or plan.readers:
        try:
            reader = plan.readers[name].build()
        except OmnikitError as error:
            rows[name] = 0
            problems.append(RowProblem(name, "", 0, "no dataset", str(error)))
            continue
        rows[name] = len(reader)
        problems += DatasetChecker(plan, name, reader).problems(partial(advance, name, rows[name]), workers)
    return DataReport(plan.recipe.name, rows, tuple(problems))


def count_by_kind(problems: Sequence[RowProblem]) -> dict[str, int]:
    """Give kind → problems, the most frequent first."""
    return dict(sorted(Counter(problem.kind for problem in problems).items(), key=lambda item: (-item[1], item[0])))


def _collators(plan: Plan, dataset: str) -> tuple[list[Collator], bool]:
    """Give a collator for each set of losses that reads a dataset, and whether a stage is trained on its answers' audio.

    Codes are left out of the targets: their codec may not be trained yet. Where no stage reads the dataset, its text is used.
    """
    losses: dict[tuple[str, ...], None] = {}
    learns_speech = False
    for stage in plan.stages.values():
        if dataset not in stage.datasets:
            continue
        if stage.stage.objective == "heads":
            losses[tuple(stage.stage.loss)] = None
        learns_speech |= stage.stage.objective in ("units", "vocoder", "codec")
    collators = []
    if not any(dataset in stage.datasets for stage in plan.stages.values()):
        losses = {(name,): None for name, output in plan.outputs.items() if output.per_token}
    for branches in losses:
        collator = Collator(plan, list(branches))
        collator.branches = tuple(name for name in branches if plan.outputs[name].head.target != "codes")
        learns_speech |= len(collator.branches) < len(branches)
        collators.append(collator)
    return collators, learns_speech


def _collate(collator: Collator, sample: Sample) -> None:
    collator([sample])


def _check_roles(sample: Sample) -> None:
    """Refuse a conversation that has no question, or two messages of one role in sequence."""
    roles = [message.role for message in sample.messages if message.role != "system"]
    if roles[:1] != ["user"] or any(first == second for first, second in pairwise(roles)):
        raise DataError(f"Row {sample.id} has the turns {', '.join(roles) or 'none'}, but user and assistant must take turns,"
                        " the user first; fix the order.", kind="wrong roles")
