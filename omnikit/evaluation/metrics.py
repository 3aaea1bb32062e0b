"""Texts compared: exact match, wrong words and wrong characters. Knows no model.

A Chinese character counts as a word, and no space beside it counts as a character.
"""

import re
from collections.abc import Sequence

NORMALISER = ("lower case, punctuation to spaces (apostrophes inside words stay), runs of spaces to one; a Chinese character is"
              " a word")
_HAN = "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
_BESIDE_HAN = re.compile(rf"(?<={_HAN}) | (?={_HAN})")
_NOT_WORDS = re.compile(r"(?<!\w)'|'(?!\w)|[^\w\s']")

Pair = tuple[float, float]  # how much was found, and of how much


def normalised(text: str) -> str:
    """Give a text's words as they are compared when they were heard; see NORMALISER."""
    return " ".join(re.sub(f"({_HAN})", r" \1 ", _NOT_WORDS.sub(" ", text.lower().replace("’", "'"))).split())


def exact(found: str, expected: str) -> bool:
    """Say whether two texts are equal up to space; case and punctuation count."""
    return found.split() == expected.split()


def word_errors(heard: Sequence[str], said: Sequence[str]) -> list[Pair]:
    """Give (wrong, missing and extra words; words said) of each pair, after normalising; without pairs with nothing said.

    Source: the usual edit distance, by jiwer.
    """
    import jiwer

    counts = [jiwer.process_words(s, h) for h, s in _spoken(heard, said)]
    return [(c.substitutions + c.deletions + c.insertions, c.substitutions + c.deletions + c.hits) for c in counts]


def character_errors(heard: Sequence[str], said: Sequence[str]) -> list[Pair]:
    """Give the same for characters, spaces between words included, but none beside Chinese."""
    import jiwer

    counts = [jiwer.process_characters(_BESIDE_HAN.sub("", s), _BESIDE_HAN.sub("", h)) for h, s in _spoken(heard, said)]
    return [(c.substitutions + c.deletions + c.insertions, c.substitutions + c.deletions + c.hits) for c in counts]


def _spoken(heard: Sequence[str], said: Sequence[str]) -> list[tuple[str, str]]:
    pairs = [(normalised(h), normalised(s)) for h, s in zip(heard, said, strict=True)]
    return [(h, s) for h, s in pairs if s]
