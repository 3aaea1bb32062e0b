"""Tokenizers that lose text, draw lots or need a package: what is said about them."""

import json
import logging
from pathlib import Path

import pytest
from chat_folders import FAMILIES, write_tokenizer
from tokenizers import Tokenizer as Fast
from tokenizers import models, normalizers, pre_tokenizers

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.text.text_checks import check_text, check_typed
from omnikit.data.text.tokenizer import Tokenizer, load
from omnikit.errors import ConfigError, DataError
from omnikit.plan.resolve import tokenizer_size
from omnikit.store.tokenizer_files import load_tokenizer


def row(question: str, answer: str) -> Sample:
    texts = {"user": question, "assistant": answer}
    return Sample("r", tuple(Message(role, (ContentPart("text", text=text),)) for role, text in texts.items()))


@pytest.fixture
def lower_case(tmp_path: Path) -> Tokenizer:
    words = {word: index for index, word in enumerate(("[UNK]", "yes", "no"))}
    fast = Fast(models.WordLevel(words, unk_token="[UNK]"))
    fast.normalizer, fast.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    (tmp_path / "tokenizer.json").write_text(fast.to_str())
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"}')
    return load(str(tmp_path))


@pytest.fixture
def lossless(tmp_path: Path) -> Tokenizer:
    write_tokenizer(tmp_path / "other", FAMILIES["qwen3"])
    return load(str(tmp_path / "other"))


def test_answer_with_an_unknown_word_is_named(lower_case: Tokenizer) -> None:
    with pytest.raises(DataError, match=r"Row r .* writes 'café' with its token for unknown text") as error:
        check_text(lower_case, row("yes", "yes café"))
    assert error.value.kind == "lossy text"


def test_answer_that_comes_back_in_lower_case_is_named(lower_case: Tokenizer) -> None:
    with pytest.raises(DataError, match=r"reads 'Yes no' as 'yes no'"):
        check_text(lower_case, row("yes", "Yes no"))


def test_answer_that_survives_is_good(lossless: Tokenizer) -> None:
    check_text(lossless, row("?", "naïve café 日本  \n <|im_end|>"))


def test_token_of_a_lossy_vocabulary_is_shown_as_it_is(lower_case: Tokenizer) -> None:
    assert [lower_case.shown(index, text) for index, text in ((0, "café"), (1, "Yes"), (1, "yes"))] == ["[UNK]", "yes", "yes"]


def test_typed_control_token_is_counted(lossless: Tokenizer) -> None:
    with pytest.raises(DataError, match=r"has '<\|im_end\|>' in a text, which is tokenised as letters") as error:
        check_typed(lossless, row("Print <|im_end|>.", "No."))
    assert error.value.kind == "control token"


def test_random_merges_are_switched_off_with_a_sentence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_tokenizer(tmp_path, FAMILIES["qwen3"])
    file, text = tmp_path / "tokenizer.json", "What is two plus one?"
    expected = load_tokenizer(str(tmp_path)).encode(text)
    content = json.loads(file.read_text())
    content["model"]["dropout"] = 0.9
    file.write_text(json.dumps(content))
    with caplog.at_level(logging.WARNING):
        tokenizer = load_tokenizer(str(tmp_path))
    assert {tuple(tokenizer.encode(text)) for _ in range(8)} == {tuple(expected)}
    assert "leaves out merges at random (dropout 0.9), which is switched off" in caplog.text


def test_package_that_a_tokenizer_needs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"x")
    monkeypatch.setattr("omnikit.recipe.model_folder.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"tokenizer\.model, which the package sentencepiece reads.*pip install"):
        tokenizer_size(str(tmp_path))
