"""Tokenizers of three families, each once so that it cuts behind the header of an answer and once so that it does not."""

from collections.abc import Callable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteDecoder
from tokenizers.decoders import Metaspace as MetaspaceDecoder
from tokenizers.models import BPE, Unigram
from tokenizers.normalizers import Replace
from tokenizers.pre_tokenizers import ByteLevel, PreTokenizer, Sequence, Split

SPECIALS = ("<pad>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|im_start|>",
            "<|im_end|>", "</s>")
LETTERS = (*map(chr, range(33, 127)), "\n", "▁", "☞", "☜", "☟")
LLAMA_3 = Regex(r"\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+")  # line breaks stand alone, as in Llama 3


def byte_level(pre_tokenizer: PreTokenizer) -> Tokenizer:
    """Two line breaks are one id where the pre-tokenizer leaves them together."""
    alphabet = sorted(ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE({piece: i for i, piece in enumerate([*alphabet, "ĊĊ"])}, [("Ċ", "Ċ")]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, ByteDecoder()
    return tokenizer


def sentencepiece(*joined: tuple[str, str]) -> Tokenizer:
    """Nothing is cut before the merges, so that they cross spaces and line breaks."""
    merges = [("\n", "\n"), *joined]
    tokenizer = Tokenizer(BPE({piece: i for i, piece in enumerate([*LETTERS, *map("".join, merges)])}, merges))
    tokenizer.normalizer, tokenizer.decoder = Replace(" ", "▁"), MetaspaceDecoder(prepend_scheme="never")
    return tokenizer


def unigram(*joined: str) -> Tokenizer:
    """A longer piece is likelier than its letters."""
    tokenizer = Tokenizer(Unigram([(piece, -10.0) for piece in (*LETTERS, "\n\n", *joined)], unk_id=0))
    tokenizer.normalizer, tokenizer.decoder = Replace(" ", "▁"), MetaspaceDecoder(prepend_scheme="never")
    return tokenizer


# GPT-2's rule leaves the last line break to what follows it: a header's two are one id alone, and two before an answer
MERGING: dict[str, Callable[[], Tokenizer]] = {
    "byte-level BPE": lambda: byte_level(ByteLevel(add_prefix_space=False)),
    "sentencepiece BPE": lambda: sentencepiece(("H", "e"), ("\n\n", "He"), ("\n", "☞"), (":", "<")),
    "unigram": lambda: unigram("\n\nHe", "\n☞", ":<"),
}
CUTTING: dict[str, Callable[[], Tokenizer]] = {
    "byte-level BPE": lambda: byte_level(Sequence([Split(LLAMA_3, "isolated"), ByteLevel(add_prefix_space=False,
                                                                                         use_regex=False)])),
    "sentencepiece BPE": lambda: sentencepiece(("H", "e"), ("He", "l")),
    "unigram": lambda: unigram("He", "llo", "Hello"),
}


def write(folder: Path, made: Tokenizer) -> str:
    """Write a tokenizer.json with the templates' tokens and give its path."""
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    path = folder / "tokenizer.json"
    made.save(str(path))
    return str(path)
