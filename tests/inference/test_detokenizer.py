"""Pieces of text, joined, are the text of all ids, whatever characters the ids cut through."""

import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Made
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from omnikit.data.text.tokenizer import Tokenizer, load
from omnikit.inference.detokenizer import IncrementalDetokenizer

TEXTS = ["two plus one is three", "  spaced   out \n", "Grüße, 你好 👋🏽 — ok", "naïve ﬁ ½", ""]


def byte_level() -> Tokenizer:
    """Hardly any merges: a character of several bytes is several ids."""
    made = Made(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.train_from_iterator(TEXTS[:1], trainers.BpeTrainer(
        vocab_size=265, special_tokens=["<end>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return Tokenizer(PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>"))


def byte_fallback() -> Tokenizer:
    """As Llama 2: words begin with ▁, unknown characters are bytes, the first space is dropped."""
    pieces = [("<unk>", 0.0), ("<end>", 0.0), *((f"<0x{byte:02X}>", -9.0) for byte in range(256)),
              *((piece, -2.0) for piece in ("▁", "▁two", "▁plus", "▁one", "▁is", "▁thr", "ee", ",", "s", "p", "o"))]
    made = Made(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                      decoders.Strip(" ", 1, 0)])
    return Tokenizer(PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>"))


TOKENIZERS = {"tiny": lambda: load("tiny"), "byte level": byte_level, "byte fallback": byte_fallback}


def written(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    writer = IncrementalDetokenizer(tokenizer)
    return [*(writer.push(token) for token in ids), writer.finish()]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("text", TEXTS)
def test_pieces_join_to_the_text(name: str, text: str) -> None:
    tokenizer = TOKENIZERS[name]()
    ids = [*tokenizer.ids(text), *tokenizer.ids("<end>")]
    assert "".join(written(tokenizer, ids)) == tokenizer.text(ids)


@pytest.mark.parametrize("name", ["tiny", "byte level"])
@pytest.mark.parametrize("seed", range(8))
def test_pieces_of_any_ids_join_to_their_text(name: str, seed: int) -> None:
    tokenizer, draw = TOKENIZERS[name](), random.Random(seed)
    ids = [draw.randrange(len(tokenizer)) for _ in range(40)]  # bytes at random are mostly no characters
    assert "".join(written(tokenizer, ids)) == tokenizer.text(ids)


def test_a_character_comes_whole_and_at_once() -> None:
    tokenizer = byte_level()
    pieces = written(tokenizer, tokenizer.ids("a👋b"))
    assert pieces == ["a", "", "", "", "👋", "b", ""]


def test_words_come_when_they_are_written() -> None:
    tokenizer = byte_fallback()
    assert written(tokenizer, tokenizer.ids("two plus one")) == ["two", " plus", " one", ""]


def test_space_waits_for_what_follows() -> None:
    tokenizer = byte_level()
    assert written(tokenizer, tokenizer.ids(" a  b ")) == ["", "a", "", "", "  b", "", ""]


def test_cost_of_a_token_does_not_grow(tmp_path: Path) -> None:
    tokenizer, lengths = byte_level(), []
    raw = tokenizer.raw
    tokenizer.raw = lambda ids: lengths.append(len(ids)) or raw(ids)
    written(tokenizer, tokenizer.ids("two plus one is three 你好 " * 20))
    assert max(lengths) < 8
