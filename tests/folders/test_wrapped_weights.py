"""Folders whose tensors were named by a wrapper, or do not fit: refused in one sentence, or read as transformers reads them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    HubertConfig,
    HubertModel,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    WhisperConfig,
    WhisperModel,
)

from omnikit import registry
from omnikit.errors import OmnikitError
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose

Tensors = dict[str, Tensor]
LAYERS = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
SPEECH = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 3, "decoder_attention_heads": 3,
          "encoder_ffn_dim": 40, "decoder_ffn_dim": 40, "bos_token_id": 2, "pad_token_id": 2, "eos_token_id": 2}
MODELS: dict[str, Callable[[], nn.Module]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(vocab_size=700, hidden_size=32, num_key_value_heads=1, **LAYERS)),
    "mixtral": lambda: MixtralForCausalLM(MixtralConfig(vocab_size=700, hidden_size=32, num_key_value_heads=1,
                                                        num_local_experts=2, **LAYERS)),
    "whisper": lambda: WhisperModel(WhisperConfig(vocab_size=60, d_model=24, max_source_positions=200, decoder_start_token_id=1,
                                                  **SPEECH)),
    "hubert": lambda: HubertModel(HubertConfig(hidden_size=32, conv_dim=(8,) * 7, num_conv_pos_embeddings=8,
                                               num_conv_pos_embedding_groups=2, **LAYERS)),
    "clip": lambda: CLIPVisionModel(CLIPVisionConfig(hidden_size=32, image_size=32, patch_size=8, **LAYERS))}
PARTS = {"llama": ("llama_omni/tiny", "backbone", ""), "mixtral": ("llama_omni/tiny", "backbone", ""),
          "whisper": ("llama_omni/tiny", "audio.encoder", "whisper_tiny_random"),
          "hubert": ("llama_omni/tiny", "audio.encoder", "hf_audio")}
PREFIXES = ["module.", "base_model.model.", "language_model.", "module._orig_mod."]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for each model, as transformers writes it."""
    folder = tmp_path_factory.mktemp("saved")
    for name, build in MODELS.items():
        torch.manual_seed(1)
        build().save_pretrained(folder / name)  # type: ignore[operator]  # of transformers
    return folder


@pytest.fixture(params=["llama", "mixtral", "whisper", "hubert", "clip"])
def model(request: pytest.FixtureRequest) -> Iterator[str]:
    yield str(request.param)


def changed(saved: Path, model: str, folder: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """Give a folder with the model's config.json and its tensors after a change."""
    (folder / "config.json").write_bytes((saved / model / "config.json").read_bytes())
    save_file(change(load_file(saved / model / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})
    return folder


def built(model: str, folder: Path, *more: str) -> nn.Module:
    if model not in PARTS:  # no recipe is composed: one with images takes seconds
        fields = dict(one.split("=") for one in more)
        tower: nn.Module = registry.component("encoder", "hf_vision")(weights=str(folder), **fields).build()
        return tower
    recipe, path, component = PARTS[model]
    chosen = [f"{path.replace('.', '/')}={component}"] if component else []
    plan = make(compose(recipe, [*chosen, f"{path}.weights={folder}", *(f"{path}.{one}" for one in more)]))
    part: nn.Module = plan.parts()[path].build()
    return part


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_is_named_and_left_out_where_it_is_given(saved: Path, model: str, prefix: str, tmp_path: Path) -> None:
    folder = changed(saved, model, tmp_path, lambda tensors: {f"{prefix}{name}": one for name, one in tensors.items()})
    with pytest.raises(OmnikitError, match=rf"its names begin with '{prefix}.*; set [\w.]*weights_prefix={prefix}"):
        built(model, folder)
    mine, plain = built(model, folder, f"weights_prefix={prefix}"), built(model, saved / model)
    torch.testing.assert_close(mine.state_dict(), plain.state_dict(), rtol=0, atol=0)


def test_a_prefix_that_no_tensor_has_is_refused(saved: Path, model: str) -> None:
    with pytest.raises(OmnikitError, match=r"weights_prefix is 'net\.', but no tensor of .* begins with it, for example"):
        built(model, saved / model, "weights_prefix=net.")


def test_tensors_of_another_model_beside_it_are_left_out(saved: Path, model: str, tmp_path: Path) -> None:
    folder = changed(saved, model, tmp_path, lambda tensors: {
        **{f"part.{name}": one for name, one in tensors.items()}, "other.weight": torch.ones(2)})
    mine = built(model, folder, "weights_prefix=part")
    torch.testing.assert_close(mine.state_dict(), built(model, saved / model).state_dict(), rtol=0, atol=0)


def test_words_of_wrappers_inside_names_are_left_out(saved: Path, model: str, tmp_path: Path) -> None:
    folder = changed(saved, model, tmp_path, lambda tensors: {
        name.replace("layers.0.", "layers.0._orig_mod._checkpoint_wrapped_module."): one for name, one in tensors.items()})
    torch.testing.assert_close(built(model, folder).state_dict(), built(model, saved / model).state_dict(), rtol=0, atol=0)


LAST = {"llama": "model.norm.weight", "mixtral": "model.norm.weight", "whisper": "encoder.layer_norm.weight",
        "hubert": "encoder.layer_norm.weight", "clip": "pre_layrnorm.weight"}


def with_last(model: str, tensor: Callable[[Tensor], Tensor]) -> Callable[[Tensors], Tensors]:
    def change(tensors: Tensors) -> Tensors:
        name = next(name for name in tensors if name.endswith(LAST[model]))
        return {**tensors, name: tensor(tensors[name])}

    return change


def test_another_size_is_named_with_both_shapes(saved: Path, model: str, tmp_path: Path) -> None:
    folder = changed(saved, model, tmp_path, with_last(model, lambda one: one[:7].clone()))
    with pytest.raises(OmnikitError, match=r"norm.weight has the shape \[7\], but the configuration makes it \[(24|32)\]"):
        built(model, folder)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn], ids=str)
def test_quantised_weights_without_scales_are_refused(saved: Path, model: str, dtype: torch.dtype, tmp_path: Path) -> None:
    folder = changed(saved, model, tmp_path, with_last(model, lambda one: one.to(dtype)))
    with pytest.raises(OmnikitError, match=r"norm.weight in (int8|float8_e4m3fn), which means nothing without the scales"):
        built(model, folder)


def test_scales_are_not_left_out(saved: Path, model: str, tmp_path: Path) -> None:
    folder = changed(saved, model, tmp_path, lambda tensors: {**tensors, "layers.0.fc1.weight_scale": torch.ones(1)})
    with pytest.raises(OmnikitError, match=r"holds layers.0.fc1.weight_scale, which belongs to quantised weights"):
        built(model, folder)


# ---- a language model's output matrix ----


def logits(module: nn.Module) -> Tensor:
    ids = torch.arange(12)[None]
    with torch.no_grad():
        hidden = module(module.embed(ids), torch.ones(1, 12, dtype=torch.bool))  # type: ignore[operator]  # a backbone
        found: Tensor = module.logits(hidden)  # type: ignore[operator]  # likewise
    return found


@pytest.mark.parametrize("change", [
    lambda t: t, lambda t: {**t, "lm_head.weight": t["model.embed_tokens.weight"].clone()},
    lambda t: {name: one for name, one in t.items() if name != "lm_head.weight"},
    lambda t: {name: one for name, one in t.items() if name != "model.embed_tokens.weight"},
], ids=["another", "equal", "absent", "the head alone"])
def test_a_tied_head_is_as_transformers_reads_it(saved: Path, change: Callable[[Tensors], Tensors], tmp_path: Path) -> None:
    folder = changed(saved, "llama", tmp_path, change)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"tie_word_embeddings": false', '"tie_word_embeddings": true'))
    with torch.no_grad():
        theirs = LlamaForCausalLM.from_pretrained(folder).eval()(torch.arange(12)[None]).logits
    torch.testing.assert_close(logits(built("llama", folder).eval()), theirs, rtol=1e-5, atol=1e-5)


def test_only_a_tied_head_may_be_absent(saved: Path, tmp_path: Path) -> None:
    folder = changed(saved, "llama", tmp_path, lambda t: {name: one for name, one in t.items() if name != "lm_head.weight"})
    with pytest.raises(OmnikitError, match=r"lm_head.weight is missing; tie_word_embeddings in config.json"):
        built("llama", folder)
