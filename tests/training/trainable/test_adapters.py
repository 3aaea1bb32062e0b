"""Adapters on layers of any kind: what PEFT runs while training is what is added to the weights afterwards."""

from pathlib import Path

import pytest
import torch
from omnikit_hf.config import HF
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from omnikit.errors import RunError
from omnikit.plan.tuning import Lora
from omnikit.store.adapters import own_adapter, peft_adapter
from omnikit.store.hashes import weights_hash
from omnikit.store.tensors import in_memory
from omnikit.training.trainable.adapters import attach, detach, facts_of, target_layers


class Blocks(nn.Module):
    """Every kind of layer that can have an adapter, in a row, and some that cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 6)
        self.into = nn.Linear(6, 8)
        self.layers = nn.ModuleList(nn.ModuleDict({"up": nn.Linear(8, 10), "down": nn.Linear(10, 8, bias=False)})
                                    for _ in range(3))
        self.turned = Conv1D(5, 8)
        self.conv = nn.Conv1d(5, 4, 3, padding=1)
        self.attention = nn.MultiheadAttention(4, 2)
        self.head = nn.Linear(4, 11, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.into(self.table(ids))
        for layer in self.layers:
            x = x + layer["down"](torch.relu(layer["up"](x)))
        return self.head(self.conv(self.turned(x).transpose(1, 2)).transpose(1, 2))


def trained(module: nn.Module, lora: Lora) -> nn.Module:
    """Put adapters on and let them be as if trained."""
    attach(module, lora, "train.part.lora", "part")
    with torch.no_grad():
        for name, weights in module.named_parameters():
            if ".lora_" in name:
                weights.add_(torch.randn_like(weights) * 0.1)
    return module.eval()


EVERY = ("table", "into", "layers", "turned", "conv", "head")
LINEAR = ("into", "layers", "turned", "head")


@pytest.mark.parametrize("lora", [
    Lora(4, 8, targets=EVERY), Lora(4, 8, targets=EVERY, rslora=True), Lora(2, 5, targets=LINEAR, dora=True),
], ids=["lora", "rslora", "dora"])
def test_what_ran_is_what_is_merged(lora: Lora) -> None:
    torch.manual_seed(0)
    module, ids = Blocks(), torch.arange(11)[None]
    plain, before = module.eval()(ids), weights_hash(module)
    expected = trained(module, lora)(ids)
    tensors = detach(module)
    assert weights_hash(module) == before and torch.equal(module(ids), plain)
    adapter = own_adapter(Path("w"), {name: in_memory(name, Path("w"), tensor) for name, tensor in tensors.items()},
                          facts_of(module, tensors, lora, "base"))
    merged = adapter.merged({name: in_memory(name, Path("w"), tensor) for name, tensor in module.state_dict().items()})
    module.load_state_dict({name: tensor.read() for name, tensor in merged.items()})
    assert not torch.allclose(expected, plain, atol=0.01)
    torch.testing.assert_close(module(ids), expected, atol=2e-5, rtol=1e-5)  # sums in another order


def test_a_folder_that_peft_wrote_is_merged_as_peft_merges(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    module, ids = Blocks().eval(), torch.arange(11)[None]
    base = {name: in_memory(name, tmp_path, tensor.clone()) for name, tensor in module.state_dict().items()}
    wrapped = get_peft_model(module, LoraConfig(r=3, lora_alpha=7, target_modules=["up", "into"], alpha_pattern={"into": 2},
                                                rank_pattern={"into": 2}, modules_to_save=["head"]))
    with torch.no_grad():
        for weights in wrapped.parameters():
            weights.add_(torch.randn_like(weights) * 0.3 if weights.requires_grad else 0.0)
    expected = wrapped(ids)
    wrapped.save_pretrained(tmp_path / "adapter")
    merged = peft_adapter(tmp_path / "adapter").merged(base)
    again = Blocks().eval()
    again.load_state_dict({name: tensor.read() for name, tensor in merged.items()})
    torch.testing.assert_close(again(ids), expected, atol=2e-5, rtol=1e-5)


def test_only_linear_layers_of_repeated_blocks_are_found_by_themselves() -> None:
    assert target_layers(Blocks(), Lora(), "train.part.lora", "part") == [
        f"layers.{number}.{name}" for number in range(3) for name in ("up", "down")]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_adapters_are_saved_in_the_dtype_of_their_layers(dtype: torch.dtype) -> None:
    tensors = detach(trained(Blocks().to(dtype), Lora(2, targets=LINEAR, dora=True)))
    assert {tensor.dtype for tensor in tensors.values()} == {dtype}


def test_where_nothing_repeats_all_linear_layers_are_found() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))
    assert target_layers(module, Lora(), "train.part.lora", "part") == ["0", "2"]


def test_shared_weights_have_no_adapter() -> None:
    module = nn.ModuleDict({"table": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False), "other": nn.Linear(3, 3)})
    module["head"].weight = module["table"].weight
    assert target_layers(module, Lora(), "train.part.lora", "part") == ["other"]


def test_a_table_that_is_the_output_matrix_too_has_no_adapter() -> None:
    lora = Lora(targets=("embed_tokens", "q_proj"))
    assert target_layers(HF().build(), lora, "train.backbone.lora", "backbone")[0] == "model.embed_tokens"
    with pytest.raises(RunError, match="names 'embed_tokens', but backbone has no such layer"):
        target_layers(HF(tie_embeddings=True).build(), lora, "train.backbone.lora", "backbone")


@pytest.mark.parametrize(("module", "lora", "sentence"), [
    (nn.LayerNorm(3), Lora(), "train.part.lora finds no linear layer in part; train it with full, or not."),
    (nn.Sequential(nn.Conv1d(2, 2, 1)), Lora(), "train.part.lora finds no linear layer in part; name some of 0 in"
                                                " train.part.lora.targets."),
    (Blocks(), Lora(targets=("downn",)), "train.part.lora.targets names 'downn', but part has no such layer that can have an"
     " adapter. Did you mean 'down'? It has: conv, head, into, layers.*.down, layers.*.up, table, turned."),
    (Blocks(), Lora(targets=("out_proj",)), "train.part.lora.targets names 'out_proj', but part has no such layer that can have"
     " an adapter. It has: conv, head, into, layers.*.down, layers.*.up, table, turned."),
    (Blocks(), Lora(targets=("conv",), dora=True), "train.part.lora.targets names 'conv', but part has no such layer that can"
     " have an adapter. Did you mean 'down'? It has: head, into, layers.*.down, layers.*.up, turned."),
], ids=["nothing", "convolution", "misspelt", "attention", "dora"])
def test_targets_that_are_not_there_are_named(module: nn.Module, lora: Lora, sentence: str) -> None:
    with pytest.raises(RunError) as caught:
        target_layers(module, lora, "train.part.lora", "part")
    assert str(caught.value) == sentence


def test_an_adapter_for_another_base_is_refused() -> None:
    module, lora = nn.ModuleDict({"a": nn.Linear(3, 4)}), Lora(2)
    tensors = detach(trained(module, lora))
    adapter = own_adapter(Path("w"), {name: in_memory(name, Path("w"), tensor) for name, tensor in tensors.items()},
                          facts_of(module, tensors, lora, "base"))
    with pytest.raises(RunError, match=r"w changes a.weight of shape \(4, 3\), but the base has \(4, 5\); give the base that"):
        adapter.merged({"a.weight": in_memory("a.weight", Path("b"), torch.zeros(4, 5))})
    with pytest.raises(RunError, match=r"w changes a.weight, but the base has no such tensor; give the base that"):
        adapter.merged({})


def test_an_adapter_of_a_7b_model_is_below_100_mb() -> None:
    with torch.device("meta"):
        model = HF(model_type="qwen2", dim=3584, layers=28, heads=28, kv_heads=4, ffn=18944, vocabulary=152064).build()
    names = target_layers(model, Lora(rank=16), "train.backbone.lora", "backbone")
    assert len(names) == 28 * 7  # q, k, v, o, gate, up and down of each layer
    numbers = 16 * sum(sum(model.get_submodule(name).weight.shape) for name in names)
    by_hand = 16 * 28 * (2 * (3584 + 3584) + 2 * (3584 + 512) + 3 * (3584 + 18944))
    assert numbers == by_hand and 2 * numbers < 100e6  # in bfloat16, as its base
