"""Stages in less memory: the same gradients from fewer saved tensors, frozen weights in bfloat16 and back."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from doubles import EchoDataset, make_plan, stages, write_tokenizer
from omnikit_hf.config import HF
from omnikit_internvit.config import InternVit
from omnikit_mel_cnn.config import MelCnn
from omnikit_whisper.config import Whisper
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from omnikit.contracts.types import Signal
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan
from omnikit.recipe.recipe import TrainerConfig
from omnikit.store.quantise import small
from omnikit.store.runs import WEIGHTS
from omnikit.store.tensors import in_file
from omnikit.training.memory import activation_checkpointing, compiled, frozen_in_bfloat16, repeated_layers
from omnikit.training.stage import run_stages
from omnikit.training.trainable.freeze import freeze

MIXTRAL = HF(model_type="mixtral", experts=4, ffn=96)


class Saved:
    """Bytes that autograd keeps for the backward pass, a storage once; weights are not counted."""

    def __init__(self, module: nn.Module) -> None:
        self.weights = {weight.untyped_storage().data_ptr() for weight in module.parameters()}
        self.storages: dict[int, int] = {}

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.weights:
            self.storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    def total(self) -> int:
        return sum(self.storages.values())


def backbone_loss(part: nn.Module) -> Tensor:
    torch.manual_seed(1)
    inputs = torch.randn(2, 30, part.model.config.hidden_size, requires_grad=True)
    part(inputs, torch.ones(2, 30, dtype=torch.bool)).square().mean().backward()
    assert inputs.grad is not None
    return inputs.grad


def encoder_loss(part: nn.Module) -> Tensor:
    torch.manual_seed(1)
    shape = (2, *part.config.input.shape) if part.config.input.modality == "image" else (2, 16000)
    data = part(Signal(torch.randn(shape), torch.full((2,), shape[1]))).data
    data.square().mean().backward()
    return data.detach()


PARTS = {"llama": (HF(layers=6), backbone_loss), "mixtral": (MIXTRAL, backbone_loss),
         "whisper": (Whisper(layers=6), encoder_loss), "mel_cnn": (MelCnn(layers=6), encoder_loss),
         "internvit": (InternVit(layers=6), encoder_loss)}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("mode", ["trained", "frozen"])
def test_gradients_are_the_same_from_fewer_saved_bytes(name: str, mode: str) -> None:
    config, loss = PARTS[name]
    found, saved = [], []
    for parts in ((), ("part",)):
        torch.manual_seed(0)
        model = nn.ModuleDict({"part": config.build()}).train(mode == "trained")
        model.requires_grad_(mode == "trained" or loss is encoder_loss)
        counter = Saved(model)
        with activation_checkpointing(model, parts), saved_tensors_hooks(counter.pack, lambda tensor: tensor):
            given = loss(model["part"])
        found.append([given, *(weight.grad for weight in model.parameters() if weight.grad is not None)])
        saved.append(counter.total())
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)
    assert saved[1] < 0.5 * saved[0]


def test_layers_with_state_are_left_out_and_forward_comes_back() -> None:
    plain, counting = nn.Linear(2, 2), nn.BatchNorm1d(2)
    model = nn.ModuleDict({"part": nn.Sequential(nn.ModuleList([plain, counting]))})
    assert repeated_layers(model) == [plain]
    with activation_checkpointing(model, ["part"]):
        assert "forward" in vars(plain) and "forward" not in vars(counting)
    assert "forward" not in vars(plain)


def test_compiled_parts_are_compiled_for_the_stage_only() -> None:
    model = nn.ModuleDict({"part": nn.Linear(2, 2), "other": nn.Linear(2, 2)})
    with compiled(model, ["part"]):
        assert model["part"]._compiled_call_impl is not None and model["other"]._compiled_call_impl is None
    assert model["part"]._compiled_call_impl is None


def test_frozen_weights_are_bfloat16_meanwhile_and_the_same_afterwards(tmp_path: Path) -> None:
    model = OmniModel(make_plan(write_tokenizer(tmp_path)))
    freeze(model, ("audio.projector",))
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    with frozen_in_bfloat16(model):
        kinds = {name: weight.dtype for name, weight in model.named_parameters()}
    assert kinds["audio.projector.linear.weight"] == torch.float32
    matrices = {name for name, weight in before.items() if weight.ndim > 1 and name.startswith(("audio.encoder", "backbone"))}
    assert {kinds[name] for name in matrices} == {torch.bfloat16}
    torch.testing.assert_close(dict(model.named_parameters()), before, rtol=0, atol=0)


def test_a_frozen_weight_that_moved_stays_moved(tmp_path: Path) -> None:
    model = OmniModel(make_plan(write_tokenizer(tmp_path)))
    freeze(model, ("audio.projector",))
    weight = next(model.get_submodule("backbone").parameters())
    with frozen_in_bfloat16(model):
        weight.data[0] += 1.0
    assert weight.dtype == torch.bfloat16


def test_weights_in_8_bits_are_left_as_they_are(tmp_path: Path) -> None:
    model = OmniModel(make_plan(write_tokenizer(tmp_path)))
    freeze(model, ("audio.projector",))
    layer = next(module for module in model.get_submodule("backbone").modules() if type(module) is nn.Linear)
    layer.weight = nn.Parameter(small(layer.weight.detach(), "8bit"), requires_grad=False)
    before = layer.weight
    with frozen_in_bfloat16(model):
        assert layer.weight is before and layer.weight.dtype == torch.float32


def trained(plan: Plan, folder: Path) -> dict[str, Tensor]:
    run_stages(plan, folder, "")
    return {name: tensor.read() for name, tensor in in_file(folder / "understand" / WEIGHTS).items()}


def only(tokenizer: str, settings: TrainerConfig) -> Plan:
    stage = replace(stages(12)["understand"], trainer=settings)
    return make_plan(tokenizer, echo=EchoDataset(rows=16), only={"understand": stage})


def test_a_stage_ends_the_same_with_its_activations_recomputed(tmp_path: Path) -> None:
    tokenizer, settings = write_tokenizer(tmp_path), TrainerConfig(max_steps=4, batch_size=4)
    plain = trained(only(tokenizer, settings), tmp_path / "plain")
    saving = trained(only(tokenizer, replace(settings, activation_checkpointing=True)), tmp_path / "saving")
    torch.testing.assert_close(saving, plain, rtol=0, atol=0)


def test_a_stage_in_bfloat16_ends_near_float32_and_keeps_float32_weights(tmp_path: Path) -> None:
    tokenizer, settings = write_tokenizer(tmp_path), TrainerConfig(max_steps=4, batch_size=4)
    plain = trained(only(tokenizer, settings), tmp_path / "plain")
    half = trained(only(tokenizer, replace(settings, precision="bf16-true")), tmp_path / "half")
    assert {tensor.dtype for name, tensor in half.items() if tensor.is_floating_point()} == {torch.float32}
    torch.testing.assert_close(half, plain, rtol=0.05, atol=0.05)  # bfloat16 has three digits
