"""The words of the tiny world in both languages, and what is held out of lists of combinations. Uses no questions."""

import random
from collections.abc import Sequence

LANGUAGES = ("en", "zh")
Words = dict[str, tuple[str, str]]  # key → English, Mandarin

COLORS: Words = {
    "red": ("red", "红色"), "orange": ("orange", "橙色"), "yellow": ("yellow", "黄色"),
    "green": ("green", "绿色"), "blue": ("blue", "蓝色"), "purple": ("purple", "紫色"),
}  # fmt: skip
SHAPES: Words = {
    "circle": ("circle", "圆形"), "square": ("square", "方形"), "triangle": ("triangle", "三角形"),
    "star": ("star", "星形"), "cross": ("cross", "十字形"), "ring": ("ring", "环形"),
}  # fmt: skip
POSITIONS: Words = {
    "left": ("left", "左边"), "right": ("right", "右边"), "top": ("top", "上面"), "bottom": ("bottom", "下面"),
    "middle": ("middle", "中间"),
}  # fmt: skip
POSITION_PHRASES = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom",
                    "middle": "in the middle"}  # fmt: skip
DIRECTIONS: Words = {"left": ("left", "往左"), "right": ("right", "往右"), "up": ("up", "往上"), "down": ("down", "往下")}
COUNTS: Words = {"1": ("one", "一个"), "2": ("two", "两个"), "3": ("three", "三个"), "4": ("four", "四个")}
PRINTED = ("sun", "cat", "dog", "cup", "hat", "bus", "key", "pen", "bed", "box", "egg", "map")  # three letters fill 64 pixels
ENGLISH_NUMBERS = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
MANDARIN_NUMBERS = (
    "一", "二", "三", "四", "五", "六", "七", "八", "九", "十",
    "十一", "十二", "十三", "十四", "十五", "十六", "十七", "十八", "十九", "二十",
)  # fmt: skip
OPPOSITES: Words = {
    "hot": ("hot", "热"), "cold": ("cold", "冷"), "big": ("big", "大"), "small": ("small", "小"),
    "fast": ("fast", "快"), "slow": ("slow", "慢"), "long": ("long", "长"), "short": ("short", "短"),
    "high": ("high", "高"), "low": ("low", "低"), "new": ("new", "新"), "old": ("old", "旧"),
    "good": ("good", "好"), "bad": ("bad", "坏"), "open": ("open", "开"), "closed": ("closed", "关"),
    "early": ("early", "早"), "late": ("late", "晚"), "bright": ("bright", "亮"), "dark": ("dark", "暗"),
}  # each even entry with the odd one after it  # fmt: skip


def number(value: int, language: str) -> str:
    """Give 1 to 20 in words."""
    return (ENGLISH_NUMBERS if language == "en" else MANDARIN_NUMBERS)[value - 1]


def translated(words: Words, key: str, language: str) -> str:
    """Give the word of a key in a language."""
    return words[key][LANGUAGES.index(language)]


def plural(noun: str) -> str:
    """Give the English plural of a shape."""
    return noun + ("es" if noun.endswith("s") else "s")


def hold_out(groups: Sequence[tuple[str, str]], count: int, name: str) -> frozenset[str]:
    """Choose `count` combinations to hold out.

    Args:
        groups: (combination, group) pairs; at most one combination of a group goes, and only if another one stays. An empty
            group holds nothing back.
        count: how many go.
        name: seeds the choice.
    """
    pairs = list(dict.fromkeys(groups))
    sizes: dict[str, int] = {}
    for _, group in pairs:
        sizes[group] = sizes.get(group, 0) + 1
    random.Random(name).shuffle(pairs)
    held: set[str] = set()
    used: set[str] = set()
    for combination, group in pairs:
        if len(held) == count:
            break
        if group and (group in used or sizes[group] == 1):
            continue
        held.add(combination)
        used.add(group)
    return frozenset(held)
