"""Texts compared: exact match, word errors and character errors.

A Chinese character counts as a word, and no space beside it counts as a character.
"""

import re
from collections.abc import Sequence

NORMALISER = ("lower case, punctuation to spaces (apostrophes inside words stay), runs of spaces to one; a Chinese character is"
              " a word")
_HAN = "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
_BESIDE_HAN = re.compile(rf"(?<={_HAN}) | (?={_HAN})")
_NOT_WORDS = re.compile(r"(?<!\w)'|'(?!\w)|[^\w\s']")

Pair = tuple[float, float]  # numerator and denominator


def normalise(text: str) -> str:
    """Give a text as transcripts are compared; see NORMALISER."""
    return " ".join(re.sub(f"({_HAN})", r" \1 ", _NOT_WORDS.sub(" ", text.lower().replace("’", "'"))).split())


def exact(found: str, expected: str) -> bool:
    """Say whether two texts are equal up to space; case and punctuation count."""
    return found.split() == expected.split()


def word_errors(hypotheses: Sequence[str], references: Sequence[str]) -> list[Pair]:
    """Give (wrong, missing and extra words; words of the reference) of each pair, after normalising; without empty references.

    Source: the usual edit distance, by jiwer.
    """
    import jiwer

    counts = [jiwer.process_words(r, h) for h, r in _normalised_pairs(hypotheses, references)]
    return [(c.substitutions + c.deletions + c.insertions, c.substitutions + c.deletions + c.hits) for c in counts]


def character_errors(hypotheses: Sequence[str], references: Sequence[str]) -> list[Pair]:
    """Give the same for characters, spaces between words included, but none beside Chinese."""
    import jiwer

    counts = [jiwer.process_characters(_BESIDE_HAN.sub("", r), _BESIDE_HAN.sub("", h)) for h,
              r in _normalised_pairs(hypotheses, references)]
    return [(c.substitutions + c.deletions + c.insertions, c.substitutions + c.deletions + c.hits) for c in counts]


def _normalised_pairs(hypotheses: Sequence[str], references: Sequence[str]) -> list[tuple[str, str]]:
    pairs = [(normalise(h), normalise(r)) for h, r in zip(hypotheses, references, strict=True)]
    return [(h, r) for h, r in pairs if r]
