"""What is made from weights is made once, and again when they change."""

import copy
import pickle

import torch
from torch import nn

from omnikit.ops.weight_cache import WeightCache


def test_a_value_is_made_again_only_when_a_weight_changes() -> None:
    layer, cache, made = nn.Linear(2, 2), WeightCache[int](), list[int]()

    def make() -> int:
        made.append(len(made))
        return made[-1]

    assert [cache.get(layer, make) for _ in range(2)] == [0, 0]
    with torch.no_grad():
        layer.bias.add_(1)
    assert cache.get(layer, make, check=False) == 0
    assert [cache.get(layer, make) for _ in range(2)] == [1, 1]
    layer.weight = nn.Parameter(torch.zeros(2, 2))
    assert cache.get(layer, make) == 2


def test_copies_begin_without_the_value() -> None:
    layer, cache = nn.Linear(2, 2), WeightCache[int]()
    cache.get(layer, lambda: 1)
    for other in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        assert other.get(layer, lambda: 2, check=False) == 2
