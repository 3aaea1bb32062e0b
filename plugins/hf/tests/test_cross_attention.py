"""Gated cross-attention: closed gates change nothing, open ones attend to what stands before, and steps equal one pass."""

import pytest
import torch
from omnikit_hf.cross_attention import CrossAttentionBackbone, GatedCrossAttention, Visible
from omnikit_hf.cross_attention_config import HFCrossAttention
from omnikit_hf.model import HFBackbone
from torch.testing import assert_close

from omnikit.contracts.layout import InputLayout, Memory

SIZES = {"layers": 3, "cross_heads": 2, "cross_head_dim": 8, "memory_dim": 24, "cross_every": 2}
LENGTHS = torch.tensor([9, 6])
MASK = torch.arange(9) < LENGTHS[:, None]


def memory(seed: int = 0) -> Memory:
    """Row 0 has media of 2 and 3 embeddings before positions 2 and 5, row 1 one of 2 before position 3."""
    data = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(seed))
    far = Memory.FAR
    return Memory(data, torch.tensor([[2, 2, 5, 5, 5], [3, 3, far, far, far]]),
                  torch.tensor([[0, 0, 1, 1, 1], [0, 0, -1, -1, -1]]))


def layout(held: Memory | None) -> InputLayout:
    return InputLayout(LENGTHS, torch.zeros(2, 9, dtype=torch.bool), held)


def backbone(**changes: object) -> CrossAttentionBackbone:
    torch.manual_seed(0)
    module = HFCrossAttention(**{**SIZES, "cross_gate": 0.5, **changes}).build()  # type: ignore[arg-type]  # of a table
    assert isinstance(module, CrossAttentionBackbone)
    return module.eval()


def inputs() -> torch.Tensor:
    return torch.randn(2, 9, 128, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def open_gates() -> CrossAttentionBackbone:
    return backbone()


def test_closed_gates_leave_the_language_model_as_it_was() -> None:
    closed = backbone(cross_gate=0.0)
    expected = HFBackbone.forward(closed, inputs(), MASK)  # no memory: what the layers add is 0
    found = closed(inputs(), MASK, layout=layout(memory()))
    assert torch.equal(found, expected)
    assert len(closed.cross) == 2  # before layers 0 and 2 of three


def test_positions_before_a_medium_do_not_see_it(open_gates: CrossAttentionBackbone) -> None:
    with_media, other = (open_gates(inputs(), MASK, layout=layout(memory(seed))) for seed in (0, 1))
    assert torch.equal(with_media[0, :2], other[0, :2]) and torch.equal(with_media[1, :3], other[1, :3])
    assert not torch.isclose(with_media[0, 2:], other[0, 2:]).all(-1).any()
    assert not torch.isclose(with_media[1, 3:6], other[1, 3:6]).all(-1).any()


@pytest.mark.parametrize(("latest", "same"), [(True, True), (False, False)])
def test_the_latest_medium_hides_the_one_before(latest: bool, same: bool) -> None:
    module = GatedCrossAttention(HFCrossAttention(**SIZES, cross_gate=0.5))  # type: ignore[arg-type]  # of a table
    owner = backbone(cross_latest=latest)
    first = memory()
    changed = Memory(first.data.clone(), first.starts, first.media)
    changed.data[0, :2] += 1.0  # the first medium of row 0
    hidden = inputs()
    found = [module(hidden, owner._view(each, 0, 9)) for each in (first, changed)]
    assert torch.equal(found[0][0, 5:], found[1][0, 5:]) is same
    assert not torch.isclose(found[0][0, 2:5], found[1][0, 2:5]).all()


def test_attention_is_softmax_over_what_is_visible() -> None:
    module = GatedCrossAttention(HFCrossAttention(**SIZES, cross_gate=0.5))  # type: ignore[arg-type]  # of a table
    hidden, held = inputs()[:1, :1], memory().data[:1, :3]
    query = module.query(module.norm(hidden)).view(2, 8)
    key, value = (each.view(3, 2, 8) for each in module.key_value(held[0]).chunk(2, dim=-1))
    heads = [(query[head] @ key[:, head].T / 8 ** 0.5).softmax(-1) @ value[:, head] for head in range(2)]
    expected = module.output(torch.cat(heads))
    assert_close(module._attended(module.norm(hidden), Visible(held, torch.ones(1, 1, 3, dtype=torch.bool)))[0, 0], expected)


def test_steps_of_rows_padded_on_the_left_equal_one_pass(open_gates: CrossAttentionBackbone) -> None:
    whole, given = open_gates(inputs(), MASK, layout=layout(memory())), inputs()
    order = (torch.arange(9) + LENGTHS[:, None]) % 9
    moved = layout(memory()).padded_left(9 - LENGTHS, order)
    left, mask = given[torch.arange(2)[:, None], order], torch.arange(9) >= 9 - LENGTHS[:, None]
    state = open_gates.init_state(2, moved)
    first, state = open_gates.step(left[:, :7], mask[:, :7], state)
    second, state = open_gates.step(left[:, 7:], mask, state)
    found = torch.cat([first, second], dim=1)
    for row, length in enumerate(LENGTHS.tolist()):
        assert_close(found[row, 9 - length:], whole[row, :length], atol=1e-5, rtol=1e-5)  # other kernels: float32 sums


def test_a_row_without_media_beside_one_with_some(open_gates: CrossAttentionBackbone) -> None:
    held = memory()
    held.starts[1], held.media[1] = Memory.FAR, -1
    found = open_gates(inputs(), MASK, layout=layout(held))
    alone = open_gates(inputs(), MASK, layout=layout(None))
    assert bool(found.isfinite().all())
    assert_close(found[1, :6], alone[1, :6])


def test_gradients_reach_memory_and_every_added_weight(open_gates: CrossAttentionBackbone) -> None:
    held = memory()
    held.data.requires_grad_()
    open_gates(inputs(), MASK, layout=layout(held))[MASK].square().sum().backward()
    assert held.data.grad is not None and bool(held.data.grad[0].abs().sum(-1).all())
    assert all(weight.grad is not None and bool(weight.grad.any()) for weight in open_gates.cross.parameters())


def test_a_longer_interval_than_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="cross_every is 9, but there are 3 layers; set it to at most that"):
        HFCrossAttention(cross_every=9)
