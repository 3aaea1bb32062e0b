"""VITA's prompts, labels and splice: conversations through our templates, collator and model, with made-up features.

What only the original does is done here: dummy features of rows without an image or a sound are left out, placeholders stand
in its ids, and a batch is cut at its length. The rest is ours; see docs/howto/states.md.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from parity.case import Case, ReplayError
from parity.table_plan import RATE, SIDE, plan_of
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from omnikit.contracts.specs import Template
from omnikit.contracts.types import Batch, ContentPart, Message, Sample
from omnikit.data.batch.collate import Collator
from omnikit.data.text.templates import PADDING, TextSegment, prompt, render, turn_labels
from omnikit.data.text.tokenise import encode
from omnikit.data.text.tokenizer import load
from omnikit.model import OmniModel
from omnikit.recipe.presets import read_mapping
from omnikit.recipe.schema import construct
from omnikit.registry import preset
from omnikit.taps import Taps

TEMPLATES = {"qwen2p5_instruct": "qwen2p5_vita"}  # where the published name is another's
STATES = {"audio": "audio query", "noise": "noise", "text": "text query"}  # our word → of the case's
MARK = "\0"


def matches(case: Case) -> bool:
    return "image_token_index" in case.config and "tokenizer" in case.config and "train" in case.words_out


def replay(case: Case) -> None:
    template = read_template(case)
    case.compared |= {"train", "inference", "train_fo"} & set(case.words_out)
    train = case.words_out["train"]
    for item in train:
        compare(case, f"train[{item['name']}]", item, template)
    for item in case.words_out.get("train_fo", []):
        compare(case, f"train_fo[{item['name']}]", item, replace(template, states={}))
    for number, item in enumerate(case.words_out.get("inference", [])):
        ask(case, f"inference[{number}]", item, template)
    valid_items = [item for item in train if "error" not in item]
    collated(case, [encoded(case, render(talk(case, item, template).sample.messages, template), template,
                            talk(case, item, template)) for item in valid_items])
    for splice in case.facts.get("splices", []):
        spliced(case, splice, [talk(case, item, template) for item in valid_items], template)


# ---- conversations ----


@dataclass(frozen=True)
class Talk:
    """A conversation, and how many placeholders each of its media has in the original, in order."""

    sample: Sample
    counts: tuple[int, ...]


def talk(case: Case, item: dict[str, Any], template: Template) -> Talk:
    """Give a training sample: its turns, what is to be ignored of them, where it breaks off."""
    given, counts = item["sample"], list[int]()
    tiles = iter(given.get("patch_num") or [])
    messages = []
    for number, turn in enumerate(given["conversations"]):
        parts = []
        for text in filter(None, re.split("(<image>|<audio>|<video>)", turn["value"])):
            kind = text[1:-1] if text in ("<image>", "<audio>", "<video>") else "text"
            if kind != "text":
                counts.append({"image": lambda: next(tiles, 1), "video": lambda: given["image_token_num"],
                               "audio": lambda: 1}[kind]())
            parts.append(medium(kind, counts[-1]) if kind != "text" else ContentPart("text", text=text))
        last = number == len(given["conversations"]) - 1
        messages.append(Message("user" if turn["from"] == "human" else "assistant", tuple(parts),
                                "noise" if given.get("inserted_id") == number else None,
                                cut=last and given.get("end_tag") is False))
    return Talk(Sample(item["name"], tuple(messages)), tuple(counts))


def question(item: dict[str, Any], template: Template) -> Talk:
    """Give a prompt's turns, where images are placeholders for each tile already and answers begin with their state."""
    counts, messages, shown = list[int](), [], "video" if item["modality"] == "video" else "image"
    for number, text in enumerate(item["messages"]):
        state = next((name for name, words in template.states.items() if number % 2 and text.startswith(words)), None)
        text = text.removeprefix(template.states[state]) if state else text
        parts = []
        for run in filter(None, re.split("((?:<image>)+|<audio>)", text)):
            tiles = run.count("<image>") if run.startswith("<image>") else int(run == "<audio>")
            counts += [tiles] if tiles else []
            parts.append(medium("audio" if run == "<audio>" else shown, tiles) if tiles else ContentPart("text", text=run))
        messages.append(Message(("user", "assistant")[number % 2], tuple(parts), state))
    return Talk(Sample("question", tuple(messages)), tuple(counts))


def medium(kind: str, count: int) -> ContentPart:
    """Give an image that is cut into `count` tiles, a video of `count` frames, or a sound whose length is set later."""
    if kind == "audio":
        return ContentPart("audio")
    shape = (SIDE, SIDE * count, 3) if kind == "image" else (count, SIDE, SIDE, 3)
    return ContentPart(kind, pixels=np.zeros(shape, np.uint8), frame_rate=1.0)


# ---- text and ids ----


def compare(case: Case, where: str, item: dict[str, Any], template: Template) -> None:
    """Compare a training sample: its turns, its text, its ids, its labels, the labels of its states."""
    if "error" in item:  # the original stopped at it
        return
    given = talk(case, item, template)
    segments = render(given.sample.messages, template)
    case.equal(f"{where}.rendered_prompt", written(segments, given), item["rendered_prompt"])
    if "sources_after_preprocess_multimodal" in item:
        frame = replace(template, bos="", adds_bos=None, system="", first="", user=f"{MARK}{{content}}", assistant=MARK, end="",
                        systems={}, default_system="")
        turns = written(render(given.sample.messages, frame), given).split(MARK)[1:]
        case.equal(f"{where}.turns", turns, [turn["value"] for turn in item["sources_after_preprocess_multimodal"]])
    ids, targets = encoded(case, segments, template, given)
    case.equal(f"{where}.input_ids", ids, item["input_ids"])
    case.equal(f"{where}.labels", targets, item["labels"])
    if "state_labels" in item:
        found = [-101 - label for label in turn_labels(given.sample.messages) if label != PADDING]
        case.equal(f"{where}.state_labels", found, item["state_labels"])


def ask(case: Case, where: str, item: dict[str, Any], template: Template) -> None:
    """Compare a prompt: its text and its ids."""
    given = question(item, template)
    segments = prompt(given.sample.messages, template)
    case.equal(f"{where}.prompt", written(segments, given), item["prompt"])
    for key in [key for key in item if key.startswith("input_ids")]:
        case.equal(f"{where}.{key}", encoded(case, segments, template, given)[0], item[key])


def written(segments: Sequence[TextSegment], given: Talk) -> str:
    counts = iter(given.counts)
    return "".join(("<audio>" if segment.media.type == "audio" else "<image>") * next(counts) if segment.media
                   else segment.text for segment in segments)


def encoded(case: Case, segments: Sequence[TextSegment], template: Template, given: Talk) -> tuple[list[int], list[int]]:
    """Give ids with the original's placeholders, and its labels."""
    ids, targets, counts, ignored = list[int](), list[int](), iter(given.counts), case.config["ignore_index"]
    for piece in encode(segments, template, load(str(case.folder / "tokenizer.json"))):
        marks = piece.supervised
        if piece.media:
            kind = "audio" if piece.media.type == "audio" else "image"
            run = [case.config[f"{kind}_token_index"]] * next(counts)
            ids, targets = ids + run, targets + [ignored] * len(run)
        else:
            ids += piece.ids
            targets += [i if mark else ignored for i, mark in zip(piece.ids, marks, strict=True)]
    return ids, targets


def collated(case: Case, rows: Sequence[tuple[list[int], list[int]]]) -> None:
    """Compare the padded batch of all rows."""
    pad = load(str(case.folder / "tokenizer.json")).ids(case.config["tokenizer"]["pad_token"])[0]
    ids = pad_sequence([torch.tensor(row) for row, _ in rows], batch_first=True, padding_value=pad)
    targets = pad_sequence([torch.tensor(row) for _, row in rows], batch_first=True, padding_value=case.config["ignore_index"])
    case.close("collated_input_ids", ids)
    case.close("collated_labels", targets)
    case.close("collated_attention_mask", ids != pad)


def read_template(case: Case) -> Template:
    name, errors = TEMPLATES.get(case.config["version"], case.config["version"]), list[str]()
    found = preset("template", name)
    template = construct(Template, read_mapping(found.path), name, errors) if found else None
    if template is None:
        raise ReplayError(f"template {name} is not there: {' '.join(errors)}")
    for state, words in STATES.items():
        expected = [text for key, text in case.config.get("state_tokens", {}).items() if words in key]
        case.equal(f"states.{state}", [template.states[state]] if expected else [], expected)
    return template


# ---- the splice ----


def spliced(case: Case, splice: dict[str, Any], talks: Sequence[Talk], template: Template) -> None:
    """Compare what the backbone reads, and where each of it comes from, with a splice of the collated batch."""
    name, inputs = splice["name"], case.inputs
    audios, tiles = list(real(talks, "audio")), list(real(talks, "image"))
    counts = audio_counts(case, splice, audios)
    plan = plan_of(template, str(case.folder / "tokenizer.json"), inputs[f"{name}.embed_tokens_weight"],
                   [inputs[f"{name}.audio_features"][position][:count] for position, count in zip(audios, counts, strict=True)],
                   [inputs[f"{name}.image_features"][position] for position in tiles])
    lengths = iter(counts)
    batch = Collator(plan, ["text"])([with_audio(one.sample, lengths) for one in talks])
    cut = splice["config"].get("tokenizer_model_max_length", 1 << 20)
    valid = torch.arange(batch.tokens.shape[1]) < batch.lengths[:, None]
    found = Taps(OmniModel(plan), batch).inputs.where(valid[..., None], 0)
    kind, index = position_kinds(batch, valid, {"image": tiles, "audio": audios})
    targets = torch.full_like(batch.tokens, case.config["ignore_index"])
    for row, (answer, length) in enumerate(zip(batch.answers, batch.answer_lengths.tolist(), strict=True)):
        targets[row, answer[:length]] = batch.tokens[row, answer[:length]]
    for key, tensor in {"inputs_embeds": found, "labels": targets, "attention_mask": valid, "position_kind": kind,
                        "position_index": index}.items():
        case.close(f"{name}.{key}", tensor[:, :cut])


def real(talks: Sequence[Talk], kind: str) -> Iterator[int]:
    """Give the positions of images or audios among the original's features, where a row without any has a dummy."""
    position = 0
    for one in talks:
        media = [part.type for message in one.sample.messages for part in message.content if part.type != "text"]
        own = [number for found, number in zip(media, one.counts, strict=True) if (found == "audio") == (kind == "audio")]
        count = sum(own)
        yield from range(position, position + count)
        position += max(1, count)


def audio_counts(case: Case, splice: dict[str, Any], audios: Sequence[int]) -> list[int]:
    """Give the number of embeddings of each audio: VITA 1.0 puts all of them in, VITA-1.5 as many as the encoder counts."""
    stored = case.inputs.get(f"{splice['name']}.audio_lengths_for_llm")
    if case.config["version"].startswith("mixtral") or stored is None:
        return [splice["audio_feature_length"]] * len(audios)
    return [min(int(stored[position]), splice["audio_feature_length"]) for position in audios]


def with_audio(sample: Sample, lengths: Iterator[int]) -> Sample:
    """Give a sample whose audios are as long as the stored features need."""
    messages = tuple(replace(message, content=tuple(
        replace(part, audio=np.zeros(RATE * next(lengths), np.float32)) if part.type == "audio" else part
        for part in message.content)) for message in sample.messages)
    return replace(sample, messages=messages)


def position_kinds(batch: Batch, valid: Tensor, features: dict[str, list[int]]) -> tuple[Tensor, Tensor]:
    """Give kind and index of each position as the original's replay wrote them: 0 text, 1 image, 2 audio, -1 padding."""
    kind, index = torch.where(valid, 0, -1), batch.tokens.where(valid, -1)
    for number, branch in enumerate(("image", "audio"), 1):
        if branch in batch.slots:
            own = [1000 * position + offset for position, count in zip(features[branch], batch.counts[branch], strict=True)
                   for offset in range(count)]
            kind.view(-1)[batch.slots[branch]] = number
            index.view(-1)[batch.slots[branch]] = torch.tensor(own)
    return kind, index
