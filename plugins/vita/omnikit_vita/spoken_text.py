"""Text as it is spoken: VITA-1.5's rules before its speech decoder, and plain ones that leave words whole. Needs no torch.

The original replaces plain substrings in a fixed order, also inside words: "using" holds "sin" and becomes "u sine g".
Its table is known from reference texts and from what its documentation names (operators, Greek letters, functions); an entry
that no reference text shows is our reading of that.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

MARKS = ("☞", "☟", "☜", "<unk>", "<|im_end|>")
GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta",
         "θ": "theta", "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "ο": "omicron",
         "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "υ": "upsilon", "φ": "phi", "χ": "chi", "ψ": "psi",
         "ω": "omega"}
FUNCTIONS = {"sin": "sine", "cos": "cosine", "tan": "tangent", "cot": "cotangent", "sec": "secant", "csc": "cosecant",
             "log": "logarithm"}
OPERATORS = {"**": " ", ">=": "大于等于", "<=": "小于等于", "+": "加", "-": "减", "*": "乘", "×": "乘", "/": "除", "÷": "除",
             "=": "等于", "≠": "不等于", "≤": "小于等于", "≥": "大于等于", "<": "小于", ">": "大于", "≈": "约等于",
             "±": "正负", "√": "根号", "∞": "无穷大"}
SPOKEN_WIDTH = "，。？！、；：“”‘’（）《》…—"  # punctuation of Chinese text


@dataclass(frozen=True)
class VitaText:
    """VITA's rules.

    Args:
        pipeline: "server" is the web demo's: marks dropped, formulas spelt in Chinese and English, lower case. "freeze_omni"
            is the other way in its tree, for lists and brackets. "plain" is ours: marks and markdown dropped, the rest as it
            stands, in lower case; it does not touch words.
    """

    pipeline: Literal["server", "freeze_omni", "plain"] = "plain"

    def build(self) -> Callable[[str], str]:
        """Give the function."""
        return {"server": server, "freeze_omni": freeze_omni, "plain": plain}[self.pipeline]


def server(text: str) -> str:
    """Give the web demo's rewriting for the speech decoder."""
    return spell_formulas(drop_marks(text)).lower()


def plain(text: str) -> str:
    """Drop marks and what markdown puts around words, join space, lower the case."""
    text = re.sub(r"(?m)^\s*(?:#+|[*-])\s+|(?<!\w)[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}(?!\w)", "", drop_marks(text))
    return " ".join(text.split()).lower()


def drop_marks(text: str) -> str:
    """Drop what marks states, unknown words and ends."""
    for mark in MARKS:
        text = text.replace(mark, "")
    return text


def spell_formulas(text: str) -> str:
    """Spell formulas: products in brackets, powers, negative numbers, then every operator, letter and function.

    A function stands between spaces, a Greek letter before one.
    """
    text = re.sub(r"\((\d+)\)\((\d+)\)", r"\1乘\2", text)
    text = re.sub(r"([A-Za-z0-9]+)\^([A-Za-z0-9]+)", r"\1的\2次方", text)
    text = re.sub(r"exp\(([^()]*)\)", r"e的\1次方", text)
    text = re.sub(r"(?<![\w)])-(\d)", r"负\1", text)
    letters, functions = ({k: f"{v} " for k, v in GREEK.items()}, {k: f" {v} " for k, v in FUNCTIONS.items()})
    for written, spoken in (OPERATORS | letters | functions).items():
        text = text.replace(written, spoken)
    return text


def drop_uncommon_punctuation(text: str) -> str:
    """Keep letters, digits, space and the punctuation of ordinary sentences."""
    return re.sub(rf"[^\w\s,.?!;:'\"(){SPOKEN_WIDTH}]", "", text)


def freeze_omni(text: str) -> str:
    """Make pauses of brackets and of points behind numbers, drop newlines, tabs and markdown, and end the sentence."""
    colon = "：" if re.search(r"[\u4e00-\u9fff]", text) else ":"
    text = re.sub(r"(\d)\.\s*", rf"\1{colon}", re.sub(r"[\n\t*_`~]", "", text))
    text = re.sub(r"[()]", ",", re.sub(r"([:：])\s+", r"\1", text))
    if not text or re.search(r"[.?!。？！]$", text):
        return text
    return f"{re.sub('[,;:，、；：]$', '', text)}。"
