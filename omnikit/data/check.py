"""Every row of a dataset read as training reads it, without the model: what is wrong, and of what kind. Prints nothing.

A reader may offer `problems(index)`, a list of DataErrors, to name more than the first mistake of a row.
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
from omnikit.data.batch.signals import spoken, waveform
from omnikit.errors import ConfigError, DataError, OmnikitError, nearest
from omnikit.plan.plan import Plan

RATE = 16000  # at which the waves of answers are read where no stage says another


@dataclass(frozen=True)
class Problem:
    """One mistake of one row.

    Args:
        dataset: its name in the recipe.
        row: the row's id; "" where it has none that could be read.
        index: the row's place in the dataset, from 0.
        kind: two or three words to count by.
        sentence: what is wrong, where, and what to do.
    """

    dataset: str
    row: str
    index: int
    kind: str
    sentence: str


@dataclass(frozen=True)
class Checked:
    """A row that was read: its id (None where it could not be read) and what is wrong with it, but for duplicates."""

    id: str | None
    problems: tuple[Problem, ...]


class Checker(Dataset[Checked]):
    """Checks the rows of one dataset for every stage of a plan that reads it; where none does, as conversations to learn from.

    Args:
        plan: the wiring.
        dataset: its name in the recipe.
        reader: the dataset; of its duplicates only the second and later ones are problems.
    """

    def __init__(self, plan: Plan, dataset: str, reader: Reader) -> None:
        self.dataset, self.reader = dataset, reader
        self.collators, self.speaks = _collators(plan, dataset)

    def problems(self, advance: Callable[[], None], workers: int = 0) -> Iterator[Problem]:
        """Give what is wrong, row by row, read in so many other processes; calls `advance` behind each row."""
        rows = DataLoader(self, batch_size=None, num_workers=workers)
        seen: dict[str, int] = {}
        for index, row in enumerate(rows):
            if row.id is not None and row.id in seen:
                yield Problem(self.dataset, row.id, index, "duplicate id", f"Row {row.id} is row {index} of {self.dataset}, but"
                              f" row {seen[row.id]} has the same id; give one of them another.")
            elif row.id is not None:
                seen[row.id] = index
            yield from row.problems
            advance()

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> Checked:
        sample, errors = self._read(index)
        name = sample.id if sample else ""
        errors = errors or (self._collated(sample) if sample else [])
        found = tuple(Problem(self.dataset, error.row or name, index, error.kind, str(error)) for error in errors)
        return Checked(sample.id if sample else None, found)

    def _read(self, index: int) -> tuple[Sample | None, list[DataError]]:
        try:
            sample = self.reader[index]
        except DataError as error:
            problems = reader_options(self.reader).problems
            return None, (problems(index) if problems else []) or [error]
        return sample, []

    def _collated(self, sample: Sample) -> list[DataError]:
        """Give the first mistake that each stage would stop at; the same one is given once."""
        found: dict[str, DataError] = {}
        collations = [partial(_collate, collator) for collator in self.collators]
        looks: list[Callable[[Sample], None]] = [_check_roles, *collations, self._speech]
        for look in looks:
            try:
                look(sample)
            except DataError as error:
                found.setdefault(str(error), error)
        return list(found.values())

    def _speech(self, sample: Sample) -> None:
        """Read the sound of the answers, where a stage learns from it."""
        parts = spoken(sample)
        if self.speaks and not parts:
            raise DataError(f"Row {sample.id} has no speech in its answer, but a stage learns from it; give it audio or codes,"
                            " or leave the row out.", kind="no speech")
        for part in parts:
            if self.speaks and part.codes is None:
                waveform(part, RATE, sample.id)


@dataclass(frozen=True)
class DataReport:
    """What was found in the datasets of a recipe.

    Args:
        recipe: its name.
        rows: dataset → rows that were read; 0 where it could not be opened.
    """

    recipe: str
    rows: dict[str, int]
    problems: tuple[Problem, ...]

    def bad_rows(self, dataset: str) -> int:
        """Give the number of rows with a problem."""
        return len({problem.index for problem in self.problems if problem.dataset == dataset})

    def as_json(self) -> dict[str, object]:
        """Give rows and bad rows of each dataset, problems by kind, and all problems."""
        datasets = {name: {"rows": rows, "bad": self.bad_rows(name)} for name, rows in self.rows.items()}
        problems = [vars(problem) for problem in self.problems]
        return {"recipe": self.recipe, "datasets": datasets, "kinds": counts(self.problems), "problems": problems}


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
    problems: list[Problem] = []
    for name in names or plan.readers:
        try:
            reader = plan.readers[name].build()
        except OmnikitError as error:
            rows[name] = 0
            problems.append(Problem(name, "", 0, "no dataset", str(error)))
            continue
        rows[name] = len(reader)
        problems += Checker(plan, name, reader).problems(partial(advance, name, rows[name]), workers)
    return DataReport(plan.recipe.name, rows, tuple(problems))


def counts(problems: Sequence[Problem]) -> dict[str, int]:
    """Give kind → problems, the most frequent first."""
    return dict(sorted(Counter(problem.kind for problem in problems).items(), key=lambda item: (-item[1], item[0])))


def _collators(plan: Plan, dataset: str) -> tuple[list[Collator], bool]:
    """Give a collator for each set of losses that reads a dataset, and whether a stage learns from its answers' sound.

    Codes are left out of the targets: what makes them may not be trained yet. Where no stage reads the dataset, the text is.
    """
    losses: dict[tuple[str, ...], None] = {}
    speaks = False
    for stage in plan.stages.values():
        if dataset not in stage.datasets:
            continue
        if stage.stage.objective == "heads":
            losses[tuple(stage.stage.loss)] = None
        speaks |= stage.stage.objective in ("units", "vocoder", "codec")
    collators = []
    if not any(dataset in stage.datasets for stage in plan.stages.values()):
        losses = {(name,): None for name, output in plan.outputs.items() if output.per_token}
    for branches in losses:
        collator = Collator(plan, list(branches))
        collator.wanted = tuple(name for name in branches if plan.outputs[name].head.target != "codes")
        speaks |= len(collator.wanted) < len(branches)
        collators.append(collator)
    return collators, speaks


def _collate(collator: Collator, sample: Sample) -> None:
    collator([sample])


def _check_roles(sample: Sample) -> None:
    """Refuse a conversation in which nobody asks, or one speaks twice."""
    roles = [message.role for message in sample.messages if message.role != "system"]
    if roles[:1] != ["user"] or any(first == second for first, second in pairwise(roles)):
        raise DataError(f"Row {sample.id} has the turns {', '.join(roles) or 'none'}, but user and assistant must take turns,"
                        " the user first; mend them.", kind="wrong roles")
