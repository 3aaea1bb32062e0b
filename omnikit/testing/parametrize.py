"""Every check as a pytest case of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omnikit.testing.check import Check
from omnikit.testing.results import CheckFailure
from omnikit.testing.suite import Session, checks_of, require_names

if TYPE_CHECKING:
    import pytest

Expected = Mapping[str, str] | Callable[[Any], Mapping[str, str]]
"""Check → why it fails, or a function that gives that for a configuration."""


class CheckCase:
    """One check of one component, called by the test."""

    def __init__(self, session: Session, index: int, check: Check) -> None:
        self._session, self._index, self._check = session, index, check

    def __call__(self, config: Any) -> None:
        """Run it; raises CheckFailure, or skips the test. `config` is the component that the test got beside it."""
        import pytest

        result = self._session.result(self._index, self._check)
        if result.status == "skipped":
            pytest.skip(result.message)
        if result.status == "failed":
            raise CheckFailure(f"{result.kind} {result.component}, {result.check}: {result.message}")


def parametrize_with_checks(configs: Sequence[Any], expected_failures: Expected | None = None) -> pytest.MarkDecorator:
    """Give a pytest mark that runs a test for each check of each component; the test takes `config` and `check`.

        @parametrize_with_checks([Frames(dim=8)])
        def test_conforms(config, check):
            check(config)

    Args:
        expected_failures: check → why it fails; a function of the configuration where they differ. Its tests are marked xfail,
            strict: one that passes is a failure.

    Raises:
        ConfigError: a configuration is not a component's, or an expected failure names no check.
    """
    import pytest

    session, cases = Session(configs), []
    for index, component in enumerate(session.components):
        given = expected_failures(component.config) if callable(expected_failures) else expected_failures or {}
        expected = require_names(given)
        for check in checks_of(component.kind):
            marks = [pytest.mark.xfail(reason=expected[check.name], strict=True)] if check.name in expected else []
            case = CheckCase(session, index, check)
            cases.append(pytest.param(component.config, case, id=f"{component.name}-{index}-{check.name}", marks=marks))
    return pytest.mark.parametrize(("config", "check"), cases)
