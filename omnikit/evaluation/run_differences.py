"""What several runs were made of otherwise, by their manifests: settings, data, files, versions, hardware."""

from __future__ import annotations

from collections.abc import Sequence

from omnikit.store.diff import Side, compare


def run_differences(runs: Sequence[Side]) -> dict[str, tuple[object, ...]]:
    """Give place → value of each run, of what differs between the first and any other."""
    first, *others = runs
    found: dict[str, list[object]] = {}
    for number, other in enumerate(others, start=1):
        for change in compare(first, other).changes:
            found.setdefault(change.place, [change.old] * len(runs))[number] = change.new
    return {place: tuple(values) for place, values in found.items()}
