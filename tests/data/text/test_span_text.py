"""Ids of a text and of what stands before a position, against the tokenizer asked each time; tokens that somebody typed."""

from pathlib import Path

import pytest
from chat_folders import FAMILIES, Family, write_tokenizer
from tokenizers import AddedToken, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Fast
from transformers import PreTrainedTokenizerFast

from omnikit.data.text.span_text import SpanText
from omnikit.data.text.text_segments import TextSegment
from omnikit.data.text.tokenizer import Tokenizer, load

TEMPLATE = "<|im_start|>user\nWhy not?<|im_end|>\n<|im_start|>assistant\n  So it is. <|im_end|>\n\nAnd <|endoftext|> then?"


def template_segment(text: str) -> TextSegment:
    return TextSegment(text, origins=((len(text), "template"),))


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    write_tokenizer(tmp_path, FAMILIES["qwen3"])
    return load(str(tmp_path))


@pytest.mark.parametrize("special", [False, True])
def test_ids_before_a_position_are_those_of_the_text_alone(tokenizer: Tokenizer, special: bool) -> None:
    span = SpanText([template_segment(TEMPLATE)], tokenizer, special=special)
    found = [span.ids[: prefix.shared] + prefix.own for prefix in map(span.before, range(len(TEMPLATE) + 1))]
    assert found == [tokenizer.ids(TEMPLATE[:end], special=special) for end in range(len(TEMPLATE) + 1)]


def test_only_what_follows_the_last_control_token_is_tokenised_again(tokenizer: Tokenizer) -> None:
    span = SpanText([template_segment(TEMPLATE)], tokenizer)
    end = TEMPLATE.index(" So it is.")
    assert span.before(end).shared == len(tokenizer.ids(TEMPLATE[: TEMPLATE.rindex("<|im_start|>")]))


def test_a_text_that_continues_otherwise_does_not_begin_with_the_prefix(tokenizer: Tokenizer) -> None:
    span = SpanText([template_segment(TEMPLATE)], tokenizer)
    assert not span.before(TEMPLATE.index("hy not")).begins([*span.ids[:3], -1, -1])


def test_offsets_of_typed_tokens_are_aligned_with_the_ids(tokenizer: Tokenizer) -> None:
    typed = TextSegment("a<|im_end|>b<|im_end|>", origins=((12, "question"), (10, "template")))
    span = SpanText([typed], tokenizer)
    offsets = span.offsets()
    assert len(offsets) == len(span.ids)
    assert (offsets[-1], span.ids[-1]) == ((12, 22), tokenizer.ids("<|im_end|>")[0])


def test_control_token_that_is_not_marked_as_special_is_letters_too(tmp_path: Path) -> None:
    family = FAMILIES["glm"]
    write_tokenizer(tmp_path, Family("glm", family.template, family.tokens, family.end))
    file = tmp_path / "tokenizer.json"
    file.write_text(file.read_text().replace('"special": true', '"special": false'))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    tokenizer = Tokenizer(load(str(tmp_path)).coder)
    span = SpanText([TextSegment("Hi <|user|>", origins=((11, "question"),))], tokenizer)
    assert tokenizer.ids("<|user|>")[0] not in span.ids
    assert tokenizer.text_with_specials(span.ids) == "Hi <|user|>"


@pytest.mark.parametrize("scheme", ["first", "always", "never"])
def test_ids_before_a_position_hold_for_words_that_begin_with_a_space_mark(scheme: str) -> None:
    text = "<s>[INST] Why not? [/INST] So it is.</s>[INST] And  then? [/INST] Well, yes</s>\n end"
    fast = Fast(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    specials = [AddedToken(token, special=True, normalized=False) for token in ("<s>", "</s>", "[INST]", "[/INST]")]
    fast.train_from_iterator([text], trainers.BpeTrainer(vocab_size=200, show_progress=False, special_tokens=specials))
    tokenizer = Tokenizer(PreTrainedTokenizerFast(tokenizer_object=fast))
    span = SpanText([template_segment(text)], tokenizer)
    found = [span.ids[: prefix.shared] + prefix.own for prefix in map(span.before, range(len(text) + 1))]
    assert found == [tokenizer.ids(text[:end]) for end in range(len(text) + 1)]
