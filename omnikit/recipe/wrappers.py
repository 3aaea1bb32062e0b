"""What wrappers around a model write into the names of its tensors: before them, or between their words. Uses no file."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

WRAPPERS = {"module.": "DistributedDataParallel or DeepSpeed", "_orig_mod.": "torch.compile", "base_model.model.": "PEFT",
            "_fsdp_wrapped_module.": "FSDP", "_checkpoint_wrapped_module.": "activation checkpointing",
            "_forward_module.": "Lightning Fabric"}
AROUND = re.compile(rf"({'|'.join(re.escape(word) for word in WRAPPERS)})+")
INSIDE = re.compile(r"(?<=\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.")
"""Words that torch keeps for itself, so that no model has them."""
FIELD = "weights_prefix"
T = TypeVar("T")


def wrapped(names: Iterable[str]) -> str:
    """Give what well-known wrappers put before all names; "" where one of them has nothing before it."""
    fronts = {found[0] if (found := AROUND.match(name)) else "" for name in names}
    return min(fronts, key=len, default="")


def front(missing: Sequence[str], names: Iterable[str]) -> str:
    """Give what stands before most of the missing names in the files, if it is one thing; else ""."""
    wanted = set(missing)
    fronts: Counter[str] = Counter()
    for name in names:
        words = name.split(".")
        fronts.update(".".join(words[:i]) + "." for i in range(1, len(words)) if ".".join(words[i:]) in wanted)
    best, count = max(fronts.items(), key=lambda one: one[1], default=("", 0))
    return best if 2 * count >= len(wanted) else ""


def advice(prefix: str, field: str = FIELD) -> str:
    """Say what stands before the names of a checkpoint, who writes that, and how they are read without it.

    Args:
        field: that takes a prefix off; "" where there is none.
    """
    origin = next((f", which {who} writes" for word, who in WRAPPERS.items() if prefix.startswith(word)), "")
    way = (f"set {field}={prefix} to read them without it" if field else
           "save the state dict of the model inside, without it")
    return f"its names begin with {prefix!r}{origin}; {way}"


def behind(found: Mapping[str, T], prefix: str) -> dict[str, T]:
    """Give what is named with a prefix, without it; a dot at its end may be left out."""
    prefix = f"{prefix}." if prefix and not prefix.endswith(".") else prefix
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}


def unmerged(names: Iterable[str], where: object) -> str | None:
    """Give the sentence that refuses a model under PEFT, whose adapters are not added; None where there are none."""
    found = next((name for name in names if ".base_layer." in name), None)
    return None if found is None else (
        f"{where} holds {found}, a layer under an adapter of PEFT that is not added; call merge_and_unload() and save that"
        " model.")


def without_inner(names: Iterable[str]) -> Mapping[str, str]:
    """Give name → the name without wrappers' words inside, for names that have some."""
    return {name: ours for name in names if (ours := INSIDE.sub("", name)) != name}
