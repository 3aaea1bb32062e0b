"""Numbers of a config.json that no model has: each refused in `check`, by file and key; those that have a meaning, as built."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from chat_folders import write_folder
from omnikit_hf.config import HF
from omnikit_hf.folder import folder_fields
from transformers import AutoModelForCausalLM

from omnikit.errors import ConfigError, PlanError
from omnikit.plan.plan import make
from omnikit.recipe.causal_config import check_plain
from omnikit.recipe.compose import compose

INF, NAN = float("inf"), float("nan")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("numbers")
    return {name: write_folder(root / name, name) for name in ("qwen2", "llama", "phi3")}


def changed(source: Path, folder: Path, changes: dict[str, object], without: tuple[str, ...] = ()) -> Path:
    """Copy a folder and write other values into its config.json."""
    shutil.copytree(source, folder)
    path = folder / "config.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if key not in without}))
    return folder


WHOLE = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size", "vocab_size",
         "max_position_embeddings", "head_dim")
REFUSED: list[tuple[dict[str, object], str]] = [
    *(({key: value}, rf"has {key} .*, but it must be a whole number of at least 1") for key in WHOLE
      for value in ("12", True, -4, 0, 2.5, NAN, [], {})),
    *(({"rms_norm_eps": value}, "has rms_norm_eps .*, but it must be a finite number above 0")
      for value in (NAN, INF, 0, -1e-6, "1e-6", True)),
    ({"num_attention_heads": 3, "num_key_value_heads": 1}, "has num_attention_heads 3, but it must divide hidden_size"),
    ({"num_key_value_heads": 3}, "has num_key_value_heads 3, but it must divide num_attention_heads, which is 4"),
    ({"num_key_value_heads": 8}, "has num_key_value_heads 8, but it must divide num_attention_heads"),
    ({"head_dim": 7}, "has head_dim 7, but it must be even for rotary positions"),
    ({"hidden_act": "gleu"}, "has hidden_act 'gleu', which transformers does not have. Did you mean 'gelu'"),
    ({"hidden_act": None}, "has hidden_act 'None', but transformers takes str there"),
    ({"use_sliding_window": "yes"}, "has use_sliding_window 'yes', but it must be true or false"),
    ({"use_sliding_window": True, "sliding_window": -4}, "has sliding_window -4, but it must be a whole number of at least 1"),
    ({"max_window_layers": "2"}, "has max_window_layers '2', but transformers takes int there"),
    ({"layer_types": ["full_attention"]}, "has layer_types of 1 layers, but num_hidden_layers 2"),
    ({"layer_types": ["full_attention", "half_attention"]}, "has layer_types 'half_attention', which transformers does"),
    ({"layer_types": "full"}, "has layer_types 'full', but it must be a list of names"),
    *(({key: 4000}, rf"has {key} 4000, but ids are from 0 to 400 - 1")
      for key in ("bos_token_id", "eos_token_id", "pad_token_id")),
    ({"eos_token_id": [1, 400]}, "has eos_token_id 400, but ids are from 0 to 400 - 1"),
    ({"eos_token_id": "</s>"}, "has eos_token_id '</s>', but it must be the id of a token, or a list of ids"),
    ({"pad_token_id": True}, "has pad_token_id True, but it must be the id of a token"),
    ({"tie_word_embeddings": 1}, "has tie_word_embeddings 1, but it must be true or false"),
    ({"attention_dropout": NAN}, "has attention_dropout nan, but it must be a number from 0 to 1"),
    ({"attention_dropout": 2.0}, "has attention_dropout 2.0, but it must be a number from 0 to 1"),
    ({"model_type": "Qwen2"}, "has model_type 'Qwen2', which transformers does not have. Did you mean 'qwen2'"),
    ({"model_type": 2}, "has no model_type, which names the architecture"),
    ({"dtype": 16}, "has dtype 16, but it must be a name"),
]


def rope(**values: object) -> dict[str, object]:
    return {"rope_parameters": {"rope_theta": 1e4, **values}}


ROPES_REFUSED: list[tuple[dict[str, object], str]] = [
    *((rope(rope_type="linear", factor=value), "has rope_parameters.factor .*, but it must be a finite number above 0")
      for value in (NAN, INF, 0, -1.0, "4", True)),
    *((rope(rope_theta=value), "has rope_parameters.rope_theta .*, but it must be a finite number above 0")
      for value in (NAN, INF, 0, -1, "1e4", True)),
    (rope(rope_type="dynamic", factor=2.0, rope_theta=INF), "has rope_parameters.rope_theta inf"),
    (rope(rope_type="linear"), "has rope_parameters of type 'linear' without factor"),
    (rope(rope_type="longrope"), "has rope_parameters of type 'longrope' without short_factor, long_factor"),
    (rope(rope_type="longrope", short_factor=[1.0] * 3, long_factor=[2.0] * 4), "must be a list of 4 numbers"),
    (rope(rope_type="longrope", short_factor=[1.0] * 4, long_factor=[2.0, NAN, 1, 1]), "long_factor nan, but it must be"),
    (rope(rope_type="llama3", factor=8.0), "without low_freq_factor, high_freq_factor, original_max_position_embeddings"),
    (rope(rope_type="yarn", factor=2.0, beta_fast="32"), "has rope_parameters.beta_fast '32'"),
    (rope(rope_type="spiral"), "has rope_parameters of type 'spiral', but it must be one of default, linear, dynamic, yarn"),
    (rope(rope_type=3), "has rope_parameters of type 3, but it must be one of default"),
    ({"rope_parameters": None, "rope_scaling": {"type": "su"}}, "of type 'su', .* longrope is what su is called now"),
    ({"rope_parameters": None, "rope_scaling": "linear"}, "has rope_scaling 'linear', but it must be a mapping"),
    (rope() | {"rope_scaling": {"type": "linear", "factor": 2.0}}, "has rope_parameters and rope_scaling, its former name"),
    (rope() | {"rope_theta": 5e5}, "has rope_theta 500000.0, but rope_parameters.rope_theta 10000.0"),
]


@pytest.mark.parametrize(("changes", "sentence"), [*REFUSED, *ROPES_REFUSED], ids=lambda value: str(value)[:60])
def test_a_number_that_no_model_has_is_one_sentence(sources: dict[str, Path], tmp_path: Path, changes: dict[str, object],
                                                    sentence: str) -> None:
    folder = changed(sources["qwen2"], tmp_path / "model", changes)
    (folder / "generation_config.json").unlink()
    with pytest.raises(ConfigError, match=sentence) as caught:
        folder_fields({"weights": str(folder)})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"rms_norm_eps": NAN}, r"backbone.weights: .*config.json has rms_norm_eps nan, but it must be a finite number above 0"),
    ({"vocab_size": 100}, r"backbone.vocabulary is 100, but tokenizer .* give the tokenizer of these weights"),
], ids=str)
def test_a_plan_refuses_it(sources: dict[str, Path], tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    folder = changed(sources["qwen2"], tmp_path / "model", changes)
    with pytest.raises(PlanError, match=sentence):
        make(compose("llama_omni/tiny", [f"backbone.weights={folder}"]))


LISTS: dict[str, object] = {"short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [2.0, 3.0, 4.0, 5.0]}
WINDOW: dict[str, object] = {"use_sliding_window": True, "sliding_window": 4}
BUILT: dict[str, tuple[str, dict[str, object], tuple[str, ...]]] = {
    "another activation": ("qwen2", {"hidden_act": "gelu"}, ()),
    "window in all layers": ("qwen2", {**WINDOW, "max_window_layers": 0}, ("layer_types",)),
    "window in one layer": ("qwen2", {**WINDOW, "max_window_layers": 1}, ("layer_types",)),
    "no padding": ("qwen2", {"pad_token_id": -1}, ()),
    "linear": ("llama", rope(rope_type="linear", factor=4.0), ()),
    "dynamic": ("llama", rope(rope_type="dynamic", factor=4.0), ()),
    "yarn": ("llama", rope(rope_type="yarn", factor=4.0, original_max_position_embeddings=16), ()),
    "longrope": ("llama", rope(rope_type="longrope", original_max_position_embeddings=16, **LISTS), ()),
    "llama3": ("llama", rope(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                             original_max_position_embeddings=16), ()),
    "linear by its former name": ("llama", {"rope_scaling": {"type": "linear", "factor": 4.0}}, ("rope_parameters",)),
    "longrope of phi3": ("phi3", {"rope_scaling": {"type": "longrope", **LISTS}, "original_max_position_embeddings": 16},
                         ("rope_parameters",)),
}


@pytest.mark.parametrize(("family", "changes", "without"), BUILT.values(), ids=BUILT)
def test_what_has_a_meaning_is_built_as_transformers_builds_it(sources: dict[str, Path], tmp_path: Path, family: str,
                                                               changes: dict[str, object], without: tuple[str, ...]) -> None:
    folder = changed(sources[family], tmp_path / "model", changes, without)
    ours = make(compose("llama_omni/tiny", [f"backbone.weights={folder}"])).backbone.build().eval()
    theirs = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa").eval()
    ids = torch.arange(2, 42)[None]  # longer than the windows and than the positions before scaling
    with torch.no_grad():
        found = ours.logits(ours(ours.embed(ids), torch.ones_like(ids, dtype=torch.bool)))
        torch.testing.assert_close(found, theirs(input_ids=ids).logits, atol=0, rtol=0)


def test_rows_of_longrope_are_not_stepped_together(sources: dict[str, Path], tmp_path: Path) -> None:
    _, changes, _ = BUILT["longrope"]
    folder = changed(sources["llama"], tmp_path / "model", changes)
    assert make(compose("llama_omni/tiny", [f"backbone.weights={folder}"])).backbone.build().init_rows() is None


FILES: list[tuple[Callable[[str], str], str]] = [
    (lambda text: text.replace("{", '{"hidden_size": 16,', 1), r"is not JSON \(the key 'hidden_size' is there twice\)"),
    (lambda text: "\ufeff" + text, r"is not JSON \(Unexpected UTF-8 BOM"), (lambda text: "[]", "is not a mapping of keys"),
    (lambda text: "null", "is not a mapping of keys"), (lambda text: "", "is empty"),
    (lambda text: "[" * 100_000, "is not JSON"), (lambda text: "// sizes\n" + text, "is not JSON"),
    (lambda text: text[:-2] + " " * (33 << 20) + "}", "has 33 MiB, but such"),
    (lambda text: text.replace("{", '{"x": ' + "9" * 5000 + ",", 1), "is not JSON"),
]


@pytest.mark.parametrize(("change", "sentence"), FILES,
                         ids=["twice", "mark", "list", "null", "empty", "deep", "comment", "huge", "digits"])
def test_a_file_that_is_no_configuration_is_one_sentence(sources: dict[str, Path], tmp_path: Path,
                                                         change: Callable[[str], str], sentence: str) -> None:
    path = changed(sources["qwen2"], tmp_path / "model", {}) / "config.json"
    path.write_text(change(path.read_text()), encoding="utf-8")
    with pytest.raises(ConfigError, match=sentence):
        folder_fields({"weights": str(path.parent)})


@pytest.mark.parametrize(("generation", "config", "expected"), [
    ({"eos_token_id": [1, 7]}, 1, (1, 7)), ({"eos_token_id": 7}, 1, (7, 1)), ({}, [5, 6], (5, 6)), ({}, -1, ()),
    ({}, None, (1,)),
], ids=["list", "both", "config", "none", "tokenizer"])
def test_ends_are_those_of_both_files_else_the_tokenizers(sources: dict[str, Path], tmp_path: Path, config: object,
                                                          generation: dict[str, object], expected: tuple[int, ...]) -> None:
    folder = changed(sources["qwen2"], tmp_path / "model", {"eos_token_id": config})
    (folder / "generation_config.json").write_text(json.dumps(generation))
    assert folder_fields({"weights": str(folder)})["ends"].value == expected


@pytest.mark.parametrize(("content", "expected"), [
    ({"do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 20}, (0.6, 0.95, 20)),
    ({"do_sample": True}, (1.0, 1.0, 0)), ({"do_sample": False, "temperature": 0.6, "top_k": 20}, (0.0, 1.0, 0)),
    ({"temperature": 0.6}, (0.0, 1.0, 0))], ids=["drawn", "as they come", "greedy", "not stated"])
def test_answers_are_made_as_the_folder_states(sources: dict[str, Path], tmp_path: Path, content: dict[str, object],
                                               expected: tuple[float, ...]) -> None:
    folder = changed(sources["qwen2"], tmp_path / "model", {})
    (folder / "generation_config.json").write_text(json.dumps(content))
    found = compose("llama_omni/tiny", [f"backbone.weights={folder}"]).generate
    assert (found.temperature, found.top_p, found.top_k) == expected


@pytest.mark.parametrize(("content", "sentence"), [
    ({"do_sample": True, "temperature": NAN}, "has temperature nan, but it must be a number from 0"),
    ({"do_sample": True, "temperature": "0.6"}, "has temperature '0.6', but"),
    ({"do_sample": True, "top_p": 1.5}, "has top_p 1.5, but it must be a number from 2.22507e-308 to 1"),
    ({"do_sample": True, "top_k": 2.5}, "has top_k 2.5, but it must be a number from 0"),
    ({"max_new_tokens": 0}, "has max_new_tokens 0, but it must be a number from 1"),
    ({"eos_token_id": [4, 999]}, "generation_config.json has eos_token_id 999, but ids are from 0 to 400 - 1"),
], ids=str)
def test_generation_defaults_out_of_range_are_refused(sources: dict[str, Path], tmp_path: Path, content: dict[str, object],
                                                      sentence: str) -> None:
    folder = changed(sources["qwen2"], tmp_path / "model", {})
    (folder / "generation_config.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=sentence):
        folder_fields({"weights": str(folder)})


def test_an_adapter_that_is_not_merged_is_refused_before_anything_is_built(sources: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 8, "init_lora_weights": "pissa"}')
    with pytest.raises(PlanError, match=r"backbone.weights: .* has init_lora_weights 'pissa', which changed the base"):
        compose("llama_omni/tiny", [f"backbone.weights={sources['qwen2']}", f"+backbone.adapter={tmp_path}"])


def test_what_transformers_cannot_build_is_one_sentence(sources: dict[str, Path], tmp_path: Path) -> None:
    folder = changed(sources["qwen2"], tmp_path / "model", {"hidden_act": "gleu"})  # as if it had not been checked
    plain = make(compose("llama_omni/tiny", [f"backbone.weights={sources['qwen2']}"])).backbone
    fields = {name: getattr(plain, name) for name in HF.__dataclass_fields__} | {"weights": str(folder)}
    with pytest.raises(ConfigError, match=r"config.json describes nothing that transformers can build \(KeyError: 'gleu'\)"):
        HF(**fields).build()


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"hidden_act": "gelu"}, "c has hidden_act 'gelu', but language models are imported with 'silu' alone"),
    ({"use_sliding_window": True}, "c has use_sliding_window True, but"), ({"mlp_bias": True}, "c has mlp_bias True, but"),
    ({"sliding_window": 8, "model_type": "mistral"}, "c has sliding_window 8, but language models are imported without one"),
    ({"layer_types": ["full_attention", "sliding_attention"]}, "c has layer_types with 'sliding_attention'"),
], ids=str)
def test_what_an_import_would_not_read_is_refused(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_plain(changes, "c")
