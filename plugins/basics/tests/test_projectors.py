"""Every projector keeps its contract: widths, exact lengths, rates, and rows that do not see their padding."""

import math
from fractions import Fraction

import pytest
import torch
from omnikit_basics.config import Linear, Mlp, QFormer, StackMlp, StridedConv
from torch import nn
from torch.testing import assert_close

from omnikit import registry
from omnikit.contracts.configs import ProjectorConfig
from omnikit.contracts.specs import FeatureSpec
from omnikit.contracts.types import Features
from omnikit.recipe import presets

RATE = Fraction(50)
PROJECTORS: dict[str, ProjectorConfig] = {
    "linear": Linear(),
    "mlp": Mlp(hidden=12, depth=3, activation="silu"),
    "stack_mlp": StackMlp(stride=3, hidden=12),
    "stack_mlp_pad": StackMlp(stride=3, hidden=12, tail="pad"),
    "conv_causal": StridedConv(kernel=5, stride=2, hidden=12),
    "conv_right": StridedConv(kernel=4, stride=3, hidden=12, causal=False, norm="none", activation="relu"),
    "conv_batch": StridedConv(kernel=3, stride=1, hidden=12, norm="batch"),
    "qformer": QFormer(queries=4, dim=16, layers=3, heads=2, ffn=24, cross_every=2),
}


def features(lengths: list[int], *, dim: int = 8, rate: Fraction | None = RATE) -> Features:
    """Random vectors; the padding is huge, so that a leak is seen."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(len(lengths), max(lengths), dim, generator=generator)
    for row, length in enumerate(lengths):
        data[row, length:] = 1e4
    return Features(data, torch.tensor(lengths), rate)


def built(config: ProjectorConfig, *, dim: int = 8) -> nn.Module:
    torch.manual_seed(0)
    return config.build(FeatureSpec(dim, rate=RATE), 6).eval()


def made(kind: str, preset: str) -> object:
    values = presets.preset_fields(kind, preset)
    return registry.component(kind, values.pop("use"))(**values)


@pytest.mark.parametrize("name", list(PROJECTORS))
@pytest.mark.parametrize("length", [1, 2, 3, 7, 12])
def test_contract_states_what_comes_out(name: str, length: int) -> None:
    config = PROJECTORS[name]
    out = built(config)(features([length]))
    spec = config.output(FeatureSpec(8, rate=RATE), 6)
    assert out.lengths.tolist() == [config.length(length)]
    assert tuple(out.data.shape) == (1, config.length(length), spec.dim)
    assert (out.rate, spec.dim) == (spec.rate, 6)


@pytest.mark.parametrize("name", list(PROJECTORS))
def test_row_alone_equals_row_in_batch(name: str) -> None:
    module, batch = built(PROJECTORS[name]), features([11, 7, 4])
    together = module(batch)
    for row, length in enumerate([11, 7, 4]):
        alone = module(Features(batch.data[row : row + 1, :length], batch.lengths[row : row + 1], RATE))
        assert_close(together.data[row, : alone.data.shape[1]], alone.data[0], atol=1e-5, rtol=1e-5)  # float32 noise
        assert together.lengths[row] == alone.lengths[0]


@pytest.mark.parametrize("name", list(PROJECTORS))
def test_every_parameter_learns(name: str) -> None:
    module = built(PROJECTORS[name]).train()
    module(features([9, 9])).data.square().sum().backward()
    assert [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", list(PROJECTORS))
def test_source_with_a_count_gives_a_count(name: str) -> None:
    config = PROJECTORS[name]
    spec = config.output(FeatureSpec(8, count=12), 6)
    assert (spec.count, spec.rate) == (config.length(12), None)


def test_stack_mlp_original_has_the_published_size_and_names() -> None:
    with torch.device("meta"):
        module = StackMlp(stride=5, hidden=2048).build(FeatureSpec(1280, rate=RATE), 4096)
    assert sum(p.numel() for p in module.parameters()) == 21_501_952  # llama_omni.md, section 3
    assert list(module.state_dict()) == ["linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"]


def test_stack_mlp_joins_frames_first_values_first() -> None:
    module = built(StackMlp(stride=2, hidden=12))
    x = features([5])
    joined = torch.cat([x.data[:, 0:4:2], x.data[:, 1:4:2]], dim=2)  # [1, 2, 16]
    expected = torch.relu(joined @ module.linear1.weight.T + module.linear1.bias) @ module.linear2.weight.T
    assert_close(module(x).data, expected + module.linear2.bias)


@pytest.mark.parametrize(("tail", "count"), [("drop", 4), ("pad", 5)])
def test_stack_mlp_takes_an_uneven_window_where_it_is_set_to(tail: str, count: int) -> None:
    config = StackMlp(stride=7, hidden=4, tail=tail, uneven=True)  # type: ignore[arg-type]  # one of both
    assert config.output(FeatureSpec(2, count=30), 6) == FeatureSpec(6, count=count)
    built = config.build(FeatureSpec(2, count=30), 6)
    assert built(Features(torch.randn(1, 30, 2), torch.tensor([30]))).data.shape == (1, count, 6)


def test_stack_mlp_refuses_a_stride_that_leaves_a_tail() -> None:
    with pytest.raises(ValueError, match=r"stride is 7, but the encoder gives 1500 .* use a divisor: 4, 5, 6$"):
        StackMlp(stride=7).output(FeatureSpec(1280, count=1500), 4096)


def test_causal_convolution_ignores_the_future() -> None:
    module, x = built(PROJECTORS["conv_causal"]), features([12])
    changed = Features(x.data.clone(), x.lengths, RATE)
    changed.data[:, 5:] += 1.0
    assert_close(module(changed).data[:, :3], module(x).data[:, :3])  # vectors 0, 2, 4
    assert not torch.allclose(module(changed).data[:, 3], module(x).data[:, 3])


def test_right_padded_convolution_states_its_lookahead() -> None:
    spec = StridedConv(kernel=5, causal=False).output(FeatureSpec(8, rate=Fraction(25), lookahead=0.1), 6)
    assert math.isclose(spec.lookahead, 0.1 + 4 / 25)


def test_batch_norm_statistics_ignore_the_padding() -> None:
    module = built(PROJECTORS["conv_batch"])
    module.train()(features([9, 4]))
    padded = module.norm.running_mean.clone()
    module.norm.reset_running_stats()
    batch = features([9, 4])
    batch.data[1, 4:] = -77.0
    module(batch)
    assert_close(module.norm.running_mean, padded)


def test_qformer_crosses_in_every_kth_layer() -> None:
    layers = built(PROJECTORS["qformer"]).layers
    assert [layer.cross_attention is not None for layer in layers] == [True, False, True]


def test_qformer_of_an_empty_row_stays_finite() -> None:
    x = features([3, 3])
    out = built(PROJECTORS["qformer"])(Features(x.data, torch.tensor([3, 0]), RATE))
    assert out.data.isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StackMlp(stride=0), "stride is 0, but must be at least 1"),
        (lambda: Mlp(depth=1), "depth is 1, but must be 2 to 64"),
        (lambda: StridedConv(kernel=-1), "kernel is -1, but must be at least 1"),
        (lambda: QFormer(dim=10, heads=4), "heads is 4, but must divide dim, which is 10"),
        (lambda: QFormer(dropout=1.0), "dropout is 1.0, but must be"),
    ],
    ids=["stride", "depth", "kernel", "heads", "dropout"],
)
def test_impossible_value_is_a_sentence(make: type[ProjectorConfig], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("preset", "config"),
    [
        ("stack_mlp_5x2048", StackMlp(stride=5, hidden=2048, tail="drop")),
        ("qformer_32x768", QFormer(32, dim=768, layers=12, heads=12, ffn=3072, cross_every=2, dropout=0.1)),
    ],
)
def test_preset_holds_the_published_numbers(preset: str, config: ProjectorConfig) -> None:
    assert made("projector", preset) == config


def test_mlp_without_a_width_is_as_wide_as_the_backbone_and_vitas() -> None:
    with torch.device("meta"):
        module = Mlp(hidden=0).build(FeatureSpec(4096, count=256), 3584)
    assert sum(p.numel() for p in module.parameters()) == 27_532_288  # vita.md, section 2.3
    assert module.state_dict()["layers.0.weight"].shape == (3584, 4096)
