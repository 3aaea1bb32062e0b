"""Backbone `hf` against transformers' own models and against itself under padding, steps and saving."""

from pathlib import Path

import pytest
import torch
import yaml
from omnikit_hf.config import HF, PACKED
from omnikit_hf.model import HFBackbone
from transformers import AutoModelForCausalLM

from omnikit.contracts.configs import BackboneConfig
from omnikit.contracts.specs import Template
from omnikit.errors import ConfigError
from omnikit.recipe.schema import construct
from omnikit.registry import conf_file
from omnikit.store.tokenizer_files import load_tokenizer
from omnikit.training.memory import activation_checkpointing

CONF = Path(__file__).parents[1] / "omnikit_hf" / "conf" / "backbone"
FAMILIES = ("llama_tiny_random", "qwen2_tiny_random", "mixtral_tiny_random")
PUBLIC = {"llama_3_1_8b_instruct": 8_030_261_248, "llama_3_1_8b_omni": 8_030_261_248, "qwen2_5_7b_instruct": 7_615_616_512,
          "mixtral_8x7b_instruct": 46_702_792_704}  # the numbers on the public model pages


def preset(name: str, **changes: object) -> HF:
    values = {k: v for k, v in yaml.safe_load((CONF / f"{name}.yaml").read_text()).items() if k != "use"}
    errors: list[str] = []
    config = construct(HF, {**values, **changes}, "backbone", errors)
    assert config is not None, errors
    return config


def tiny(name: str, **changes: object) -> HFBackbone:
    torch.manual_seed(3)
    module = preset(name, **changes).build().eval()
    assert isinstance(module, HFBackbone)
    return module


@pytest.mark.parametrize(("name", "expected"), PUBLIC.items(), ids=PUBLIC)
def test_public_preset_has_the_public_number_of_parameters(name: str, expected: int) -> None:
    with torch.device("meta"):
        module = preset(name).build()
    assert sum(p.numel() for p in module.parameters()) == expected


def test_config_keeps_the_contract_of_a_backbone() -> None:
    assert isinstance(preset("qwen2_tiny_random"), BackboneConfig)


@pytest.mark.parametrize("name", ["llama_3_1_8b_instruct", "llama_3_1_8b_omni"])
def test_llama_3_1_stops_at_its_three_ends(name: str) -> None:
    assert preset(name).ends == (128001, 128008, 128009)  # generation_config.json of meta-llama/Llama-3.1-8B-Instruct


def test_negative_ends_are_refused() -> None:
    with pytest.raises(ValueError, match="ends holds -1, but ids are at least 0"):
        HF(ends=(3, -1))


def test_llama_3_1_scales_its_low_frequencies_as_published() -> None:
    model = preset("llama_3_1_8b_instruct", layers=1, dim=256, heads=2, kv_heads=1, ffn=8, vocabulary=8).build()
    frequencies = model.model.rotary_emb.inv_freq  # [64], head width 128 as in the 8B model
    plain = 500000.0 ** -(torch.arange(0, 128, 2) / 128)
    waves = 2 * torch.pi / plain
    smooth = ((8192 / waves - 1) / 3).clamp(0, 1)  # low 1, high 4: 0 scales by 8, 1 leaves alone
    torch.testing.assert_close(frequencies, plain * (smooth + (1 - smooth) / 8), rtol=1e-5, atol=0)  # float32 powers


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_equal_the_causal_model_of_transformers(name: str, tmp_path: Path) -> None:
    ours = tiny(name)
    causal = AutoModelForCausalLM.from_config(ours.model.config).eval()
    causal.load_state_dict(ours.state_dict())  # names equal the public checkpoints'
    tokens = torch.randint(0, 500, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden = ours(ours.embed(tokens), torch.ones(2, 9, dtype=torch.bool))
        torch.testing.assert_close(ours.logits(hidden), causal(tokens).logits, rtol=1e-4, atol=1e-5)  # same kernels


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_does_not_leak(name: str, side: str) -> None:
    model, inputs = tiny(name), torch.randn(1, 6, 128, generator=torch.Generator().manual_seed(1))
    noise = torch.full((1, 4, 128), 3.0)
    parts = [noise, inputs] if side == "left" else [inputs, noise]
    place = slice(4, 10) if side == "left" else slice(0, 6)
    mask = torch.zeros(2, 10, dtype=torch.bool)
    mask[0, place], mask[1] = True, True
    with torch.no_grad():
        alone = model(inputs, torch.ones(1, 6, dtype=torch.bool))
        batch = model(torch.cat([torch.cat(parts, 1), torch.randn(1, 10, 128)]), mask)
    assert batch.isfinite().all()
    torch.testing.assert_close(batch[:1, place], alone, rtol=1e-4, atol=1e-5)  # other kernel sizes, float32


@pytest.mark.parametrize("padding", [(3, 0), (2,), (0,)], ids=["two rows", "one row", "one row without padding"])
@pytest.mark.parametrize("name", FAMILIES)
def test_steps_equal_the_full_forward_with_left_padding(name: str, padding: tuple[int, ...]) -> None:
    model, inputs = tiny(name), torch.randn(len(padding), 8, 128, generator=torch.Generator().manual_seed(2))
    mask = torch.arange(8) >= torch.tensor(padding)[:, None]
    with torch.no_grad():
        full = model(inputs, mask)
        state, pieces = model.init_state(len(padding)), []
        for start, end in ((0, 4), (4, 5), (5, 8)):
            hidden, state = model.step(inputs[:, start:end], mask[:, :end], state)
            pieces.append(hidden)
    stepped = torch.cat(pieces, 1)
    torch.testing.assert_close(stepped[mask], full[mask], rtol=1e-4, atol=1e-5)  # other kernel sizes, float32


def test_tied_output_matrix_is_the_embedding_table() -> None:
    model = tiny("qwen2_tiny_random", tie_embeddings=True)
    vector = torch.randn(128)
    torch.testing.assert_close(model.logits(vector), model.model.embed_tokens.weight @ vector)
    assert not [name for name in model.state_dict() if name.startswith("lm_head")]


def test_saved_folder_loads_with_equal_weights(tmp_path: Path) -> None:
    fresh = tiny("mixtral_tiny_random")
    causal = AutoModelForCausalLM.from_config(fresh.model.config)
    causal.load_state_dict(fresh.state_dict())
    causal.save_pretrained(tmp_path)
    loaded = tiny("mixtral_tiny_random", weights=str(tmp_path))
    torch.testing.assert_close(dict(loaded.state_dict()), dict(fresh.state_dict()), rtol=0, atol=0)


def test_checkpoint_of_another_size_names_field_and_value(tmp_path: Path) -> None:
    AutoModelForCausalLM.from_config(tiny("llama_tiny_random").model.config).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"backbone.dim is 64, but .* has 128; set backbone.dim=128"):
        preset("llama_tiny_random", weights=str(tmp_path), dim=64).build()


def test_missing_checkpoint_gives_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must be a folder with config.json and safetensors"):
        preset("llama_tiny_random", weights=str(tmp_path / "nothing")).build()


def test_code_beside_a_checkpoint_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: "y")  # transformers would ask
    (tmp_path / "config.json").write_text('{"model_type": "odd", "auto_map": {"AutoConfig": "odd.Odd"}}')
    (tmp_path / "odd.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ConfigError, match="cannot be loaded as a causal language model"):
        preset("llama_tiny_random", weights=str(tmp_path)).build()
    assert not (tmp_path / "ran").exists()


def test_unknown_architecture_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'lama' is not known to transformers. Did you mean 'llama'"):
        preset("llama_tiny_random", model_type="lama").build()


def test_other_architectures_build_from_the_same_fields() -> None:
    model = tiny("llama_tiny_random", model_type="gpt2")
    hidden = model(torch.randn(1, 3, 128), torch.ones(1, 3, dtype=torch.bool))
    assert model.logits(hidden).shape == (1, 3, preset("llama_tiny_random").vocabulary)


@pytest.mark.parametrize(("field", "value", "text"), [
    ("layers", 0, "layers is 0, but must be at least 1"),
    ("kv_heads", 3, r"kv_heads is 3, but must divide heads \(4\)"),
    ("heads", 7, "dim is 128, but must be a multiple"),
    ("experts", 1, "experts is 1, but must be 0 or at least experts_per_token"),
    ("rope_factor", 0.5, "rope_factor is 0.5"),
    ("rms_eps", 0.0, "both must be positive"),
])
def test_impossible_value_is_refused(field: str, value: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        HF(**{field: value})  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("name", [*PUBLIC, *FAMILIES])
def test_native_template_exists_and_uses_known_specials(name: str) -> None:
    config, errors = preset(name), list[str]()
    path = conf_file("template", f"{config.template}.yaml")
    assert path is not None
    template = construct(Template, yaml.safe_load(path.read_text()), "template", errors)
    assert template is not None, errors
    assert set(template.specials) <= set(config.specials)


@pytest.mark.parametrize("name", FAMILIES)
def test_tiny_vocabulary_is_the_tiny_tokenizers_size(name: str) -> None:
    config = preset(name)
    tokenizer = load_tokenizer(config.tokenizer)
    assert config.vocabulary == len(tokenizer)
    assert [tokenizer.encode(s, add_special_tokens=False) for s in config.specials] == [
        [tokenizer.convert_tokens_to_ids(s)] for s in config.specials]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", PACKED)
def test_packed_conversations_are_as_if_each_were_alone(family: str, attention: str) -> None:
    ours = tiny("mixtral_tiny_random" if family == "mixtral" else "llama_tiny_random", model_type=family, attention=attention)
    tokens = torch.randint(0, 500, (2, 12), generator=torch.Generator().manual_seed(0))
    documents = torch.tensor([[1, 1, 1, 1, 1, 2, 3, 3, 3, 3, 0, 0], [1] * 4 + [2] * 8])
    with torch.no_grad():
        packed = ours(ours.embed(tokens), documents > 0, documents)
        for row, start, end in ((0, 0, 5), (0, 5, 6), (0, 6, 10), (1, 0, 4), (1, 4, 12)):
            alone = ours(ours.embed(tokens[row:row + 1, start:end]), torch.ones(1, end - start, dtype=torch.bool))
            torch.testing.assert_close(packed[row:row + 1, start:end], alone, rtol=1e-4, atol=1e-5)  # other sums of float32


def test_packed_conversation_gives_its_neighbours_no_gradient() -> None:
    ours = tiny("qwen2_tiny_random")
    inputs = torch.randn(1, 9, 128, generator=torch.Generator().manual_seed(0), requires_grad=True)
    documents = torch.tensor([[1, 1, 1, 2, 2, 2, 3, 3, 3]])
    ours(inputs, documents > 0, documents)[:, 3:6].square().sum().backward()
    assert inputs.grad is not None
    assert inputs.grad[0].abs().sum(-1).gt(0).tolist() == [False] * 3 + [True] * 3 + [False] * 3


def test_a_window_shorter_than_a_conversation_holds() -> None:
    ours = tiny("llama_tiny_random", model_type="mistral")
    ours.model.config.sliding_window = 3
    tokens = torch.randint(0, 500, (1, 12), generator=torch.Generator().manual_seed(0))
    documents = torch.tensor([[1] * 2 + [2] * 10])
    with torch.no_grad():
        packed = ours(ours.embed(tokens), documents > 0, documents)[:, 2:]
        alone = ours(ours.embed(tokens[:, 2:]), torch.ones(1, 10, dtype=torch.bool))
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-5)  # other sums of float32


def test_the_old_place_of_checkpointing_is_refused_with_the_new_one() -> None:
    with pytest.raises(ValueError, match=r"checkpointing has moved; set trainer.activation_checkpointing=\[backbone\]"):
        HF(checkpointing=True)


def test_recomputed_activations_of_packed_rows_give_the_same_gradients() -> None:
    found = []
    for parts in ((), ("model",)):
        ours = tiny("qwen2_tiny_random").train()
        documents = torch.tensor([[1, 1, 1, 2, 2, 0], [1, 1, 2, 2, 2, 2]])
        tokens = torch.arange(20, 32).view(2, 6)
        with activation_checkpointing(ours, parts):
            (ours(ours.embed(tokens), documents > 0, documents) * (documents > 0)[..., None]).square().sum().backward()
        found.append([p.grad for p in ours.model.parameters()])
    torch.testing.assert_close(*found)


def test_unknown_architecture_packs_nothing() -> None:
    assert not any(HF(model_type=name).packs for name in ("opt", "falcon", "mamba", "qwen3_next")) and HF().packs
