"""Moments in the host's memory: the same steps, in a state that a training without them resumes."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from doubles import FakeEncoder, make_plan, stages, write_tokenizer
from stopping import crash, outcome, stopping
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose
from omnikit.training import offload
from omnikit.training.offload import OffloadedOptimizer
from omnikit.training.optimizers import ExpertMuon
from omnikit.training.stage import run_stages


def weights() -> list[nn.Parameter]:
    draws = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(size, size + 1, generator=draws)) for size in (3, 5, 8)]


def stepped(optimizer: Optimizer, moved: list[nn.Parameter], steps: int = 3) -> list[Tensor]:
    draws = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for weight in moved:
            weight.grad = torch.randn(weight.shape, generator=draws)
        optimizer.step()
    return [weight.detach().clone() for weight in moved]


@pytest.mark.parametrize("kind", [AdamW, Muon])
@pytest.mark.parametrize("bucket", [1, 40, 10**6])
def test_steps_of_buckets_are_those_of_all_weights(kind: type[Optimizer], bucket: int) -> None:
    plain, own = weights(), weights()
    expected = stepped(kind([{"params": plain[:1], "lr": 0.1}, {"params": plain[1:], "lr": 0.01}]), plain)
    inner = kind([{"params": own[:1], "lr": 0.1}, {"params": own[1:], "lr": 0.01}])
    assert all(map(torch.equal, stepped(OffloadedOptimizer(inner, bucket), own), expected))


def test_schedule_reaches_the_inner_optimizer() -> None:
    own = weights()
    optimizer = OffloadedOptimizer(AdamW(own, lr=0.1), bucket=1)
    optimizer.param_groups[0]["lr"] = 0.0
    assert all(map(torch.equal, stepped(optimizer, own), weights()))


def test_state_is_that_of_the_inner_optimizer() -> None:
    plain, own = weights(), weights()
    optimizer = AdamW(plain, lr=0.1)
    stepped(optimizer, plain)
    again = OffloadedOptimizer(AdamW(own, lr=0.2), bucket=1)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert again.param_groups[0]["lr"] == 0.1
    for weight, other in zip(own, plain, strict=True):
        weight.data.copy_(other)
    assert all(map(torch.equal, stepped(again, own), stepped(optimizer, plain)))


def test_fused_experts_step_alike() -> None:
    found = []
    for wrapped in (False, True):
        experts = [nn.Parameter(torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0)))]
        optimizer = ExpertMuon([{"params": experts}], 0.1)
        optimizer.inner = OffloadedOptimizer(optimizer.inner, bucket=1) if wrapped else optimizer.inner
        found += stepped(optimizer, experts)
    assert torch.equal(*found)


def plan_of(tokenizer: str, name: str) -> Plan:
    stage = stages(8)["listen"]
    trainer = replace(stage.trainer, save_every=3, log_every=2, offload=name)
    return make_plan(tokenizer, encoder=FakeEncoder(dim=128), only={"listen": replace(stage, trainer=trainer)})


@pytest.mark.parametrize("resumed", ["none", "optimizer"])
def test_stage_is_the_same_and_resumes_with_and_without(tmp_path: Path, resumed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offload, "BUCKET", 1)
    tokenizer = write_tokenizer(tmp_path)
    run_stages(plan_of(tokenizer, "none"), tmp_path / "without", "")
    with stopping(5, crash), pytest.raises(RuntimeError):
        run_stages(plan_of(tokenizer, "optimizer"), tmp_path / "with", "")
    run_stages(plan_of(tokenizer, resumed), tmp_path / "with", "")
    assert outcome(tmp_path / "with", "listen") == outcome(tmp_path / "without", "listen")


@pytest.mark.parametrize(("preset", "expected"), [
    ("bf16", ("bf16-mixed", False, "none", "auto")), ("memory_efficient", ("bf16-true", True, "none", "auto")),
    ("cpu_offload", ("bf16-true", True, "optimizer", "auto")),
    ("fsdp2_memory_efficient", ("bf16-true", True, "none", "fsdp2"))])
def test_preset_counts_in_stages_that_train_heads(preset: str, expected: tuple[object, ...]) -> None:
    plan = make(compose("llama_omni/tiny", [f"trainer={preset}"]))
    trainer = plan.stages["understand"].stage.trainer
    assert (trainer.precision, trainer.activation_checkpointing, trainer.offload, trainer.strategy) == expected
    assert plan.stages["voice"].stage.trainer.precision == "32-true"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_moments_are_in_the_hosts_memory_between_steps() -> None:
    own = [nn.Parameter(weight.detach().cuda()) for weight in weights()]
    inner = AdamW(own, lr=0.1)
    stepped(OffloadedOptimizer(inner, bucket=1), own)
    assert {state["exp_avg"].device.type for state in inner.state.values()} == {"cpu"}

