"""What is scored: datasets of `evaluate.data` by their titles, and files of rows that the recipe does not name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omnikit.contracts.configs import ReaderConfig
from omnikit.contracts.types import Sample
from omnikit.data.batch.signals import question_media
from omnikit.data.formats import recognise
from omnikit.errors import ConfigError, DataError, PlanError, nearest
from omnikit.evaluation.runner import can_be_scored, stratified
from omnikit.plan.plan import Plan

RESERVED = ("latency",)  # latency.jsonl holds the timings
MEDIA = ("audio", "image", "video")


@dataclass(frozen=True)
class EvalDataset:
    """A dataset that is scored.

    Args:
        name: of a dataset of the recipe, or the file as it was named.
    """

    name: str
    reader: ReaderConfig


def datasets(plan: Plan, words: Sequence[str] = ()) -> dict[str, EvalDataset]:
    """Give title → dataset of what is scored.

    Args:
        words: titles of `evaluate.data`, files of rows, TITLE=FILE; none of them for all of `evaluate.data`. A file without a
            title has its name without the ending.

    Raises:
        PlanError: a title that `evaluate.data` does not have, or there is nothing to score.
        ConfigError: a title that is taken or cannot be a file's name, or a file of no known format.
        DataError: a file that is not there or cannot be read.
    """
    own = plan.recipe.evaluate.data
    if not own and not words:
        raise PlanError(f"Recipe {plan.recipe.name} names no data under `evaluate`, so there is nothing to score; name a file"
                        " with --data rows.jsonl.")
    if "latency" in own:
        raise PlanError(f"Recipe {plan.recipe.name} has evaluate.data.latency, but latency.jsonl holds the timings; give that"
                        " dataset another title.")
    found: dict[str, EvalDataset] = {}
    for word in words or own:
        title, dataset = _dataset(plan, word, own)
        if title in found:
            raise ConfigError(f"--data gives two datasets the title {title}; give one another: --data TITLE=FILE.")
        found[title] = dataset
    return {title: found[title] for title in (*(title for title in own if title in found), *found)}


def rows(plan: Plan, dataset: EvalDataset, limit: int | None) -> list[Sample]:
    """Give the rows that are scored, at most `limit`, of every kind as many.

    Raises:
        DataError: the dataset cannot be read, or has a row that cannot be scored.
    """
    reader = dataset.reader.build()
    indices: Sequence[int] = range(len(reader))
    if limit is not None:
        indices = stratified([kind(reader[index]) for index in indices], limit)  # samples may hold audio: none is kept
    found = [reader[index] for index in indices]
    problems = [problem for sample in found if (problem := _problem(plan, sample))]
    if problems:
        others = f" ({len(problems)} of {len(found)} rows cannot be scored.)" if len(problems) > 1 else ""
        raise DataError(f"{dataset.name}: {problems[0]}{others}")
    return found


def kind(sample: Sample) -> str:
    """Give what `limit` takes as many rows of as of others."""
    return str(sample.facts.get("kind", ""))


def _dataset(plan: Plan, word: str, own: Mapping[str, str]) -> tuple[str, EvalDataset]:
    if word in own:
        return word, EvalDataset(own[word], plan.readers[own[word]])
    title, _, file = word.rpartition("=") if not Path(word).is_file() else ("", "", word)
    if not title and not _looks_like_file(file):
        raise PlanError(f"{plan.recipe.name} has no evaluate.data.{word}.{nearest(word, own)} Titles: {', '.join(own)}."
                        " A file of rows is named with its ending: rows.jsonl.")
    title = title or Path(file).stem
    if title in own or title in RESERVED:
        what = "a dataset of evaluate.data" if title in own else "what holds the timings"
        raise ConfigError(f"--data {word} has the title {title}, which is {what}; give it another: --data TITLE={file}.")
    if title != Path(title).name or title.startswith("."):
        raise ConfigError(f"--data {word} has the title {title!r}, but a title names a file of the report; give it one without"
                          f" slashes: --data TITLE={file}.")
    return title, EvalDataset(file, recognise(Path(file)).config)


def _looks_like_file(word: str) -> bool:
    return bool(Path(word).suffix) or "/" in word or Path(word).exists()


def _problem(plan: Plan, sample: Sample) -> str | None:
    """Give in a sentence why a row cannot be scored; None where it can."""
    if not can_be_scored(plan, sample):
        return f"Row {sample.id} has no answer, so it cannot be scored; give it one."
    media = {medium for branch in plan.inputs.values() for medium in branch.media}
    for part in question_media(sample):
        if part.type in MEDIA and part.type not in media and plan.backbone is not None:
            return (f"Row {sample.id} holds {part.type}, but {plan.recipe.name} takes {', '.join(sorted({'text', *media}))};"
                    " leave such rows out.")
    return None
