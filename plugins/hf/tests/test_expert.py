"""Visual experts: copies change nothing, linear layers go by position, media share a position number, steps equal a pass."""

from functools import partial

import pytest
import torch
from omnikit_hf.expert import ExpertBackbone
from omnikit_hf.expert_config import HFExpert
from omnikit_hf.model import HFBackbone
from torch import nn
from torch.testing import assert_close

from omnikit.contracts.layout import InputLayout
from omnikit.training.trainable.freeze import unused

LENGTHS = torch.tensor([9, 6])
MASK = torch.arange(9) < LENGTHS[:, None]
SPLICED = torch.tensor([[0, 1, 1, 1, 0, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0, 0]], dtype=torch.bool)
NUMBERS = [[0, 1, 1, 1, 2, 3, 3, 4, 5], [0, 0, 1, 2, 3, 4]]  # counted by hand


def backbone(*, changed: bool = True, **fields: object) -> ExpertBackbone:
    torch.manual_seed(0)
    module = HFExpert(layers=2, **fields).build()  # type: ignore[arg-type]  # of a table
    assert isinstance(module, ExpertBackbone)
    with torch.no_grad():
        for weight in module.expert.parameters():
            weight.add_(0.02 * changed * torch.randn_like(weight))
    return module.eval()


def layout() -> InputLayout:
    return InputLayout(LENGTHS, SPLICED)


def inputs() -> torch.Tensor:
    return torch.randn(2, 9, 128, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt_neox"])
def test_experts_that_are_copies_change_nothing(family: str) -> None:
    module = backbone(changed=False, shared_positions=False, model_type=family)
    found, expected = module(inputs(), MASK, layout=layout()), HFBackbone.forward(module, inputs(), MASK)
    assert_close(found[MASK], expected[MASK], atol=1e-5, rtol=1e-5)  # products of fewer rows: float32 sums


def test_every_linear_layer_takes_each_positions_own_weights() -> None:
    module, seen = backbone(), {}

    def keep(name: str, layer: nn.Module, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen[name] = given[0], output

    text = {f"{number}.{name.replace('.', '_')}": linear for number, layer in enumerate(module.model.layers)
            for name, linear in layer.named_modules() if isinstance(linear, nn.Linear)}
    for name, linear in text.items():
        linear.register_forward_hook(partial(keep, name))
    module(inputs(), MASK, layout=layout())
    assert len(seen) == 14  # seven in each of two layers
    for name, (given, output) in seen.items():
        weights = torch.where(SPLICED[..., None, None], module.expert.get_submodule(name).weight, text[name].weight)
        assert_close(output, torch.einsum("blod,bld->blo", weights, given), atol=1e-5, rtol=1e-5)  # float32 sums


@pytest.mark.parametrize(("shared", "numbers"), [(True, NUMBERS), (False, [list(range(9)), list(range(6))])])
def test_media_without_text_between_share_a_position_number(shared: bool, numbers: list[list[int]]) -> None:
    module, given = backbone(shared_positions=shared), []
    module.model.rotary_emb.register_forward_pre_hook(lambda _, args, named: given.append(named["position_ids"]),
                                                      with_kwargs=True)
    module(inputs(), MASK, layout=layout())
    assert [given[0][row, :length].tolist() for row, length in enumerate(LENGTHS)] == numbers


def test_steps_of_rows_padded_on_the_left_equal_one_pass() -> None:
    module, given = backbone(), inputs()
    whole = module(given, MASK, layout=layout())
    order = (torch.arange(9) + LENGTHS[:, None]) % 9
    left, mask = given[torch.arange(2)[:, None], order], torch.arange(9) >= 9 - LENGTHS[:, None]
    moved = layout().padded_left(9 - LENGTHS, order)
    state = module.init_state(2, InputLayout(moved.prompts, moved.spliced[:, :7]))
    first, state = module.step(left[:, :7], mask[:, :7], state)
    second, state = module.step(left[:, 7:], mask, state)
    found = torch.cat([first, second], dim=1)
    for row, length in enumerate(LENGTHS.tolist()):
        assert_close(found[row, 9 - length:], whole[row, :length], atol=1e-5, rtol=1e-5)  # other kernels: float32 sums


@pytest.mark.parametrize(("family", "idle"), [("llama", 5), ("gpt_neox", 6)])  # of each: two weights, or three with biases
def test_a_loss_of_text_reaches_every_weight_but_those_that_are_stated(family: str, idle: int) -> None:
    module = backbone(model_type=family)
    module(inputs(), MASK, layout=layout())[MASK & ~SPLICED].square().sum().backward()
    weights = {f"expert.{name}": weight for name, weight in module.expert.named_parameters()}
    weights |= {f"model.layers.{name}": weight for name, weight in module.model.layers.named_parameters()}
    still = [name for name, weight in weights.items() if weight.grad is None or not weight.grad.any()]
    assert still == unused(module)
    assert len(still) == idle


def test_a_batch_of_text_leaves_experts_without_gradient() -> None:
    module = backbone()
    none = InputLayout(LENGTHS, torch.zeros_like(SPLICED))
    module(inputs(), MASK, layout=none)[MASK].square().sum().backward()
    assert all(weight.grad is not None and not weight.grad.any() for weight in module.expert.parameters())


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt_neox"])
def test_footprint_counts_every_parameter(family: str) -> None:
    config = HFExpert(model_type=family)
    assert sum(weight.numel() for weight in config.build().parameters()) == config.footprint().parameters


def test_a_mixture_of_experts_is_refused() -> None:
    with pytest.raises(ValueError, match="experts is 4, but hf_expert has experts by position; set experts=0"):
        HFExpert(model_type="mixtral", experts=4)
