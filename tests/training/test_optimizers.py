"""Rates, groups, and which optimizer moves what."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

import pytest
import torch
from doubles import make_plan, write_tokenizer
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.optim import Muon, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from omnikit.errors import RunError
from omnikit.model import OmniModel
from omnikit.plan.plan import StagePlan
from omnikit.recipe.optim import Optim
from omnikit.training.optimizers import CombinedOptimizer, check_installed, groups, optimizer, part_options, rate
from omnikit.training.roles import decaying, matrices
from omnikit.training.trainable.freeze import freeze


class Layer(nn.Module):
    """One of the repeated layers: a matrix of each shape, and what Muon must leave alone."""

    def __init__(self) -> None:
        super().__init__()
        self.square, self.high, self.wide = nn.Linear(8, 8), nn.Linear(8, 32), nn.Linear(32, 8, bias=False)
        self.positions, self.convolution = nn.Embedding(5, 8), nn.Conv1d(8, 8, 3)


@pytest.fixture
def model(tmp_path: Path) -> OmniModel:
    found = OmniModel(make_plan(write_tokenizer(tmp_path)))
    torch.manual_seed(0)
    found.get_submodule("audio.projector").layers = nn.ModuleList([Layer(), Layer()])
    freeze(found, ("audio.projector",))
    return found


def stage(model: OmniModel, optim: Optim) -> StagePlan:
    plan = model.plan.stages["understand"]
    return replace(plan, trained=("audio.projector",), stage=replace(plan.stage, optim=optim))


def moved(model: OmniModel, plan: StagePlan, factor: float = 1.0) -> dict[str, Tensor]:
    """Give how far one step moves each weight, at random gradients and a share of the rates."""
    part = model.get_submodule("audio.projector")
    before = {name: weight.detach().clone() for name, weight in part.named_parameters()}
    moves = optimizer(model, plan, fused=True)
    LambdaLR(moves, lambda step: factor)
    generator = torch.Generator().manual_seed(1)
    for weight in part.parameters():
        weight.grad = torch.randn(weight.shape, generator=generator)
    moves.step()
    return {name: weight.detach() - before[name] for name, weight in part.named_parameters()}


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [("cosine", 0, 0.1), ("cosine", 9, 1.0), ("cosine", 10, 1.0), ("cosine", 55, 0.5), ("cosine", 100, 0.0),
     ("linear", 55, 0.5), ("linear", 100, 0.0), ("constant", 4, 0.5), ("constant", 99, 1.0)],
)
def test_rate_warms_up_then_follows_the_schedule(
        schedule: Literal["cosine", "linear", "constant"], step: int, expected: float) -> None:
    optim = Optim(schedule=schedule, warmup=0.1)
    assert rate(step, 100, optim) == pytest.approx(expected)


def test_rate_without_warmup_starts_at_the_peak() -> None:
    assert rate(0, 100, Optim(warmup=0.0)) == 1.0


def test_part_takes_its_own_numbers_then_its_branch_s() -> None:
    optim = Optim(parts={"audio": {"lr": 1e-4, "encoder": {"lr": 2e-6}}, "backbone": {"weight_decay": 0.5}})
    assert part_options(optim, "audio.encoder") == {"lr": 2e-6}
    assert part_options(optim, "audio.projector") == {"lr": 1e-4}
    assert part_options(optim, "backbone") == {"weight_decay": 0.5}


def test_groups_decay_matrices_only(tmp_path: Path) -> None:
    model = OmniModel(make_plan(write_tokenizer(tmp_path)))
    freeze(model, ("audio.projector",))
    found = groups(model, ("audio.projector",), Optim(lr=0.1, weight_decay=0.5, parts={"audio": {"projector": {"lr": 0.2}}}))
    numbers = [(group["lr"], group["weight_decay"], [p.ndim for p in group["params"]]) for group in found]
    assert numbers == [(0.2, 0.5, [2]), (0.2, 0.0, [1])]


def test_muon_moves_matrices_orthogonally_and_adamw_the_rest(model: OmniModel) -> None:
    steps = moved(model, stage(model, Optim(lr=1e-3, muon=0.02, weight_decay=0.0)))
    for name, step in steps.items():
        if name.startswith("layers") and step.ndim == 2 and "positions" not in name:
            scale = 0.02 * max(1.0, step.shape[0] / step.shape[1]) ** 0.5
            singular = torch.linalg.svdvals(step / scale)
            assert singular.min() > 0.6 and singular.max() < 1.3, name  # Newton-Schulz in five steps ends about 1
        else:
            assert torch.allclose(step.abs(), torch.tensor(1e-3), rtol=1e-3), name  # AdamW's first step


def test_schedule_scales_both(model: OmniModel) -> None:
    whole = moved(model, stage(model, Optim(muon=0.02, weight_decay=0.0)))
    model.get_submodule("audio.projector").load_state_dict({  # back to where it was
        name: weight - whole[name] for name, weight in model.get_submodule("audio.projector").named_parameters()})
    for name, step in moved(model, stage(model, Optim(muon=0.02, weight_decay=0.0)), 0.25).items():
        assert torch.allclose(step, 0.25 * whole[name], atol=1e-6), name


def test_part_s_own_rate_scales_muon_alike(model: OmniModel) -> None:
    plain = moved(model, stage(model, Optim(muon=0.02, weight_decay=0.0)))
    halved = moved(model, stage(model, Optim(muon=0.02, weight_decay=0.0, parts={"audio": {"projector": {"lr": 5e-4}}})))
    assert torch.allclose(halved["layers.0.square.weight"], 0.5 * plain["layers.0.square.weight"], atol=1e-6)


def test_matrices_are_those_of_repeated_layers(model: OmniModel) -> None:
    layer = Layer()
    part = nn.ModuleDict({"table": nn.Embedding(4, 8), "classes": nn.Linear(8, 4), "layers": nn.ModuleList([layer])})
    assert {id(w) for w in matrices(part)} == {id(m.weight) for m in (layer.square, layer.high, layer.wide)}


class Decayed(nn.Module):
    """One parameter of each role; only those whose name begins with `decays` decay."""

    def __init__(self) -> None:
        super().__init__()
        self.decays_kernel = nn.Conv1d(4, 4, 3, bias=False)
        self.decays_direction = weight_norm(nn.Conv1d(4, 4, 3, bias=False))
        self.decays_tokens = nn.Embedding(7, 4)
        self.decays_experts = nn.Parameter(torch.randn(3, 4, 5))
        self.gain_of_a_norm = nn.LayerNorm(4)
        self.embed_positions = nn.Embedding(9, 4)
        self.class_embedding = nn.Parameter(torch.randn(1, 1, 4))
        self.bias_u = nn.Parameter(torch.randn(4, 4))
        self.own_table = nn.Embedding(5, 4)

    def no_weight_decay(self) -> set[str]:
        return {"own_table.weight"}


def test_decay_is_by_role_and_not_by_dimensions() -> None:
    part = Decayed()
    decayed = {id(weight) for weight in decaying(part)}
    names = {name for name, weight in part.named_parameters() if id(weight) in decayed}
    assert names == {"decays_kernel.weight", "decays_direction.parametrizations.weight.original1", "decays_tokens.weight",
                     "decays_experts"}


class Experts(nn.Module):
    """Fused experts, as transformers stores Mixtral's."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.zeros(3, 16, 8))
        self.bias_u = nn.Parameter(torch.zeros(4, 8))


def test_muon_moves_each_expert_as_it_moves_its_matrix_alone(model: OmniModel) -> None:
    experts, generator = Experts(), torch.Generator().manual_seed(2)
    part = model.get_submodule("audio.projector")
    part.layers = nn.ModuleList([experts])
    freeze(model, ("audio.projector",))
    gradients = torch.randn(3, 16, 8, generator=generator)
    alone = [nn.Parameter(torch.zeros(16, 8)) for _ in range(3)]
    for weight, gradient in zip(alone, gradients, strict=True):
        weight.grad = gradient
    Muon(alone, lr=0.02, weight_decay=0.0).step()
    experts.gate_up_proj.grad = gradients
    optimizer(model, stage(model, Optim(muon=0.02, weight_decay=0.0)), fused=True).step()
    torch.testing.assert_close(experts.gate_up_proj.detach(), torch.stack([weight.detach() for weight in alone]))


def test_combined_optimizer_goes_on_from_its_state(model: OmniModel) -> None:
    part, generator = model.get_submodule("audio.projector"), torch.Generator().manual_seed(3)
    part.layers.append(Experts())
    freeze(model, ("audio.projector",))
    gradients = [torch.randn(weight.shape, generator=generator) for weight in part.parameters()]
    plan = stage(model, Optim(muon=0.02))

    def step(moves: Optimizer) -> None:
        for weight, gradient in zip(part.parameters(), gradients, strict=True):
            weight.grad = gradient.clone()
        moves.step()

    first = optimizer(model, plan, fused=True)
    step(first)
    saved = copy.deepcopy((first.state_dict(), part.state_dict()))
    step(first)
    expected = copy.deepcopy(part.state_dict())
    part.load_state_dict(saved[1])
    second = optimizer(model, plan, fused=True)
    assert isinstance(second, CombinedOptimizer)
    second.load_state_dict(saved[0])
    step(second)
    torch.testing.assert_close(part.state_dict(), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["adamw_8bit", "adafactor", "muon"])
def test_each_optimizer_lowers_a_loss(model: OmniModel, name: Literal["adamw_8bit", "adafactor", "muon"]) -> None:
    layer = cast(nn.ModuleList, model.get_submodule("audio.projector.layers"))[0].get_submodule("square")
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(4))
    wanted = x @ torch.randn(8, 8, generator=torch.Generator().manual_seed(5))
    moves = optimizer(model, stage(model, Optim(name=name, lr=0.05, weight_decay=0.0)), fused=True)
    losses = []
    for _ in range(30):
        moves.zero_grad()
        loss = (layer(x) - wanted).square().mean()
        loss.backward()
        moves.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_8bit_moments_take_a_quarter_of_adamw_s(model: OmniModel) -> None:
    part = model.get_submodule("audio.projector")
    part.wide = nn.Linear(64, 256, bias=False)
    freeze(model, ("audio.projector",))
    moves = optimizer(model, stage(model, Optim(name="adamw_8bit")), fused=True)
    part.wide.weight.grad = torch.ones(256, 64)
    moves.step()
    moments = moves.state_dict()["optimizers"][0]["state"]
    state = next(one["exp_avg"] for one in moments.values() if one["exp_avg"].shape == (256, 64))
    assert state.codes.element_size() == 1 and state.scale.numel() == 256 * 64 // 256


def test_missing_package_is_one_sentence(model: OmniModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnikit.training.optimizers.find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"stages.understand.optim.name is adamw_8bit_paged, which package bitsandbytes makes"):
        check_installed([stage(model, Optim(name="adamw_8bit_paged"))])


def test_muon_without_a_matrix_is_refused(tmp_path: Path) -> None:
    model = OmniModel(make_plan(write_tokenizer(tmp_path)))
    with pytest.raises(RunError, match=r"optim.muon is 0.02, but .* repeated layers, and audio.projector have none; set it"):
        optimizer(model, stage(model, Optim(muon=0.02)), fused=True)
