"""Messages to the ids that LLaMA-Omni's model gets, and which of them are supervised, with the case's own tokenizer.

Whether that tokenizer adds BOS decides between the two BOS cases, as in the original (docs/explanation/exactness.md).
"""

from dataclasses import replace
from typing import Any

from parity.case import Case, ReplayError

from omnikit.contracts.specs import Template
from omnikit.contracts.types import ContentPart, Message
from omnikit.data.text.templates import TextSegment, prompt, render
from omnikit.data.text.tokenise import encode
from omnikit.data.text.tokenizer import load
from omnikit.recipe.presets import read_mapping
from omnikit.recipe.schema import construct
from omnikit.registry import preset

MARK = "<speech>"
ROLES = {"human": "user", "gpt": "assistant", "user": "user", "assistant": "assistant"}


def matches(case: Case) -> bool:
    return ("llama-omni" in case.words and (case.folder / "tokenizer.json").is_file()
            and bool({"inference", "training"} & set(case.words_out)))


def replay(case: Case) -> None:
    template = read_template("llama_omni", case)
    case.compared |= {"inference", "training"} & set(case.words_out)
    for number, item in enumerate(case.words_out.get("inference", [])):
        compare(case, f"inference[{number}]", item, item["messages"], template)
    for number, item in enumerate(case.words_out.get("training", [])):
        turns = item.get("after_preprocess_multimodal", item["conversation"])
        turns = turns[turns[0]["from"] != "human":]  # the original leaves out what stands before the first question
        if "input_ids" in item:  # else the original stopped at it; ours learns every answer of several turns
            compare(case, f"training[{number}]", item, turns, template)


def compare(case: Case, where: str, item: dict[str, Any], turns: list[Any], template: Template) -> None:
    """Compare one conversation: the rendered text, the ids, the labels."""
    config = case.config
    template = replace(template, default_system=item.get("system", template.default_system))
    texts = [text.strip() for turn in turns if MARK in (text := words(turn))]
    if any(text.count(MARK) != text.count(f"{MARK}{template.behind_audio}") for text in texts):
        template = replace(template, behind_audio="", instruction="")  # then the text brings what shall stand there
    conversation = [message(turn, number, template) for number, turn in enumerate(turns)]
    segments = (render if "labels" in item else prompt)(conversation, template)
    if "prompt" in item:
        case.equal(f"{where}.prompt", written(segments), item["prompt"])
    tokenizer = load(str(case.folder / "tokenizer.json"))
    ids, labels, ignored = [], [], config.get("ignore_index", -100)
    for piece in encode(segments, template, tokenizer):
        ids += [config.get("speech_token_index", -200)] if piece.media else piece.ids
        labels += [ignored] if piece.media else [i if mark else ignored
                                                 for i, mark in zip(piece.ids, piece.supervised, strict=True)]
    case.equal(f"{where}.input_ids", list(ids), item["input_ids"])
    if "labels" in item:
        case.equal(f"{where}.labels", labels, item["labels"])


def words(turn: str | dict[str, str]) -> str:
    return turn if isinstance(turn, str) else turn["value"]


def message(turn: str | dict[str, str], number: int, template: Template) -> Message:
    """Give a turn as a message; turns without a role take it in turns. What the template puts behind audio is taken out."""
    role = ("user", "assistant")[number % 2] if isinstance(turn, str) else ROLES[turn["from"]]
    first, *others = words(turn).split(MARK)
    parts = [ContentPart("text", text=first)] if first else []
    for behind in others:
        text = behind.removeprefix(template.behind_audio)
        parts += [ContentPart("audio"), *([ContentPart("text", text=text)] if text else [])]
    joined = "".join(part.text or "" for part in parts).strip()
    asks = role == "user" and others and joined and joined == template.instruction
    return Message(role, tuple(part for part in parts if part.type != "text") if asks else tuple(parts))


def written(segments: list[TextSegment]) -> str:
    return "".join(MARK if segment.media else segment.text for segment in segments)


def read_template(name: str, case: Case) -> Template:
    found, errors = preset("template", name), list[str]()
    template = construct(Template, read_mapping(found.path), name, errors) if found else None
    if template is None:
        raise ReplayError(f"template {name} is not there: {' '.join(errors)}")
    return template
