"""Projectors of several encoders keep their contract: lengths, rates, and what they compute, by formula."""

from fractions import Fraction

import pytest
import torch
from omnikit_basics.config import ConcatMlp, ConcatSequence, WeightedSum
from torch import nn
from torch.testing import assert_close

from omnikit.contracts.configs import FusionProjectorConfig
from omnikit.contracts.specs import FeatureSpec
from omnikit.contracts.types import Features

RATE, DIM = Fraction(50), 12
CONFIGS: dict[str, FusionProjectorConfig] = {"concat_mlp": ConcatMlp(), "channels": ConcatMlp(depth=0),
                                             "weighted_sum": WeightedSum(), "concat_sequence": ConcatSequence()}


def features(lengths: list[int], dim: int, seed: int) -> Features:
    """Random vectors; the padding is huge, so that a leak shows."""
    data = torch.randn(len(lengths), max(lengths), dim, generator=torch.Generator().manual_seed(seed))
    for row, length in enumerate(lengths):
        data[row, length:] = 1e4
    return Features(data, torch.tensor(lengths), RATE)


def built(config: FusionProjectorConfig) -> nn.Module:
    torch.manual_seed(0)
    module = config.build_fused([FeatureSpec(8, RATE), FeatureSpec(6, RATE)], DIM)
    return module.eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_lengths_and_rate_are_the_contracts(name: str) -> None:
    config = CONFIGS[name]
    found = built(config)(features([5, 3], 8, 1), features([4, 6], 6, 2))
    assert found.lengths.tolist() == [config.fused_length([5, 4]), config.fused_length([3, 6])]
    spec = config.fused_output([FeatureSpec(8, RATE), FeatureSpec(6, RATE)], DIM)
    assert (found.rate, found.data.shape[2]) == (spec.rate, spec.dim)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_row_alone_equals_the_row_in_a_batch(name: str) -> None:
    module = built(CONFIGS[name])
    one, two = features([5, 3], 8, 1), features([4, 6], 6, 2)
    together = module(one, two)
    for row in range(2):
        alone = module(*(Features(each.data[row:row + 1, :int(each.lengths[row])], each.lengths[row:row + 1], RATE)
                         for each in (one, two)))
        length = int(alone.lengths[0])
        assert_close(together.data[row, :length], alone.data[0, :length])


def test_channels_are_joined_as_vary_joins_them() -> None:
    module, one, two = built(CONFIGS["channels"]), features([4], 8, 1), features([4], 6, 2)
    first, second = module.inputs
    assert_close(module(one, two).data, torch.cat([one.data @ first.weight.T + first.bias,
                                                   two.data @ second.weight.T + second.bias], dim=-1))


def test_a_weighted_sum_begins_as_the_mean_and_learns_its_weights() -> None:
    module, one, two = built(CONFIGS["weighted_sum"]), features([4], 8, 1), features([4], 6, 2)
    assert_close(module(one, two).data, (module.inputs[0](one.data) + module.inputs[1](two.data)) / 2)
    module(one, two).data.square().sum().backward()
    assert module.weights.grad.abs().sum() > 0
    with torch.no_grad():
        module.weights.copy_(torch.tensor([30.0, 0.0]))
    assert_close(module(one, two).data, module.inputs[0](one.data))


def test_a_sequence_holds_one_source_behind_the_other() -> None:
    module, one, two = built(CONFIGS["concat_sequence"]), features([5, 3], 8, 1), features([4, 6], 6, 2)
    found = module(one, two)
    for row, (first, second) in enumerate([(5, 4), (3, 6)]):
        expected = torch.cat([module.inputs[0](one.data[row, :first]), module.inputs[1](two.data[row, :second])])
        assert_close(found.data[row, :first + second], expected)


def test_other_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="joins features vector by vector"):
        ConcatMlp().fused_output([FeatureSpec(8, RATE), FeatureSpec(6, Fraction(25))], DIM)
    with pytest.raises(ValueError, match="all have a rate or all have a count"):
        ConcatSequence().fused_output([FeatureSpec(8, RATE), FeatureSpec(6, count=4)], DIM)
