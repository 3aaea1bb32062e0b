"""All checks, and a session that runs them on components: each check once, those that it needs before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omnikit.errors import ConfigError, nearest
from omnikit.testing import (
    computation_checks,
    contract_checks,
    feeding_checks,
    light_checks,
    service_checks,
    storage_checks,
    streaming_checks,
    training_checks,
)
from omnikit.testing.check import MODULES, Check
from omnikit.testing.component import Component, identify
from omnikit.testing.distributed_checks import distributed_messages
from omnikit.testing.probe import Probe
from omnikit.testing.probes import probe_of
from omnikit.testing.results import CheckFailure, CheckResult, NotApplicable, Status

DISTRIBUTED = "distributed_step"


def _distributed(probe: Probe) -> None:
    """Two processes that train on other rows hold the same gradients once these are averaged."""
    raise AssertionError("a session runs it for all components together")


CHECKS: tuple[Check, ...] = (
    *light_checks.CHECKS, *contract_checks.CHECKS, *computation_checks.CHECKS, *training_checks.CHECKS,
    *storage_checks.CHECKS, *streaming_checks.CHECKS, *feeding_checks.CHECKS, *service_checks.CHECKS,
    Check(DISTRIBUTED, _distributed, MODULES, ("builds", "pickles", "gradients")))
NAMES = tuple(dict.fromkeys(check.name for check in CHECKS))


def check_component(config: Any, expected_failures: Mapping[str, str] | None = None) -> list[CheckResult]:
    """Run every check of a component's kind.

    Args:
        config: its dataclass, filled: a tiny one, since it is built and run many times on the CPU.
        expected_failures: name of a check → why the component fails it. One that passes nevertheless is a failure.

    Raises:
        ConfigError: the configuration is not a component's, or an expected failure names no check.
    """
    session = Session([config])
    return session.results(0, expected_failures)


def checks_of(kind: str) -> list[Check]:
    """Give the checks of components of a kind, in the order in which they are reported."""
    return [check for check in CHECKS if check.applies(kind)]


class Session:
    """Components that are checked together; what is found of one is held, so that no check runs twice."""

    def __init__(self, configs: Sequence[Any]) -> None:
        self.components: list[Component] = [identify(config) for config in configs]
        self._probes = [probe_of(component) for component in self.components]
        self._found: dict[tuple[int, str], tuple[Status, str]] = {}
        self._distributed: dict[int, str] | None = None

    def results(self, index: int, expected_failures: Mapping[str, str] | None = None) -> list[CheckResult]:
        """Run all checks of a component."""
        expected = require_names(expected_failures or {})
        return [self.result(index, check, expected.get(check.name)) for check in checks_of(self.components[index].kind)]

    def result(self, index: int, check: Check, expected: str | None = None) -> CheckResult:
        """Run one check, unless it ran before; `expected`: why it should fail."""
        component = self.components[index]
        status, message = self._outcome(index, check)
        if expected is not None and status == "failed":
            status, message = "expected failure", expected
        elif expected is not None and status == "passed":
            status, message = "failed", (f"it is expected to fail ({expected}), but passes; take {check.name} out of the"
                                         " expected failures")
        return CheckResult(component.kind, component.name, check.name, status, message)

    def _outcome(self, index: int, check: Check) -> tuple[Status, str]:
        key = (index, check.name)
        if key not in self._found:
            self._found[key] = self._run(index, check)
        return self._found[key]

    def _run(self, index: int, check: Check) -> tuple[Status, str]:
        for needed in checks_of(self.components[index].kind):
            if needed.name in check.needs and self._outcome(index, needed)[0] == "failed":
                return "skipped", f"it needs {needed.name}, which failed"
        try:
            if check.name == DISTRIBUTED:
                self._check_distributed(index)
            else:
                check.run(self._probes[index])
        except NotApplicable as reason:
            return "skipped", str(reason)
        except CheckFailure as failure:
            return "failed", _sentence(str(failure))
        except Exception as error:  # whatever a component raises is the failure
            return "failed", _sentence(f"it raises {type(error).__name__}: {' '.join(str(error).split())}")
        return "passed", ""

    def _check_distributed(self, index: int) -> None:
        """Raise what the pair of processes found, which is started once, for all components that can be trained."""
        if self._distributed is None:
            trained = [each for each in range(len(self.components)) if self._is_trained(each)]
            messages = distributed_messages([self.components[each].config for each in trained])
            self._distributed = dict(zip(trained, messages, strict=True))
        if index not in self._distributed:
            raise NotApplicable("no stage trains it by gradients")
        if self._distributed[index]:
            raise CheckFailure(self._distributed[index])

    def _is_trained(self, index: int) -> bool:
        """Say whether a component passes the checks that training in two processes needs."""
        distributed = next(check for check in CHECKS if check.name == DISTRIBUTED)
        needed = [check for check in checks_of(self.components[index].kind) if check.name in distributed.needs]
        return (distributed.applies(self.components[index].kind)
                and all(self._outcome(index, check)[0] == "passed" for check in needed))


def require_names(expected_failures: Mapping[str, str]) -> Mapping[str, str]:
    """Give expected failures back; raises ConfigError where one names no check."""
    for name in expected_failures:
        if name not in NAMES:
            raise ConfigError(f"{name!r} in the expected failures is not a check.{nearest(name, NAMES)} There is:"
                              f" {', '.join(NAMES)}.")
    return expected_failures


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
