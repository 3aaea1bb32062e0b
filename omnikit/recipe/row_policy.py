"""What happens to rows of a dataset that cannot be used, or shall not be: keys of `data.NAME` beside its reader's fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from omnikit.recipe.branches import Choice
from omnikit.recipe.schema import construct


@dataclass(frozen=True)
class RowFilter:
    """Which good rows are left out.

    Args:
        max_seconds: rows whose longest audio in a question is longer.
        min_seconds: rows whose shortest audio in a question is shorter.
        max_tokens: rows that have more positions in the backbone, media included.
    """

    max_seconds: float | None = None
    min_seconds: float | None = None
    max_tokens: int | None = None


@dataclass(frozen=True)
class RowPolicy:
    """What training does with a row that cannot be used. The next good row of the dataset takes its place.

    Args:
        on_error: "stop" ends training with what is wrong; "skip" leaves the row out and lists it in the stage's skipped.jsonl.
        max_skipped: rows with errors that may be skipped; one more stops. None: any number.
        filter: good rows that are left out; they are listed too, and no error.
    """

    on_error: Literal["stop", "skip"] = "stop"
    max_skipped: int | None = None
    filter: RowFilter = field(default_factory=RowFilter)

    @property
    def is_default(self) -> bool:
        """Whether every row is used, and an error stops."""
        return self == RowPolicy(max_skipped=self.max_skipped)


KEYS = ("on_error", "max_skipped", "filter")
DEFAULTS: dict[str, Any] = {"on_error": "stop", "max_skipped": None,
                            "filter": {"max_seconds": None, "min_seconds": None, "max_tokens": None}}


def split_policy(where: str, choice: Choice, errors: list[str]) -> tuple[Choice, RowPolicy]:
    """Give a dataset's reader without the keys of the policy, and the policy."""
    given: Mapping[str, Any] = {key: choice.fields[key] for key in KEYS if choice.fields.get(key) is not None}
    policy = construct(RowPolicy, given, where, errors) or RowPolicy()
    limits = {"max_skipped": policy.max_skipped, **{f"filter.{key}": value for key, value in vars(policy.filter).items()}}
    errors += [f"{where}.{key} is {value}, but must be at least 0." for key, value in limits.items()
               if value is not None and not value >= 0]
    return Choice(choice.use, {key: value for key, value in choice.fields.items() if key not in KEYS}), policy
