"""Statements that ask nothing and command nothing, and a short reply to each. Pure text.

A combination, who and what, is held out as a whole in both languages; the reply follows from the predicate.
"""

from dataclasses import dataclass
from functools import cache

from omnikit_tiny_world.words import LANGUAGES, hold_out

WHO = (
    ("my mother", "我妈妈"), ("my father", "我爸爸"), ("the teacher", "老师"), ("our neighbor", "邻居"),
    ("the doctor", "医生"), ("my friend", "我朋友"), ("the driver", "司机"), ("her brother", "她哥哥"),
)  # fmt: skip
WHAT = (
    ("is going home now", "现在回家", "have a safe trip", "一路平安"),
    ("is cooking dinner", "正在做晚饭", "enjoy your meal", "请慢用"),
    ("is sleeping upstairs", "在楼上睡觉", "sleep well", "晚安"),
    ("likes hot tea", "喜欢喝热茶", "tea is nice", "茶很好喝"),
    ("bought a red car", "买了红色的车", "a nice car", "车很漂亮"),
    ("lost two keys", "丢了两把钥匙", "that is a pity", "真可惜"),
    ("has four dogs", "有四只狗", "dogs are fun", "狗很可爱"),
    ("works every day", "每天上班", "work is hard", "工作辛苦"),
    ("reads an old book", "在看旧书", "books are good", "书很好看"),
    ("is playing outside", "在外面玩", "have fun", "玩得开心"),
    ("will come early", "会早点来", "see you soon", "一会儿见"),
    ("feels cold today", "今天觉得冷", "stay warm", "多穿衣服"),
)
NOISE_REPLY = ("i hear a noise", "我听到声音")  # to a sound that is not meant for the model
HELD = 16  # combinations


@dataclass(frozen=True)
class Statement:
    """A statement and a reply."""

    text: str
    reply: str


@cache
def divide(language: str, seed: int) -> tuple[tuple[Statement, ...], tuple[Statement, ...]]:
    """Give the statements that are trained on and the held-out ones in one language."""
    held = hold_out([(f"{who} {what}", "") for who in range(len(WHO)) for what in range(len(WHAT))], HELD, f"statements {seed}")
    place, space = LANGUAGES.index(language), " " if language == "en" else ""
    parts: tuple[list[Statement], list[Statement]] = ([], [])
    for who, someone in enumerate(WHO):
        for what, facts in enumerate(WHAT):
            text = f"{someone[place]}{space}{facts[place]}"
            parts[f"{who} {what}" in held].append(Statement(text, facts[2 + place]))
    return tuple(parts[0]), tuple(parts[1])
