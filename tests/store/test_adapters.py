"""Adapters as PEFT writes them: merged as PEFT merges them, or refused by name."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from omnikit.errors import ConfigError, RunError
from omnikit.store.adapter_config import read
from omnikit.store.adapters import peft_adapter
from omnikit.store.tensors import in_memory


class Blocks(nn.Module):
    """Layers of every kind that PEFT adapts."""

    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(11, 6)
        self.into = nn.Linear(6, 8)
        self.square = nn.Linear(8, 8)
        self.turned = Conv1D(5, 8)
        self.turned_square = Conv1D(5, 5)
        self.conv = nn.Conv1d(5, 4, 3, padding=1)
        self.lm_head = nn.Linear(4, 11, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.turned_square(self.turned(self.square(self.into(self.embed_tokens(ids)))))
        return self.lm_head(self.conv(x.transpose(1, 2)).transpose(1, 2))


def saved(folder: Path, config: LoraConfig) -> nn.Module:
    """Write an adapter as if trained; gives the base that it was trained on."""
    torch.manual_seed(0)
    module = Blocks().eval()
    base = Blocks().eval()
    base.load_state_dict(module.state_dict())
    wrapped = get_peft_model(module, config)
    with torch.no_grad():
        for weights in wrapped.parameters():
            weights.add_(torch.randn_like(weights) * 0.3 if weights.requires_grad else 0.0)
    wrapped.save_pretrained(str(folder))
    return base


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def merged(folder: Path, base: nn.Module) -> dict[str, Tensor]:
    tensors = {name: in_memory(name, folder, tensor) for name, tensor in state(base).items()}
    return {name: tensor.read() for name, tensor in peft_adapter(folder).merged(tensors).items()}


PLAIN = ["into", "square"]
MERGED = {
    "lora": LoraConfig(r=3, lora_alpha=7, target_modules=PLAIN),
    "rslora": LoraConfig(r=3, lora_alpha=7, target_modules=PLAIN, use_rslora=True),
    "dora": LoraConfig(r=3, lora_alpha=7, target_modules=PLAIN, use_dora=True),
    "dora of a convolution": LoraConfig(r=3, target_modules=["conv"], use_dora=True),
    "dora of a transposed layer": LoraConfig(r=3, target_modules=["turned"], use_dora=True, fan_in_fan_out=True),
    "dora of a table": LoraConfig(r=3, target_modules=["embed_tokens"], use_dora=True),
    "patterns": LoraConfig(r=3, target_modules=PLAIN, rank_pattern={"into": 2}, alpha_pattern={"squ.*": 5, "into": 3}),
    "rslora with patterns": LoraConfig(r=3, target_modules=PLAIN, rank_pattern={"into": 2}, use_rslora=True),
    "modules_to_save": LoraConfig(r=3, target_modules=PLAIN, modules_to_save=["conv", "lm_head"]),
    "bias all": LoraConfig(r=3, target_modules=PLAIN, bias="all"),
    "bias lora_only": LoraConfig(r=3, target_modules=PLAIN, bias="lora_only"),
    "transposed": LoraConfig(r=3, target_modules=["turned", "turned_square"], fan_in_fan_out=True),
    "transposed, not stated": LoraConfig(r=3, target_modules=["turned"]),
    "table": LoraConfig(r=3, target_modules=["embed_tokens", "into"]),
    "convolution": LoraConfig(r=3, target_modules=["conv"]),
    "gaussian": LoraConfig(r=3, target_modules=PLAIN, init_lora_weights="gaussian"),
    "orthogonal": LoraConfig(r=2, target_modules=PLAIN, init_lora_weights="orthogonal"),
    "random": LoraConfig(r=3, target_modules=PLAIN, init_lora_weights=False),
}


@pytest.mark.parametrize("config", MERGED.values(), ids=MERGED)
def test_an_adapter_is_merged_as_peft_merges_it(config: LoraConfig, tmp_path: Path) -> None:
    base = saved(tmp_path, config)
    found = merged(tmp_path, base)
    expected = state(PeftModel.from_pretrained(base, str(tmp_path)).merge_and_unload())
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-6, rtol=1e-5)


def edit(folder: Path, **changes: object) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "pissa": ({"init_lora_weights": "pissa"}, "has init_lora_weights 'pissa', which changed the base before the training"),
    "pissa_niter": ({"init_lora_weights": "pissa_niter_16"}, "has init_lora_weights 'pissa_niter_16', which changed the base"),
    "olora": ({"init_lora_weights": "olora"}, "has init_lora_weights 'olora', which changed the base"),
    "corda": ({"init_lora_weights": "corda"}, "has init_lora_weights 'corda', which changed the base"),
    "loftq": ({"init_lora_weights": "loftq"}, "has init_lora_weights 'loftq', which changed the base"),
    "lora_ga": ({"init_lora_weights": "lora_ga"}, "has init_lora_weights 'lora_ga', which changed the base"),
    "a number for true": ({"init_lora_weights": 1}, "has init_lora_weights 1, which"),
    "alora": ({"alora_invocation_tokens": [5, 6]}, r"has alora_invocation_tokens '\[5, 6\]', and an adapter with it"),
    "qalora": ({"use_qalora": True}, "has use_qalora 'True', and an adapter with it is not merged here"),
    "lora_bias": ({"lora_bias": True}, "has lora_bias 'True', and"),
    "kasa": ({"kasa_config": {"rank": 3}}, "has kasa_config"),
    "tokens": ({"trainable_token_indices": [1]}, "has trainable_token_indices"),
    "replication": ({"layer_replication": [[0, 2]]}, "has layer_replication"),
    "parameters": ({"target_parameters": ["into.weight"]}, "has target_parameters"),
    "unknown": ({"use_newest_trick": True}, "has use_newest_trick 'True', and an adapter with it is not merged here; merge"),
    "another kind": ({"peft_type": "IA3"}, "has peft_type IA3, but only LORA is merged"),
    "alpha NaN": ({"lora_alpha": float("nan")}, "has lora_alpha nan, but it must be a finite number above 0"),
    "alpha 0": ({"lora_alpha": 0}, "has lora_alpha 0, but it must be a finite number above 0"),
    "alpha negative": ({"lora_alpha": -8}, "has lora_alpha -8, but"),
    "alpha a text": ({"lora_alpha": "16"}, "has lora_alpha '16', but"),
    "alpha true": ({"lora_alpha": True}, "has lora_alpha True, but"),
    "alpha in a pattern": ({"alpha_pattern": {"into": 0}}, r"has alpha_pattern\['into'\] 0, but it must be a finite number"),
    "rank 0": ({"r": 0}, "has r 0, but it must be a whole number of at least 1"),
    "another rank": ({"r": 4}, "gives into the rank 4, but its tensors have 3"),
    "another rank in a pattern": ({"rank_pattern": {"squ.*": 2}}, "gives square the rank 2, but its tensors have 3"),
    "pattern": ({"alpha_pattern": {"(": 1}}, r"has the pattern '\(' in alpha_pattern, which is not a regular expression"),
    "patterns a list": ({"rank_pattern": [1]}, r"has rank_pattern '\[1\]', but it must be a mapping"),
    "rslora a text": ({"use_rslora": "true"}, "has use_rslora 'true', but it must be true or false"),
    "bias": ({"bias": "some"}, "has bias 'some', but it must be one of none, all, lora_only"),
    "dora without magnitudes": ({"use_dora": True}, "has no magnitude of into, but .* has use_dora true"),
    "modules_to_save": ({"modules_to_save": ["conv"]}, "holds no tensor of conv, which .* names in modules_to_save"),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], nn.Module]:
    """Give what copies a plain adapter to a folder, and its base."""
    written = tmp_path_factory.mktemp("plain")
    base = saved(written, LoraConfig(r=3, lora_alpha=7, target_modules=PLAIN))

    def copy(folder: Path) -> nn.Module:
        for file in ("adapter_config.json", "adapter_model.safetensors"):
            (folder / file).write_bytes((written / file).read_bytes())
        return base

    return copy


@pytest.mark.parametrize(("changes", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_a_plain_adapter_is_refused_by_name(changes: dict[str, object], sentence: str, tmp_path: Path,
                                                        plain: Callable[[Path], nn.Module]) -> None:
    plain(tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(RunError, match=sentence) as caught:
        peft_adapter(tmp_path)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("changes", [{"use_newest_trick": None}, {"use_newest_trick": False}, {"newest_config": {}}], ids=str)
def test_a_key_of_a_later_peft_that_is_off_changes_nothing(changes: dict[str, object], tmp_path: Path,
                                                          plain: Callable[[Path], nn.Module]) -> None:
    base = plain(tmp_path)
    expected = merged(tmp_path, base)
    edit(tmp_path, **changes)
    torch.testing.assert_close(merged(tmp_path, base), expected, atol=0, rtol=0)


def rename(folder: Path, change: Callable[[str], str]) -> None:
    file = folder / "adapter_model.safetensors"
    save_file({change(name): tensor for name, tensor in load_file(file).items()}, file)


@pytest.mark.parametrize("name", ["default", "mine"])
def test_the_name_of_an_adapter_in_its_tensors_is_removed(name: str, tmp_path: Path,
                                                            plain: Callable[[Path], nn.Module]) -> None:
    base = plain(tmp_path)
    expected = merged(tmp_path, base)
    rename(tmp_path, lambda tensor: re.sub(r"(lora_[AB])", rf"\1.{name}", tensor))
    torch.testing.assert_close(merged(tmp_path, base), expected, atol=0, rtol=0)


def test_several_adapters_in_one_file_are_refused(tmp_path: Path, plain: Callable[[Path], nn.Module]) -> None:
    plain(tmp_path)
    rename(tmp_path, lambda tensor: tensor.replace("lora_A", "lora_A.mine").replace("lora_B", "lora_B.other"))
    with pytest.raises(RunError, match=r"adapter_model.safetensors holds the adapters mine, other, but one is merged"):
        peft_adapter(tmp_path)


@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
def test_one_of_two_tied_matrices_is_not_adapted(target: str, tmp_path: Path) -> None:
    base = {name: in_memory(name, tmp_path, tensor)
            for name, tensor in saved(tmp_path, LoraConfig(r=3, target_modules=[target])).state_dict().items()}
    adapter = peft_adapter(tmp_path)
    assert adapter.merged(base).keys() == base.keys()
    with pytest.raises(RunError, match=rf"changes {target}, but the base holds its output matrix and its embedding table"):
        adapter.merged(base, tied=True)


def test_a_head_that_the_base_does_not_store_is_not_adapted(tmp_path: Path) -> None:
    base = state(saved(tmp_path, LoraConfig(r=3, target_modules=["lm_head"])))
    without = {name: in_memory(name, tmp_path, tensor) for name, tensor in base.items() if name != "lm_head.weight"}
    with pytest.raises(RunError, match="changes lm_head, but the base holds its output matrix and its embedding table as one"):
        peft_adapter(tmp_path).merged(without)


def test_a_square_matrix_that_may_lie_either_way_is_refused(tmp_path: Path) -> None:
    base = saved(tmp_path, LoraConfig(r=3, target_modules=["turned", "turned_square"], fan_in_fan_out=True))
    edit(tmp_path, fan_in_fan_out=False)
    with pytest.raises(RunError, match=r"adapts turned_square, a square matrix, beside turned, whose shape contradicts"):
        merged(tmp_path, base)


@pytest.mark.parametrize(("base", "other"), [
    ("/models/qwen2", False), ("/models/qwen2/", False), ("Org/Qwen2", False), ("", False), ("Org/Llama-3", True),
    ("/models/llama", True)])
def test_another_base_than_the_adapter_names_is_found(base: str, other: bool, tmp_path: Path,
                                                     plain: Callable[[Path], nn.Module]) -> None:
    plain(tmp_path)
    edit(tmp_path, base_model_name_or_path=base)
    assert read(tmp_path).is_of_another_base(Path("/here/models--Org--Qwen2/snapshots/0a1b")) == other


def test_a_damaged_configuration_is_one_sentence(tmp_path: Path, plain: Callable[[Path], nn.Module]) -> None:
    plain(tmp_path)
    (tmp_path / "adapter_config.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"adapter_config.json is not a mapping of keys to values; copy the file again"):
        peft_adapter(tmp_path)
