"""Footprints against the modules themselves: parameters of every preset, and what autograd keeps."""

from functools import partial

import pytest
import torch
from omnikit_hf.config import HF
from omnikit_internvit.config import InternVit
from omnikit_mel_cnn.config import MelCnn
from omnikit_whisper.config import Whisper
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from omnikit import registry
from omnikit.contracts.footprint import Footprint
from omnikit.contracts.specs import CodecSpec, FeatureSpec
from omnikit.contracts.types import Signal
from omnikit.recipe.presets import preset_fields
from omnikit.recipe.schema import construct

SOURCE, CODEC = FeatureSpec(256, count=10), CodecSpec(16000, 50, 1, 100, merged=True)
ARGUMENTS = {"encoder": (), "backbone": (), "codec": (), "projector": (SOURCE, 512), "head": (SOURCE, CODEC, 665)}


def presets() -> list[tuple[str, str]]:
    return [(kind, name) for kind in ARGUMENTS for name in (*registry.components(kind), *registry.presets(kind))]


@pytest.mark.parametrize(("kind", "name"), presets(), ids=[f"{kind}-{name}" for kind, name in presets()])
def test_parameters_are_those_of_the_module(kind: str, name: str) -> None:
    fields = preset_fields(kind, name)
    errors: list[str] = []
    use = fields.pop("use")
    config = construct(registry.component(kind, use), fields, kind, errors)
    source = {"prompt_embeddings": FeatureSpec(1, count=1), "nar_ar": FeatureSpec(4 * 896, count=10)}.get(use, SOURCE)
    arguments = (source, *ARGUMENTS[kind][1:]) if ARGUMENTS[kind] else ()
    build, footprint = (config.build, config.footprint) if hasattr(config, "build") else (
        partial(config.build_fused, [SOURCE]), partial(config.fused_footprint, [SOURCE]))
    arguments = arguments if hasattr(config, "build") else arguments[1:]
    with torch.device("meta"):
        module = build(*arguments)
    assert footprint(*arguments).parameters == sum(weight.numel() for weight in module.parameters()), errors


def saved_bytes(module: nn.Module, inputs: tuple[object, ...], *, half: bool) -> int:
    """Give the bytes that autograd keeps of a forward pass, beside weights and their copies in halves."""
    copies = {weight.shape for weight in module.parameters()} | {weight.shape[::-1] for weight in module.parameters()}
    weights = {weight.untyped_storage().data_ptr() for weight in module.parameters()}
    storages: dict[int, int] = {}
    held: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        held.append(tensor)
        if tensor.untyped_storage().data_ptr() not in weights and tensor.shape not in copies:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16, enabled=half):
        found = module.train()(*inputs)  # held until the bytes are summed
    assert found is not None
    return sum(storages.values())


def predicted(footprint: Footprint, units: int, length: int, *, half: bool) -> float:
    layer = footprint.layer.size(half=half) + footprint.square * length * (2 if half else 4)
    return units * (footprint.layers * layer + footprint.outside.size(half=half))


MASK = torch.ones(3, 50, dtype=torch.bool).index_fill(1, torch.tensor([49]), False)
WAVES = Signal(torch.randn(3, 32000), torch.tensor([32000, 32000, 20000]))
TILES = Signal(torch.randn(5, 3, 64, 64), torch.ones(5, dtype=torch.int64))
CASES = {
    "llama": (HF(layers=5), (torch.randn(3, 50, 128), MASK), 150, 50),
    "qwen2": (HF(model_type="qwen2", layers=5, dim=192, ffn=256), (torch.randn(3, 50, 192), MASK), 150, 50),
    "mixtral": (HF(model_type="mixtral", layers=5, experts=4, ffn=192), (torch.randn(3, 50, 128), MASK), 150, 50),
    "whisper": (Whisper(layers=5), (WAVES,), 300, 100),
    "mel_cnn": (MelCnn(layers=5, positions="relative", embed=True), (WAVES,), 147, 49),
    "internvit": (InternVit(layers=5, stem=(24, 48, 96)), (TILES,), 80, 16),
}


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_what_autograd_keeps_is_predicted(name: str, half: bool) -> None:
    torch.manual_seed(0)
    config, inputs, units, length = CASES[name]
    found = saved_bytes(config.build(), inputs, half=half)
    tolerance = 0.25 if half else 0.05  # kernels on a CPU keep other halves than those on a GPU
    assert predicted(config.footprint(), units, length, half=half) == pytest.approx(found, rel=tolerance)
