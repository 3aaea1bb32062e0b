"""A checkpoint of transformers is taken strictly or refused in one sentence; a run that holds its weights needs it no more."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omnikit_hf.config import HF
from omnikit_hf.model import HFBackbone
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from omnikit.errors import ConfigError
from omnikit.ops.empty import empty_weights
from omnikit.store.hashes import weights_hash
from omnikit.store.tensors import assign

Tensors = dict[str, Tensor]


def saved(folder: Path, config: HF, **facts: object) -> Path:
    """Write a checkpoint as transformers does."""
    settings = HFBackbone(config).model.config
    settings.update(facts)
    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(settings).save_pretrained(folder)
    return folder / "model.safetensors"


def renamed(prefix: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: tensor for key, tensor in tensors.items() if key != name}


BROKEN = {
    **{prefix: (renamed(prefix), rf"model.embed_tokens.weight is missing \(and \d+ more\); its names begin with '{prefix}'")
       for prefix in ("module.", "_orig_mod.", "base_model.model.", "language_model.")},
    "no head": (without("lm_head.weight"), "lm_head.weight is missing; tie_word_embeddings in config.json decides"),
    "no layer": (without("model.norm.weight"), "model.norm.weight is missing; give"),
    "stray": (lambda t: {**t, "stray": torch.zeros(1)}, "stray is unexpected; give"),
    "shape": (lambda t: {**t, "model.norm.weight": torch.zeros(7)}, r"model.norm.weight has the shape \[7\], but"),
}


@pytest.mark.parametrize(("change", "words"), BROKEN.values(), ids=BROKEN)
def test_a_checkpoint_that_does_not_fit_is_refused(change: Callable[[Tensors], Tensors], words: str, tmp_path: Path) -> None:
    path = saved(tmp_path, HF())
    save_file(change(load_file(path)), path, {"format": "pt"})
    with pytest.raises(ConfigError, match=rf"^backbone.weights: The weights in .* do not fit a llama of these sizes: {words}"):
        HF(weights=str(tmp_path)).build()


def test_whole_numbers_in_place_of_weights_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, HF())
    save_file({**load_file(path), "model.norm.weight": torch.zeros(128, dtype=torch.int8)}, path, {"format": "pt"})
    with pytest.raises(ConfigError, match=r"holds model.norm.weight in int8, which means nothing without the scales"):
        HF(weights=str(tmp_path)).build()


def test_a_tied_head_may_be_absent_or_equal_but_not_another(tmp_path: Path) -> None:
    path, config = saved(tmp_path, HF(tie_embeddings=True)), HF(tie_embeddings=True, weights=str(tmp_path))
    tensors = load_file(path)
    table = tensors["model.embed_tokens.weight"]
    assert "lm_head.weight" not in tensors
    assert torch.equal(config.build().model.embed_tokens.weight, table)
    save_file({**tensors, "lm_head.weight": table.clone()}, path, {"format": "pt"})
    assert torch.equal(config.build().model.embed_tokens.weight, table)
    save_file({**tensors, "lm_head.weight": table + 1}, path, {"format": "pt"})
    with pytest.raises(ConfigError, match=r"lm_head.weight differs from model.embed_tokens.weight, with which it shares"):
        config.build()


def test_experts_that_are_missing_are_refused(tmp_path: Path) -> None:
    config = HF(model_type="mixtral", experts=4)
    path = saved(tmp_path, config)
    tensors = load_file(path)
    save_file(without("model.norm.weight")(tensors), path, {"format": "pt"})
    with pytest.raises(ConfigError, match=r"do not fit a mixtral of these sizes: model.norm.weight is missing"):
        HF(model_type="mixtral", experts=4, weights=str(tmp_path)).build()


def test_torch_shards_are_read_by_their_index(tmp_path: Path) -> None:
    import json

    path = saved(tmp_path, HF())
    tensors = load_file(path)
    path.unlink()
    first, shards = dict(list(tensors.items())[:5]), dict.fromkeys(tensors, "b.bin")
    stale = {"model.norm.weight": torch.full((128,), 9.0)}
    torch.save({**first, **stale}, tmp_path / "a.bin")
    torch.save({name: tensor for name, tensor in tensors.items() if name not in first}, tmp_path / "b.bin")
    index = {"weight_map": {**shards, **dict.fromkeys(first, "a.bin")}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    module = HF(weights=str(tmp_path)).build()
    assert all(torch.equal(module.state_dict()[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize(("facts", "words"), [
    ({"rms_norm_eps": 1e-3}, "backbone.rms_eps is 1e-05, but .* has 0.001; set backbone.rms_eps=0.001"),
    ({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, "backbone.rope_theta is 10000.0, but .* has 500000.0"),
    ({"max_position_embeddings": 256}, "backbone.context is 512, but .* has 256 positions; set backbone.context=256 or less"),
], ids=["eps", "theta", "context"])
def test_a_contradicting_config_is_refused(facts: dict[str, object], words: str, tmp_path: Path) -> None:
    saved(tmp_path, HF(), **facts)
    with pytest.raises(ConfigError, match=words):
        HF(weights=str(tmp_path)).build()


def test_a_model_is_built_again_from_its_settings_without_the_checkpoint(tmp_path: Path) -> None:
    saved(tmp_path, HF(), attention_bias=True)  # what no field of ours holds
    original = HF(weights=str(tmp_path)).build()
    with empty_weights():
        again = HF().build_from(original.settings)
    assign(again, original.state_dict())
    assert weights_hash(again) == weights_hash(original) and "model.layers.0.self_attn.q_proj.bias" in again.state_dict()
    assert str(tmp_path) not in str(original.settings)


def test_an_adapter_is_added_to_a_checkpoint(tmp_path: Path) -> None:
    saved(tmp_path / "base", HF())
    causal = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    adapted = get_peft_model(causal, LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM"))
    torch.manual_seed(0)
    with torch.no_grad():
        for weights in adapted.parameters():
            weights.add_(torch.randn_like(weights) * 0.2 if weights.requires_grad else 0.0)
    adapted.save_pretrained(tmp_path / "adapter")
    module = HF(weights=str(tmp_path / "base"), adapter=str(tmp_path / "adapter")).build()
    ids = torch.arange(20)[None]
    hidden = module(module.embed(ids), torch.ones(1, 20, dtype=torch.bool))
    torch.testing.assert_close(module.logits(hidden), adapted(ids).logits, atol=1e-4, rtol=1e-4)  # W + BA against Wx + B(Ax)


def test_an_adapter_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "base", HF())
    with pytest.raises(ConfigError, match=r"backbone.weights: .*adapter_config.json is missing; give the folder that holds it"):
        HF(weights=str(tmp_path / "base"), adapter=str(tmp_path / "base")).build()
    with pytest.raises(ValueError, match="adapter is there, but weights names no checkpoint that it could be added to"):
        HF(adapter="there")
