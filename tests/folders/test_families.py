"""A checkpoint's folder is enough: sizes, tokenizer, template and logits of each family are transformers' own."""

from pathlib import Path

import pytest
import torch
from chat_folders import FAMILIES, write_folder
from transformers import AutoModelForCausalLM, AutoTokenizer

from omnikit.contracts.types import ContentPart, Message
from omnikit.data.text.templates import prompt, render
from omnikit.data.text.tokenise import encode
from omnikit.data.text.tokenizer import load
from omnikit.errors import PlanError
from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose

NAMES = [pytest.param(name, id=name) for name in FAMILIES]
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


@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_those_of_transformers(folders: dict[str, Path], name: str) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(folders[name]).eval()
    ours = plan_of(folders[name]).backbone.build().eval()
    ids = torch.arange(2, 14)[None]
    with torch.no_grad():
        expected = theirs(input_ids=ids).logits
        found = ours.logits(ours(ours.embed(ids), torch.ones_like(ids, dtype=torch.bool)))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_ids_of_a_conversation_equal_the_chat_templates(folders: dict[str, Path], name: str) -> None:
    plan, tokenizer = plan_of(folders[name]), AutoTokenizer.from_pretrained(folders[name])
    spans = list(encode(render(messages(TALK), plan.template), plan.template, load(plan.tokenizer)))
    expected = tokenizer.apply_chat_template(chat(TALK), tokenize=False)
    expected += {True: "", False: "<|user|>"}["<|user|>" != FAMILIES[name].end]  # GLM's end is the next turn's first token
    assert [i for span in spans for i in span.ids] == tokenizer.encode(expected, add_special_tokens=False)
    assert not any(span.mismatch for span in spans)


@pytest.mark.parametrize("name", NAMES)
def test_prompt_equals_the_generation_prompt(folders: dict[str, Path], name: str) -> None:
    plan, tokenizer = plan_of(folders[name]), AutoTokenizer.from_pretrained(folders[name])
    spans = encode(prompt(messages(TALK[:3]), plan.template), plan.template, load(plan.tokenizer))
    expected = tokenizer.apply_chat_template(chat(TALK[:3]), add_generation_prompt=True, return_dict=False)
    assert [i for span in spans for i in span.ids] == expected


@pytest.mark.parametrize("name", NAMES)
def test_supervised_are_the_answers_with_their_ends(folders: dict[str, Path], name: str) -> None:
    template = plan_of(folders[name]).template
    supervised = [segment.text for segment in render(messages(TALK), template) if segment.supervised]
    end = FAMILIES[name].end
    assert [text.removeprefix("<think>\n\n</think>\n\n").strip() for text in supervised] == [f"Three.{end}", f"Four, I think.{end}"]


def test_size_that_the_folder_contradicts_names_both(folders: dict[str, Path]) -> None:
    with pytest.raises(PlanError, match=r"backbone\.dim is 128, but config\.json hidden_size of .*qwen3 states 32"):
        plan_of(folders["qwen3"], "backbone.dim=128")
