"""Matrices in 8 and 4 bits under adapters: close, smaller, no gradient of their own, and given back to the bit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from doubles import make_plan, stages, write_tokenizer
from omnikit_hf.config import HF
from torch import nn

from omnikit.errors import RunError
from omnikit.model import OmniModel
from omnikit.plan.tuning import Lora
from omnikit.store import quantise
from omnikit.store.hashes import weights_hash
from omnikit.store.quantise import small
from omnikit.training.memory import saving_memory
from omnikit.training.trainable.adapters import attach
from omnikit.training.trainable.freeze import freeze
from omnikit.training.trainable.quantised import quantised
from omnikit.training.trainable.tuning import tuned


@pytest.mark.parametrize(("load_in", "levels"), [("8bit", 255), ("4bit", 15)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_a_quantised_layer_is_close_and_passes_gradients(load_in: str, levels: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(256, 128).to(dtype).requires_grad_(False), torch.randn(5, 256, dtype=dtype, requires_grad=True)
    expected = layer(x)
    wanted = torch.autograd.grad(expected.float().square().sum(), x)[0]
    step = 2 * layer.weight.abs().max() / levels
    layer.weight = nn.Parameter(small(layer.weight.detach(), load_in), requires_grad=False)
    found = layer(x)
    error = (found - expected).float().std()
    assert 0 < error < 2 * step * 256 ** 0.5  # an error of at most a few steps for each of 256 inputs of size 1, by chance
    torch.testing.assert_close(torch.autograd.grad(found.float().square().sum(), x)[0], wanted, atol=0.5, rtol=0.3)


@pytest.mark.parametrize("load_in", ["8bit", "4bit"])
def test_a_backbone_trains_on_quantised_matrices_and_gets_its_own_back(tmp_path: Path, load_in: str) -> None:
    stage = replace(stages(2)["understand"], train={"backbone": {"lora": {"rank": 2, "load_in": load_in}}})
    plan = make_plan(write_tokenizer(tmp_path), only={"understand": stage})
    model = OmniModel(plan)
    model._modules["backbone"] = HF(dim=64, heads=4, ffn=128, layers=2).build()
    planned = plan.stages["understand"]
    freeze(model, planned.trained)
    before = weights_hash(model.get_submodule("backbone"))
    with tuned(model, planned, dict.fromkeys(model.parts(), "")), saving_memory(model, planned):
        backbone = model.train().get_submodule("backbone")
        assert type(backbone.model.layers[0].mlp.up_proj.base_layer.weight.data) is not torch.Tensor
        moving = torch.optim.Adam([weights for weights in backbone.parameters() if weights.requires_grad], lr=0.01)
        for _ in range(2):
            moving.zero_grad()
            hidden = backbone(backbone.embed(torch.arange(20)[None]), torch.ones(1, 20, dtype=torch.bool))
            backbone.logits(hidden).square().mean().backward()
            moving.step()
    assert weights_hash(model.get_submodule("backbone")) == before


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = replace(stages(2)["understand"], train={"audio": {"projector": {"lora": {"load_in": "8bit"}}}})
    plan = make_plan(write_tokenizer(tmp_path), only={"understand": stage})
    model = OmniModel(plan)
    attach(model.get_submodule("audio.projector"), Lora(2), "here", "part")
    monkeypatch.setattr(quantise, "find_spec", lambda name: None)
    sentence = ("stages.understand.train.audio.projector.lora.load_in is 8bit, which needs the package torchao, and it is not"
                " installed here; pip install torchao, or leave load_in out.")
    with pytest.raises(RunError, match=sentence), quantised(model, plan.stages["understand"]):
        pass
