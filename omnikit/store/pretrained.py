"""What transformers noted while it filled a module with our tensors, held as strictly as `tensors.fill` does."""

from collections.abc import Mapping
from typing import TypedDict

import torch
from torch import Tensor

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError
from omnikit.store.prefixes import advised
from omnikit.store.tensors import reads_as, torch_word


class Report(TypedDict):
    """What transformers gives with `output_loading_info`."""

    missing_keys: set[str]
    unexpected_keys: set[str]
    mismatched_keys: set[tuple[str, torch.Size, torch.Size]]


def check_report(report: Report, own: Mapping[str, Tensor], found: Mapping[str, LazyTensor], sentence: str, *,
                 optional: str | None = None) -> None:
    """Refuse a module that transformers has filled with anything but a folder's own numbers.

    Args:
        own: the module's tensors.
        found: the tensors that transformers was given, by the names that it was given.
        sentence: with a place `{}` for what is wrong: its beginning and, behind a semicolon, what to do.
        optional: beginning of names that may be missing.

    Raises:
        RunError: a tensor is missing, unexpected, of another shape, or of a dtype that means nothing without scales.
    """
    missing = [name for name in sorted(report["missing_keys"]) if optional is None or not name.startswith(optional)]
    unexpected = sorted(report["unexpected_keys"])
    problems = [f"{name} is missing" for name in missing] + [f"{name} is unexpected" for name in unexpected]
    problems += [f"{name} has the shape {list(there)}, but the configuration makes it {list(ours)}"
                 for name, there, ours in sorted(report["mismatched_keys"])]
    problems += [f"{name} has the dtype {tensor.dtype}, which cannot be read as {torch_word(own[name].dtype)}"
                 for name, tensor in found.items() if name in own and not reads_as(tensor.dtype, own[name].dtype)]
    if problems:
        start, _, end = sentence.partition("{}; ")
        strays = {name: found[name] for name in unexpected if name in found}
        raise RunError(f"{start}{advised(problems, missing, strays, end)}.")
