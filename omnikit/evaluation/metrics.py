"""Numbers about texts: exact match and word error rate. Knows no model."""

import re
from collections.abc import Sequence

NORMALISER = "lower case, punctuation to spaces (apostrophes inside words stay), runs of spaces to one"
_NOT_WORDS = re.compile(r"(?<!\w)'|'(?!\w)|[^\w\s']")


def normalised(text: str) -> str:
    """Give a text's words as they are compared when they were heard; see NORMALISER."""
    return " ".join(_NOT_WORDS.sub(" ", text.lower().replace("’", "'")).split())


def exact(found: str, expected: str) -> bool:
    """Say whether two texts are equal up to space; case and punctuation count."""
    return found.split() == expected.split()


def word_error_rate(heard: Sequence[str], said: Sequence[str]) -> float | None:
    """Give wrong, missing and extra words divided by the words said, after normalising; None if no word was said.

    Source: the usual edit distance, by jiwer. A pair with nothing said is left out.
    """
    import jiwer

    pairs = [(normalised(h), normalised(s)) for h, s in zip(heard, said, strict=True)]
    spoken = [(h, s) for h, s in pairs if s]
    if not spoken:
        return None
    return float(jiwer.wer([s for _, s in spoken], [h for h, _ in spoken]))
