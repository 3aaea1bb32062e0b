"""A component's `length` held against the rate or count that its `output` promises; before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from omnikit.contracts.configs import ProjectorConfig
from omnikit.contracts.specs import FeatureSpec
from omnikit.errors import DataError
from omnikit.plan.branches import InputBranch

SECONDS = (5, 10)  # lengths of audio that are compared: what both have beside their rate (a prompt, a frame's rest) cancels out
SLACK = 2  # features that rounding may cost


def check_lengths(input_branches: dict[str, InputBranch], errors: list[str]) -> None:
    """Append a sentence for each encoder and projector that counts otherwise than it promises."""
    for branch in input_branches.values():
        errors.extend(_misfits(branch))


def _misfits(branch: InputBranch) -> Iterator[str]:
    rate = branch.encoder.input.rate
    if rate is not None:
        samples = [int(seconds * rate) for seconds in SECONDS]
        yield from _misfit(f"{branch.name}.encoder", branch.encoder.length, samples, branch.encoded, "samples")
    elif branch.encoded.count is not None:
        yield from _misfit(f"{branch.name}.encoder", branch.encoder.length, [1, 1], branch.encoded, "item")
    if branch.projected and branch.sources and rate is not None:
        yield from _misfit(f"{branch.name}.projector", branch.length, samples, branch.projected, "samples")
    elif isinstance(branch.projector, ProjectorConfig) and branch.projected and branch.encoded.rate is not None:
        counts = [int(seconds * branch.encoded.rate) for seconds in SECONDS]
        yield from _misfit(f"{branch.name}.projector", branch.projector.length, counts, branch.projected, "features")
    if branch.joins_media and branch.image_spec:
        yield from _too_many(branch)


def _too_many(branch: InputBranch) -> Iterator[str]:
    """Ask a projector that joins the signals of a medium for the longest video and the largest image that there may be."""
    for medium in branch.largest_media():
        try:
            branch.medium_length(medium)
        except (ValueError, DataError) as error:
            yield (f"{branch.name}.projector cannot take {'a video' if medium.type == 'video' else 'an image'} as"
                   f" {branch.name}.encoder cuts it: {str(error).rstrip('.')}.")


def _misfit(part: str, length: Callable[[int], int], inputs: list[int], spec: FeatureSpec, unit: str) -> Iterator[str]:
    """Compare two lengths with what the spec promises for them; an input that the part refuses is skipped."""
    try:
        short, long = map(length, inputs)
    except (ValueError, DataError):
        return
    if spec.count is not None and short != spec.count:
        yield (f"{part} makes {short} features of {inputs[0]} {unit} by its `length`, but {spec.count} of any number by its"
               " `output`; fix either in the plugin.")
    if spec.rate is not None and abs(long - short - (SECONDS[1] - SECONDS[0]) * spec.rate) > SLACK:
        given = (long - short) / (SECONDS[1] - SECONDS[0])
        yield (f"{part} gives {given:g} features a second by its `length`, but {float(spec.rate):g} by its `output`; fix either"
               " in the plugin.")
