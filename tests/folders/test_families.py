"""A checkpoint's folder is enough: sizes, tokenizer, template and logits of each family are transformers' own."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from chat_folders import FAMILIES, write_folder
from omnikit_hf.folder import NAMES, architecture_defaults
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from omnikit.contracts.optional import backbone_options
from omnikit.contracts.types import ContentPart, Message
from omnikit.data.text.templates import prompt, render
from omnikit.data.text.tokenise import encode
from omnikit.data.text.tokenizer import load
from omnikit.errors import PlanError
from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose
from omnikit.recipe.dump import values
from omnikit.recipe.recipe import parse

EACH = list(FAMILIES)
TALK = [("user", "What is two plus one?"), ("assistant", "Three."), ("user", "And one more?"), ("assistant", "Four, I think.")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    return {name: write_folder(root / name, name) for name in FAMILIES}


def plan_of(folder: Path, *overrides: str) -> Plan:
    recipe = compose("llama_omni/tiny", [f"backbone.weights={folder}", *overrides])
    return make(recipe)


def messages(talk: list[tuple[str, str]]) -> list[Message]:
    return [Message(role, (ContentPart("text", text=text),)) for role, text in talk]


def chat(talk: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in talk]


@pytest.mark.parametrize("name", EACH)
def test_logits_equal_those_of_transformers(folders: dict[str, Path], name: str) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(folders[name]).eval()
    ours = plan_of(folders[name]).backbone.build().eval()
    ids = torch.arange(2, 14)[None]
    with torch.no_grad():
        expected = theirs(input_ids=ids).logits
        found = ours.logits(ours(ours.embed(ids), torch.ones_like(ids, dtype=torch.bool)))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", EACH)
def test_ids_of_a_conversation_equal_the_chat_templates(folders: dict[str, Path], name: str) -> None:
    plan, tokenizer = plan_of(folders[name]), AutoTokenizer.from_pretrained(folders[name])
    spans = list(encode(render(messages(TALK), plan.template), plan.template, load(plan.tokenizer)))
    expected = tokenizer.apply_chat_template(chat(TALK), tokenize=False)
    expected += {True: "", False: "<|user|>"}[FAMILIES[name].end != "<|user|>"]  # GLM's end is the next turn's first token
    assert [i for span in spans for i in span.ids] == tokenizer.encode(expected, add_special_tokens=False)
    assert not any(span.mismatch for span in spans)


@pytest.mark.parametrize("name", EACH)
def test_prompt_equals_the_generation_prompt(folders: dict[str, Path], name: str) -> None:
    plan, tokenizer = plan_of(folders[name]), AutoTokenizer.from_pretrained(folders[name])
    spans = encode(prompt(messages(TALK[:3]), plan.template), plan.template, load(plan.tokenizer))
    expected = tokenizer.apply_chat_template(chat(TALK[:3]), add_generation_prompt=True, return_dict=False)
    assert [i for span in spans for i in span.ids] == expected


@pytest.mark.parametrize("name", EACH)
def test_supervised_are_the_answers_with_their_ends(folders: dict[str, Path], name: str) -> None:
    template = plan_of(folders[name]).template
    supervised = [segment.text for segment in render(messages(TALK), template) if segment.supervised]
    end = FAMILIES[name].end
    without_thoughts = [text.removeprefix("<think>\n\n</think>\n\n").strip() for text in supervised]
    assert without_thoughts == [f"Three.{end}", f"Four, I think.{end}"]


def test_size_that_the_folder_contradicts_names_both(folders: dict[str, Path]) -> None:
    with pytest.raises(PlanError, match=r"backbone\.dim is 128, but config\.json hidden_size of .*qwen3 states 32"):
        plan_of(folders["qwen3"], "backbone.dim=128")


def test_context_may_be_shorter_than_the_folders(folders: dict[str, Path]) -> None:
    assert plan_of(folders["qwen3"], "backbone.context=100").backbone.context == 100


def test_longer_context_than_the_folders_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(PlanError, match=r"backbone\.context is 1000, but .* max_position_embeddings of .* states 256"):
        plan_of(folders["qwen3"], "backbone.context=1000")


def test_another_dtype_contradicts_nothing(folders: dict[str, Path]) -> None:
    assert plan_of(folders["qwen3"], "backbone.dtype=bfloat16").backbone.dtype == "bfloat16"


def test_ends_are_those_of_generation_config_before_config(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["qwen3"], tmp_path / "model")
    (folder / "generation_config.json").write_text('{"eos_token_id": [1, 7], "do_sample": true, "temperature": 0.6}')
    plan = plan_of(folder)
    assert (backbone_options(plan.backbone).ends, plan.recipe.generate.temperature) == ((1, 7), 0.6)


def test_end_outside_the_table_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["qwen3"], tmp_path / "model")
    (folder / "generation_config.json").write_text('{"eos_token_id": 400}')
    with pytest.raises(PlanError, match=r"eos_token_id 400, but ids are from 0 to 400 - 1"):
        plan_of(folder)


@pytest.mark.parametrize(("key", "value"), [("rms_norm_eps", "NaN"), ("hidden_size", "0"), ("num_attention_heads", '"four"')])
def test_number_out_of_range_names_the_file(folders: dict[str, Path], tmp_path: Path, key: str, value: str) -> None:
    folder = shutil.copytree(folders["qwen3"], tmp_path / "model")
    content = json.loads((folder / "config.json").read_text()) | {key: json.loads(value)}
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(PlanError, match=rf"config\.json has {key}"):
        plan_of(folder)


def test_keys_that_a_config_leaves_out_are_the_architectures_defaults(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["gemma"], tmp_path / "model")
    content = json.loads((folder / "config.json").read_text())
    del content["tie_word_embeddings"], content["rms_norm_eps"]
    (folder / "config.json").write_text(json.dumps(content))
    theirs, ours = AutoConfig.from_pretrained(folder), plan_of(folder).backbone
    assert (ours.tie_embeddings, ours.rms_eps) == (theirs.tie_word_embeddings, theirs.rms_norm_eps)


@pytest.mark.parametrize("model_type", sorted({family.model_type for family in FAMILIES.values()}))
def test_defaults_read_from_the_source_equal_the_classes(model_type: str) -> None:
    theirs = AutoConfig.for_model(model_type)
    read = {name: value for name, value in architecture_defaults(model_type).items() if name in NAMES.values()}
    assert read == {name: getattr(theirs, name) for name in read}
    assert "hidden_size" in read


def test_folder_without_a_chat_template_asks_for_a_name(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["phi3"], tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(PlanError, match=r"comes with no chat template.*template=NAME"):
        plan_of(folder, "template=auto")


def test_bin_shards_are_read(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["qwen2"], tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"pytorch_model-00001-of-00002.bin": names[:5], "pytorch_model-00002-of-00002.bin": names[5:]}
    for shard, inside in shards.items():
        torch.save({name: tensors[name] for name in inside}, folder / shard)
    index = {"weight_map": {name: shard for shard, inside in shards.items() for name in inside}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    built = plan_of(folder).backbone.build().state_dict()
    assert all(torch.equal(built[name], tensor) for name, tensor in tensors.items())


def test_run_needs_its_folders_no_more(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["qwen3"], tmp_path / "model")
    recipe = compose("llama_omni/tiny", [f"backbone.weights={folder}"])
    shutil.rmtree(folder)
    assert parse(values(recipe), "again").backbone == recipe.backbone
