"""Chinese text that a Mandarin voice can speak, by the rules that the English one follows. Numbers stay digits, which such
voices read."""

import re
from collections.abc import Mapping

COUNTED = re.compile(r"[\u3400-\u9fff]|[A-Za-z0-9.]+")  # what counts as a word
SENTENCE = re.compile(r"[^。？！?!]+[。？！?!]*")
UNREADABLE = re.compile(r"[^\u3400-\u9fffA-Za-z0-9 ，。？！、.%]")
MARKS: Mapping[str, str] = {"：": "，", "；": "，", ",": "，", ":": "，", ";": "，", "?": "？", "!": "！", "—": "，", "…": "。"}
DROPPED = re.compile(r"[“”„«»\"'‘’`´《》「」『』*_#>]|（[^（）]*）|\([^()]*\)")
ITEM = re.compile(r"^\s*(?:[-•]|\d{1,2}[.)、]|[（(]\d{1,2}[)）])\s*")


def plain(text: str) -> str:
    """Give plain sentences; raises ValueError with a reason for what no voice can read."""
    lines = [ITEM.sub("", DROPPED.sub("", line)).strip() for line in text.splitlines()]
    joined = "。".join(line.rstrip("。") for line in lines if line)
    joined = "".join(MARKS.get(letter, letter) for letter in joined)
    joined = re.sub(r"([。？！])[，。]+", r"\1", re.sub(r"，(?:\s*，)+", "，", re.sub(r"\s+", " ", joined))).strip(" ，、")
    joined = re.sub(r"(?<=[\u3400-\u9fff])\.(?=\s|$)", "。", joined)
    if unreadable := UNREADABLE.search(joined):
        raise ValueError(f"unreadable character {unreadable.group()!r}")
    return joined if joined.endswith(("。", "？", "！")) else f"{joined}。"


def words(text: str) -> int:
    """Give the length of a text: its characters, and words and numbers in Latin letters."""
    return len(COUNTED.findall(text))
