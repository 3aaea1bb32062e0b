"""What the checks found in a package, as a table for a terminal and as a card in Markdown to publish with it."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version

import torch

from omnikit import registry
from omnikit.contracts import VERSION
from omnikit.testing.package import Checked
from omnikit.testing.results import counted
from omnikit.testing.suite import CHECKS
from omnikit.text_table import columns

MARKS = {"passed": "passed", "failed": "**failed**", "skipped": "-", "expected failure": "expected failure"}


def as_table(checked: Sequence[Checked]) -> str:
    """Give a line for each component, then a sentence for each failure."""
    lines: list[tuple[str, ...]] = [("component", "passed", "failed", "skipped")]
    for one in checked:
        counts = counted(one.results)
        lines.append((one.title, *(str(counts.get(status, 0)) for status in ("passed", "failed", "skipped"))))
    failures = [f"{one.title}, {name}: {message}\n" for one in checked for name, message in _failures(one)]
    return columns(lines) + ("\n" + "".join(failures) if failures else "")


def as_card(package: str, package_version: str, checked: Sequence[Checked]) -> str:
    """Give the card: what was checked with which versions, each component's checks, and each failure in a sentence."""
    state = "Every check passes." if not any(one.failed for one in checked) else "Some checks fail."
    text = [f"# {package} {package_version}: conformance\n",
            f"`omnikit test-plugin {package}` with omnikit {version('omnikit')}, torch {torch.__version__}, Python"
            f" {platform.python_version()}. {state}\n", f"{interface_line(package)}\n"]
    for one in checked:
        text.append(f"## {one.title}\n")
        if one.problem:
            text.append(f"It is not checked: {one.problem}\n")
            continue
        rows = [f"| `{result.check}` | {MARKS[result.status]} | {result.message.replace('|', '/')} |" for result in one.results]
        text.append("\n".join(["| check | result | |", "|---|---|---|", *rows]) + "\n")
    purposes = {check.name: check.purpose for check in CHECKS}
    text.append("## Checks\n")
    text.append("\n".join(f"- `{name}`: {purpose}" for name, purpose in purposes.items()) + "\n")
    return "\n".join(text)


def interface_line(package: str) -> str:
    """Give which version of the interface a package declares, or that it declares none."""
    declared = registry.declared_interfaces(package)
    if declared:
        return f"{package} is for interface {' and '.join(declared)}; this omnikit has {VERSION}."
    return (f"{package} declares no version of the interface, so that nobody is warned where a later omnikit has another;"
            f" publish \"{VERSION}\" = \"PACKAGE\" in the entry point group {registry.INTERFACE}.")


def _failures(one: Checked) -> list[tuple[str, str]]:
    problem = [("broken" if one.failed else "not checked", one.problem)] if one.problem else []
    return problem + [(result.check, result.message) for result in one.results if result.status == "failed"]
