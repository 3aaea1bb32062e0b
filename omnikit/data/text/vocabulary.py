"""A tokenizer.json with more Chinese pieces: old ids stay what they are, other text is cut as before. Knows no weights.

New pieces of a BPE are learnt on what the old one makes of the corpus, and stand behind its merges: they join only what the
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

CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]+")  # runs of Han characters
PRIVATE = (*range(0xE000, 0xF900), *range(0xF0000, 0xFFFFE), *range(0x100000, 0x10FFFE))  # stand for old pieces
LONGEST = 8  # old pieces that a new one joins
MEASURED = 20  # every so many lines is measured and not trained on
SPARE = 1000  # pieces learnt beyond what is asked for, since some are known already
IMPOSSIBLE = -1000.0  # score of a token that its text never gives


@dataclass(frozen=True)
class Extension:
    """A tokenizer with more pieces.

    Args:
        content: what its tokenizer.json holds.
        first: the first new id; the others follow.
        made_of: for each new id the old ids that wrote it before.
        characters: Chinese characters that were measured.
        before, after: tokens that each of them takes.
    """

    content: dict[str, Any]
    first: int
    made_of: tuple[tuple[int, ...], ...]
    characters: int
    before: float
    after: float

    @property
    def size(self) -> int:
        """Ids of the new tokenizer."""
        return self.first + len(self.made_of)


def extend(file: Path, corpus: Sequence[Path], pieces: int) -> Extension:
    """Learn new Chinese pieces for a tokenizer.

    Args:
        file: its tokenizer.json.
        corpus: UTF-8 text files.
        pieces: how many new ones.

    Raises:
        ConfigError: the file is no tokenizer that can be extended.
        DataError: the corpus cannot be read or gives too few pieces.
    """
    content = _read(file)
    old = _loaded(content, file)
    runs = list(_runs(corpus))
    trained = [run for number, run in runs if number % MEASURED] or [run for _, run in runs]
    measured = [run for number, run in runs if not number % MEASURED]
    first = 1 + max(old.get_vocab(with_added_tokens=True).values())
    learn = _learn_bpe if content["model"]["type"] == "BPE" else _learn_unigram
    new, merges = learn(content, trained, pieces, first)
    if len(new) < pieces:
        raise DataError(f"The corpus gives only {len(new)} new pieces, but {pieces} are asked for; give more text or set"
                        f" --pieces {max(1, len(new))}.")
    made = _with_pieces(content, new, merges, first)
    extended = _loaded(made, file)
    assert all(extended.id_to_token(i) == old.id_to_token(i) for i in range(first)), "old ids stay what they are"
    characters = sum(map(len, measured))
    before, after = (sum(len(cut(tokenizer, run)) for run in measured) / characters for tokenizer in (old, extended))
    made_of = tuple(tuple(token.id for token in old.model.tokenize(word)) for word, _ in new)
    return Extension(made, first, made_of, characters, before, after)


def cut(tokenizer: Tokenizer, run: str) -> list[int]:
    """Give the ids of a run of characters inside a text: nothing is put before it."""
    return [token.id for part in _parts(tokenizer, run) for token in tokenizer.model.tokenize(part)]


def _parts(tokenizer: Tokenizer, run: str) -> list[str]:
    if tokenizer.pre_tokenizer is None:
        return [run]
    return [part.lstrip("▁") for part, _ in tokenizer.pre_tokenizer.pre_tokenize_str(run)]


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


def _loaded(content: dict[str, Any], file: Path) -> Tokenizer:
    try:
        return Tokenizer.from_str(json.dumps(content, ensure_ascii=False))
    except Exception as error:  # the tokenizers library raises plain Exception for whatever it cannot read
        raise ConfigError(f"{file} is not a file of the tokenizers library ({error}).") from error


def _runs(corpus: Sequence[Path]) -> Iterator[tuple[int, str]]:
    """Give runs of Chinese characters with the number of their line."""
    found, number = False, -1
    for file in corpus:
        try:
            with file.open(encoding="utf-8") as lines:
                for line in lines:
                    runs = CHINESE.findall(unicodedata.normalize("NFC", line))
                    number += bool(runs)
                    yield from ((number, run) for run in runs)
                    found = found or bool(runs)
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"--corpus {file} is no text in UTF-8 that can be read ({type(error).__name__}); give another"
                            " file.") from error
    if not found:
        raise DataError(f"--corpus {', '.join(map(str, corpus))} holds no Chinese character; give Chinese text.")


New = list[tuple[str, float]]  # pieces as the model writes them, with their scores
Merges = list[tuple[str, str]]


def _learn_bpe(content: dict[str, Any], runs: Sequence[str], pieces: int, first: int) -> tuple[New, Merges]:
    """Give new pieces and the merges that make them: characters without a piece of their own, then what joins old pieces."""
    known = content["model"]["vocab"]
    counts = Counter(character for run in runs for character in run) if not _by_bytes(content) else Counter[str]()
    new = [(character, 0.0) for character, _ in counts.most_common() if character not in known][:pieces]
    tokenizer = Tokenizer.from_str(json.dumps(_with_pieces(content, new, [], first), ensure_ascii=False))
    merges, there = Merges(), {*known, *(word for word, _ in new)}
    for merge in _joined(tokenizer, runs, pieces - len(new)):
        if len(new) == pieces:
            break
        merges.append(merge)
        if "".join(merge) not in there:
            there.add("".join(merge))
            new.append(("".join(merge), 0.0))
    return new, merges


def _joined(tokenizer: Tokenizer, runs: Sequence[str], count: int) -> Iterator[tuple[str, str]]:
    """Give merges of pieces, at least `count` where the text has them: a BPE whose characters are a tokenizer's pieces."""
    signs: dict[int, str] = {}
    words = ["".join(signs.setdefault(i, chr(PRIVATE[len(signs)])) for i in cut(tokenizer, run)) for run in runs]
    learner = Tokenizer(BPE())
    learner.train_from_iterator(words, BpeTrainer(vocab_size=len(signs) + count + SPARE, min_frequency=2, show_progress=False,
                                                  max_token_length=LONGEST))
    text = {sign: tokenizer.id_to_token(i) or "" for i, sign in signs.items()}
    for merge in json.loads(learner.to_str())["model"]["merges"]:
        left, right = merge if isinstance(merge, list) else merge.split(" ")
        yield "".join(text[sign] for sign in left), "".join(text[sign] for sign in right)


def _learn_unigram(content: dict[str, Any], runs: Sequence[str], pieces: int, first: int) -> tuple[New, Merges]:
    """Give the likeliest pieces of a Unigram of the corpus that are new."""
    known = {piece for piece, _ in content["model"]["vocab"]}
    learner = Tokenizer(Unigram())
    learner.train_from_iterator(runs, UnigramTrainer(vocab_size=2 * pieces + SPARE, show_progress=False,
                                                     max_piece_length=LONGEST))
    found = json.loads(learner.to_str())["model"]["vocab"]
    new = [(piece, float(score)) for piece, score in found if piece not in known and CHINESE.fullmatch(piece)]
    return new[:pieces], []


def _with_pieces(content: dict[str, Any], new: Iterable[tuple[str, float]], merges: Sequence[tuple[str, str]],
                 first: int) -> dict[str, Any]:
    """Give a tokenizer's content with pieces from id `first` on.

    Tokens beside the model come into its vocabulary, or the library would number them anew behind it.
    """
    model = dict(content["model"])
    added = {token["content"]: token["id"] for token in content["added_tokens"]}
    if model["type"] == "BPE":
        own = [list(merge) if not model["merges"] or isinstance(model["merges"][0], list) else " ".join(merge)
               for merge in merges]
        model["merges"] = [*model["merges"], *own]
        model["vocab"] = {**model["vocab"], **added, **{piece: first + place for place, (piece, _) in enumerate(new)}}
    else:
        names = {i: name for name, i in added.items()}
        behind = [[names.get(i, f"<unused{i}>"), IMPOSSIBLE] for i in range(len(model["vocab"]), first)]
        model["vocab"] = [*model["vocab"], *behind, *map(list, new)]
    return {**content, "model": model}


def _by_bytes(content: dict[str, Any]) -> bool:
    """Say whether a model's characters are bytes, of which it has all."""
    return "ByteLevel" in json.dumps(content["pre_tokenizer"])
