"""What a check found, and how a check states it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "failed", "skipped", "expected failure"]


class CheckFailure(AssertionError):  # noqa: N818  # pytest shows it as an assertion
    """A component does not do what its contract states; its text gives what was found and what was expected."""


class NotApplicable(Exception):  # noqa: N818  # it is a result, not an error
    """A check has nothing to look at in this component; its text is the reason."""


@dataclass(frozen=True)
class CheckResult:
    """What one check found in one component.

    Args:
        kind: of the component: "encoder".
        component: its name in the registry, or the name of its class where it has none.
        check: name of the check: "output_dim".
        message: why it failed, was skipped or is expected to fail; "" where it passed.
    """

    kind: str
    component: str
    check: str
    status: Status
    message: str = ""


def counted(results: Iterable[CheckResult]) -> dict[str, int]:
    """Give how many results have each status, those that occur."""
    counts: dict[str, int] = {}
    for result in results:
        counts[result.status] = counts.get(result.status, 0) + 1
    return counts
