"""Conformance kit for plugins: checks of what a component does against what its contract states."""

from omnikit.testing.parametrize import parametrize_with_checks
from omnikit.testing.results import CheckResult
from omnikit.testing.suite import CHECKS, check_component

__all__ = ["CHECKS", "CheckResult", "check_component", "parametrize_with_checks"]
