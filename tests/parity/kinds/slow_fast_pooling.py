"""Vectors of frames pooled to fewer: some frames of a group keep more than the others."""

import re

from parity.case import Case

from omnikit.contracts.specs import ImageSpec
from omnikit.splice import pooled


def matches(case: Case) -> bool:
    return "slow/fast" in case.words


def replay(case: Case) -> None:
    features, groups = case.inputs["features"], case.inputs["sf_masks"].tolist()
    atol = case.limit("atol", "atol", 1e-6)
    facts = case.config
    spec = ImageSpec(1, pooled=(facts["every"], facts["slow_tokens"], facts["fast_tokens"]))
    place = 0  # within its group
    for index, group in enumerate(groups):
        place = place + 1 if index and groups[index - 1] == group else 0
        count = spec.frame_count(place, features.shape[1]) if group else features.shape[1]
        case.close(f"out{index}", pooled(features[index:index + 1], count)[0], atol=atol)
    for name in case.outputs:
        if found := re.fullmatch(r"pool_(\d+)", name):
            expected = case.outputs[name]
            case.close(name, pooled(features[: len(expected)], int(found[1]) ** 2), atol=atol)
