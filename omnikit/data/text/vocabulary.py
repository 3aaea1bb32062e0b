"""Extend a tokenizer.json with Chinese pieces: old ids stay what they are, other text is cut as before. Reads no weights.

New pieces of a BPE are trained on what the old one makes of the corpus, and stand behind its merges: they join only what the
old merges left apart. A Unigram's new pieces come from one trained on the corpus.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import BPE, Unigram
from tokenizers.trainers import BpeTrainer, UnigramTrainer

from omnikit.errors import ConfigError, DataError

CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]+")  # consecutive Han characters
PRIVATE_USE = (*range(0xE000, 0xF900), *range(0xF0000, 0xFFFFE), *range(0x100000, 0x10FFFE))  # stand for old pieces
MAX_JOINED = 8  # old pieces that a new one joins
HELD_OUT_EVERY = 20  # every so many lines is measured and not trained on
EXTRA_PIECES = 1000  # pieces trained beyond what is asked for, since some exist already
UNREACHABLE_SCORE = -1000.0  # score of a token that its text never gives


@dataclass(frozen=True)
class Extension:
    """A tokenizer with more pieces.

    Args:
        content: what its tokenizer.json holds.
        first: the first new id; the others follow.
        old_ids: for each new id the old ids that wrote it before.
        characters: Chinese characters that were measured.
        before, after: tokens that each of them takes.
    """

    content: dict[str, Any]
    first: int
    old_ids: tuple[tuple[int, ...], ...]
    characters: int
    before: float
    after: float

    @property
    def size(self) -> int:
        """Ids of the new tokenizer."""
        return self.first + len(self.old_ids)


def extend(file: Path, corpus: Sequence[Path], pieces: int) -> Extension:
    """Train new Chinese pieces for a tokenizer.

    Args:
        file: its tokenizer.json.
        corpus: UTF-8 text files.
        pieces: how many new ones.

    Raises:
        ConfigError: the file is not a tokenizer that can be extended.
        DataError: the corpus cannot be read or gives too few pieces.
    """
    content = _read(file)
    old = _tokenizer(content, file)
    spans = list(_chinese_spans(corpus))
    trained = [span for number, span in spans if number % HELD_OUT_EVERY] or [span for _, span in spans]
    measured = [span for number, span in spans if not number % HELD_OUT_EVERY]
    first = 1 + max(old.get_vocab(with_added_tokens=True).values())
    train = _train_bpe if content["model"]["type"] == "BPE" else _train_unigram
    new, merges = train(content, trained, pieces, first)
    if len(new) < pieces:
        raise DataError(f"The corpus gives only {len(new)} new pieces, but {pieces} are asked for; give more text or set"
                        f" --pieces {max(1, len(new))}.")
    made = _with_pieces(content, new, merges, first)
    extended = _tokenizer(made, file)
    assert all(extended.id_to_token(i) == old.id_to_token(i) for i in range(first)), "old ids stay what they are"
    characters = sum(map(len, measured))
    before, after = (sum(len(tokenise_span(tokenizer, span)) for span in measured) / characters
                     for tokenizer in (old, extended))
    old_ids = tuple(tuple(token.id for token in old.model.tokenize(word)) for word, _ in new)
    return Extension(made, first, old_ids, characters, before, after)


def tokenise_span(tokenizer: Tokenizer, span: str) -> list[int]:
    """Give the ids of consecutive characters inside a text: nothing is put before them."""
    return [token.id for word in _pre_tokenised(tokenizer, span) for token in tokenizer.model.tokenize(word)]


def _pre_tokenised(tokenizer: Tokenizer, span: str) -> list[str]:
    if tokenizer.pre_tokenizer is None:
        return [span]
    return [word.lstrip("▁") for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(span)]


def _read(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        kind = content["model"]["type"]
    except OSError as error:
        raise ConfigError(f"{file} is missing; give a tokenizer.json, or a folder that holds one.") from error
    except (ValueError, LookupError, TypeError) as error:
        raise ConfigError(f"{file} is not a file of the tokenizers library ({type(error).__name__}); give a tokenizer.json that"
                          " it wrote.") from error
    model = content["model"]
    if kind not in ("BPE", "Unigram") or model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        marks = " that marks parts of words" if kind == "BPE" else ""
        raise ConfigError(f"{file} holds a model of type {kind}{marks}, but only"
                          " BPE and Unigram models that mark none can be extended; take another tokenizer.")
    return content


def _tokenizer(content: dict[str, Any], file: Path) -> Tokenizer:
    try:
        return Tokenizer.from_str(json.dumps(content, ensure_ascii=False))
    except Exception as error:  # the tokenizers library raises plain Exception for whatever it cannot read
        raise ConfigError(f"{file} is not a file of the tokenizers library ({error}).") from error


def _chinese_spans(corpus: Sequence[Path]) -> Iterator[tuple[int, str]]:
    """Give spans of Chinese characters with the number of their line."""
    found, number = False, -1
    for file in corpus:
        try:
            with file.open(encoding="utf-8") as lines:
                for line in lines:
                    spans = CHINESE.findall(unicodedata.normalize("NFC", line))
                    number += bool(spans)
                    yield from ((number, span) for span in spans)
                    found = found or bool(spans)
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"--corpus {file} is not a UTF-8 text file that can be read ({type(error).__name__}); give another"
                            " file.") from error
    if not found:
        raise DataError(f"--corpus {', '.join(map(str, corpus))} holds no Chinese character; give Chinese text.")


NewPieces = list[tuple[str, float]]  # pieces as the model writes them, with their scores
Merges = list[tuple[str, str]]


def _train_bpe(content: dict[str, Any], spans: Sequence[str], pieces: int, first: int) -> tuple[NewPieces, Merges]:
    """Give new pieces and the merges that make them: characters without a piece of their own, then what joins old pieces."""
    known = content["model"]["vocab"]
    counts = Counter(character for span in spans for character in span) if not _by_bytes(content) else Counter[str]()
    new = [(character, 0.0) for character, _ in counts.most_common() if character not in known][:pieces]
    tokenizer = Tokenizer.from_str(json.dumps(_with_pieces(content, new, [], first), ensure_ascii=False))
    merges, existing = Merges(), {*known, *(word for word, _ in new)}
    for merge in _new_merges(tokenizer, spans, pieces - len(new)):
        if len(new) == pieces:
            break
        merges.append(merge)
        if "".join(merge) not in existing:
            existing.add("".join(merge))
            new.append(("".join(merge), 0.0))
    return new, merges


def _new_merges(tokenizer: Tokenizer, spans: Sequence[str], count: int) -> Iterator[tuple[str, str]]:
    """Give merges of pieces, at least `count` where the text has them: a BPE whose characters are a tokenizer's pieces."""
    signs: dict[int, str] = {}
    words = ["".join(signs.setdefault(i, chr(PRIVATE_USE[len(signs)])) for i in tokenise_span(tokenizer, span))
             for span in spans]
    learner = Tokenizer(BPE())
    learner.train_from_iterator(words, BpeTrainer(vocab_size=len(signs) + count + EXTRA_PIECES, min_frequency=2,
                                                  show_progress=False, max_token_length=MAX_JOINED))
    text = {sign: tokenizer.id_to_token(i) or "" for i, sign in signs.items()}
    for merge in json.loads(learner.to_str())["model"]["merges"]:
        left, right = merge if isinstance(merge, list) else merge.split(" ")
        yield "".join(text[sign] for sign in left), "".join(text[sign] for sign in right)


def _train_unigram(content: dict[str, Any], spans: Sequence[str], pieces: int, first: int) -> tuple[NewPieces, Merges]:
    """Give the most likely new pieces of a Unigram of the corpus."""
    known = {piece for piece, _ in content["model"]["vocab"]}
    learner = Tokenizer(Unigram())
    learner.train_from_iterator(spans, UnigramTrainer(vocab_size=2 * pieces + EXTRA_PIECES, show_progress=False,
                                                     max_piece_length=MAX_JOINED))
    found = json.loads(learner.to_str())["model"]["vocab"]
    new = [(piece, float(score)) for piece, score in found if piece not in known and CHINESE.fullmatch(piece)]
    return new[:pieces], []


def _with_pieces(content: dict[str, Any], new: Iterable[tuple[str, float]], merges: Sequence[tuple[str, str]],
                 first: int) -> dict[str, Any]:
    """Give a tokenizer's content with pieces from id `first` on.

    Tokens beside the model come into its vocabulary, or the library would give them new ids behind it.
    """
    model = dict(content["model"])
    added = {token["content"]: token["id"] for token in content["added_tokens"]}
    if model["type"] == "BPE":
        own = [list(merge) if not model["merges"] or isinstance(model["merges"][0], list) else " ".join(merge)
               for merge in merges]
        model["merges"] = [*model["merges"], *own]
        model["vocab"] = {**model["vocab"], **added, **{piece: first + index for index, (piece, _) in enumerate(new)}}
    else:
        names = {i: name for name, i in added.items()}
        behind = [[names.get(i, f"<unused{i}>"), UNREACHABLE_SCORE] for i in range(len(model["vocab"]), first)]
        model["vocab"] = [*model["vocab"], *behind, *map(list, new)]
    return {**content, "model": model}


def _by_bytes(content: dict[str, Any]) -> bool:
    """Give whether a model's characters are bytes, of which it has all."""
    return "ByteLevel" in json.dumps(content["pre_tokenizer"])
