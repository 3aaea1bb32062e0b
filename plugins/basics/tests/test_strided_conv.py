"""The strided convolution in VITA's size, with prompts, and streamed."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from omnikit_basics.config import StridedConv
from omnikit_basics.projectors import StridedConvProjector
from torch import Tensor
from torch.testing import assert_close

from omnikit.contracts.specs import FeatureSpec
from omnikit.contracts.streaming import StreamingProjector
from omnikit.contracts.types import Features
from omnikit.recipe import presets

SOURCE = FeatureSpec(8, rate=Fraction(25))
CAUSAL = StridedConv(kernel=5, stride=2, hidden=12)
CONFIGS = {"causal": CAUSAL, "right": replace(CAUSAL, causal=False), "batch": replace(CAUSAL, norm="batch", activation="relu"),
           "gaps": replace(CAUSAL, kernel=2, stride=5), "prompts": replace(CAUSAL, prompts=3, norm="none")}
CUTS = {"at once": (), "one by one": tuple(range(1, 13)), "uneven": (0, 4, 4, 5, 11)}


def built(config: StridedConv) -> StridedConvProjector:
    torch.manual_seed(0)
    module = config.build(SOURCE, 6).eval()
    if isinstance(module.norm, torch.nn.BatchNorm1d):
        module.norm.running_var.uniform_(0.5, 2.0)  # as after training
    return module


def features(*lengths: int) -> Features:
    data = torch.randn(len(lengths), max(lengths), 8, generator=torch.Generator().manual_seed(0))
    return Features(data, torch.tensor(lengths), SOURCE.rate)


def streamed(module: StridedConvProjector, data: Tensor, cuts: tuple[int, ...]) -> Tensor:
    state, found = module.init_state(len(data)), []
    for first, behind in pairwise((0, *cuts, data.shape[1])):
        new = Features(data[:, first:behind], torch.full((len(data),), behind - first), SOURCE.rate)
        out, state = module.step(new, state, last=behind == data.shape[1])
        assert out.lengths.tolist() == [out.data.shape[1]] * len(data)
        found.append(out.data)
    return torch.cat(found, dim=1)


@pytest.mark.parametrize(("dim", "count"), [(3584, 17_835_520), (4096, 18_884_608)])
def test_vita_s_size_is_the_published_one(dim: int, count: int) -> None:
    values = presets.preset_fields("projector", "strided_conv_vita")
    with torch.device("meta"):
        module = StridedConv(**{k: v for k, v in values.items() if k != "use"}).build(FeatureSpec(1024, rate=Fraction(25)), dim)
    assert sum(p.numel() for p in module.parameters()) == count


@pytest.mark.parametrize("cuts", list(CUTS.values()), ids=list(CUTS))
@pytest.mark.parametrize("config", list(CONFIGS.values()), ids=list(CONFIGS))
def test_streamed_equals_whole(config: StridedConv, cuts: tuple[int, ...]) -> None:
    module, x = built(config), features(13, 13)
    assert_close(streamed(module, x.data, cuts), module(x).data, atol=1e-6, rtol=1e-5)  # float32 noise


def test_it_keeps_the_contract() -> None:
    assert isinstance(built(CAUSAL), StreamingProjector)


def test_causal_vector_comes_with_its_last_source() -> None:
    module, state = built(CAUSAL), built(CAUSAL).init_state(1)
    counts = []
    for _ in range(4):
        out, state = module.step(features(1), state)
        counts.append(out.data.shape[1])
    assert counts == [1, 0, 1, 0]


def test_prompts_stand_before_every_row_and_are_counted() -> None:
    config = CONFIGS["prompts"]
    module, plain = built(config), built(replace(config, prompts=0))
    plain.load_state_dict({k: v for k, v in module.state_dict().items() if k != "prompts"})
    out, without = module(features(9, 4)), plain(features(9, 4))
    assert out.lengths.tolist() == [config.length(9), config.length(4)] == [8, 5]
    assert torch.equal(out.data[:, :3], module.prompts.expand(2, 3, 6))
    assert torch.equal(out.data[:, 3:], without.data)


def test_prompts_and_all_else_learn() -> None:
    module = built(CONFIGS["prompts"]).train()
    module(features(9, 9)).data.square().sum().backward()
    assert [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_norm_adds_eps() -> None:
    assert built(CAUSAL).norm.eps == 1e-3  # VITA's
    assert built(replace(CAUSAL, norm="batch", eps=1e-5)).norm.eps == 1e-5


@pytest.mark.parametrize(("fields", "message"), [
    ({"prompts": -1}, "prompts is -1, but must be at least 0"), ({"eps": 0.0}, "eps is 0.0, but must be above 0")])
def test_impossible_value_is_a_sentence(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CAUSAL, **fields)


def test_a_batch_normalised_row_is_the_same_as_if_silence_followed_it() -> None:
    module, pair = built(CONFIGS["batch"]), features(9, 5)  # VITA 1.0 reads what lies behind a shorter sound, too
    quiet = pair.data[1:].clone()
    quiet[:, 5:] = 0.0
    alone = module(Features(quiet, torch.tensor([9]), SOURCE.rate))
    assert_close(module(pair).data[1:], alone.data, atol=1e-6, rtol=1e-5)  # float32 of other batch sizes
