"""Datasets of all stages to come and of the evaluation opened before the first stage: an error of a late one does not wait."""

from collections.abc import Collection

from omnikit.contracts.optional import row_options
from omnikit.contracts.types import ContentPart
from omnikit.data.batch.signals import answer_audio, check_header, question_media
from omnikit.errors import ConfigError, DataError, OmnikitError
from omnikit.plan.plan import Plan
from omnikit.recipe.media import MediaLimits

FIRST = 3  # rows that are read of each dataset


def check_datasets(plan: Plan, stages: Collection[str]) -> None:
    """Open each dataset that these stages or the evaluation name, and read its first rows and their media's headers.

    A dataset that makes its recordings itself is not opened: they are made while earlier stages are trained.

    Raises:
        ConfigError, DataError: one sentence for each dataset that cannot be read.
    """
    names = [name for stage in stages for name in (*plan.stages[stage].datasets, *plan.stages[stage].held_out)]
    names += [name for name in plan.recipe.evaluate.data.values() if stages and name in plan.readers]
    errors = [error for name in dict.fromkeys(names) if (error := _error(plan, name))]
    if errors:
        kind = ConfigError if all(isinstance(error, ConfigError) for error in errors) else DataError
        raise errors[0] if len(errors) == 1 else kind(*(sentence for error in errors for sentence in error.sentences))


def _error(plan: Plan, name: str) -> OmnikitError | None:
    """Give what is wrong with a dataset, or None."""
    if row_options(plan.readers[name]).records:
        return None
    policy = plan.recipe.row_policies.get(name)
    try:
        rows = plan.readers[name].build()
        for index in range(0 if policy and policy.on_error == "skip" else min(FIRST, len(rows))):
            sample = rows[index]
            for part in (*question_media(sample), *(one for one in answer_audio(sample) if one.codes is None)):
                _check_medium(sample.id, part, plan.recipe.media)
    except OmnikitError as error:
        return error
    return None


def _check_medium(row: str, part: ContentPart, limits: MediaLimits) -> None:
    try:
        check_header(part, limits)
    except DataError as error:
        raise DataError(f"Row {row}: {error}", kind=error.kind) from error
