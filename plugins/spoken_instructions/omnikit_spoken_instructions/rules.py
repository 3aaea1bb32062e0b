"""Text that a voice can speak: written text becomes plain sentences, or is refused with a reason. Uses no file and no model.

The paper's rules for questions and answers: nothing that a text-to-speech cannot read, numbers as words, no parentheses,
no lists, brief; questions with a few words such as "so" or "um".
"""

import random
import re

from omnikit.data.text.spoken_language import spoken_language
from omnikit_spoken_instructions import mandarin
from omnikit_spoken_instructions.numbers import in_words

REFUSED = (
    ("code", re.compile(r"```|</?[a-z]+[^>]*>|\b(?:def|class|function|import|return|printf|println|SELECT)\b[^.\n]*[({;*]|"
                        r"[;{}]\s*$|\w+\(\w*\)\s*[{;]|=>|&&|\|\||\w_\w+\(", re.MULTILINE)),
    ("link", re.compile(r"https?://|www\.|\b[\w-]+\.(?:com|org|net|io|edu|gov)\b|\S+@\S+\.\w+", re.IGNORECASE)),
    ("formula", re.compile(r"\\[a-zA-Z(\[]|\$\$|\$[^$\d][^$]*\$|[∑∫√≤≥≠π∞^]|[A-Za-z]\s?=\s?\w|[A-Za-z] ?[×÷] ?\w")),
    ("table", re.compile(r"^\s*\|.*\|\s*$", re.MULTILINE)),
    ("blank to fill in", re.compile(r"_{2,}|\.{4,}|\[[^\]]*\]")),
)
MARKS = ((re.compile(r"[“”„«»\"]"), ""), (re.compile(r"[‘’`´]"), "'"), (re.compile(r"[–—]|\s-\s|--+"), ", "),
         (re.compile(r"…|\.\.\."), "."))
ITEM = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)]|[a-zA-Z]\))\s+(.*)$")
SUMS = ((re.compile(r"(?<=\d)\s*[*×]\s*(?=\d)"), " times "), (re.compile(r"(?<=\d)\s*÷\s*(?=\d)"), " divided by "),
        (re.compile(r"(?<=\d)\s*=\s*(?=\d)"), " equals "))
MARKDOWN = ((re.compile(r"^\s{0,3}#{1,6}\s*", re.MULTILINE), ""), (re.compile(r"^\s*>\s?", re.MULTILINE), ""),
            (re.compile(r"(\*\*|__|\*|(?<!\w)_|_(?!\w))"), ""))
SHORT = ((r"\be\.?g\.", "for example"), (r"\bi\.e\.", "that is"), (r"\betc\.?", "and so on"), (r"\bvs\.?", "versus"),
         (r"\bapprox\.", "about"), (r"\bDr\.", "Doctor"), (r"\bMr\.", "Mister"), (r"\bMrs\.", "Missis"), (r"\bSt\.", "Saint"),
         (r"&", " and "), (r"\+", " plus "), (r"#\s?(?=\d)", "number "), (r"(?<=[A-Za-z])/(?=[A-Za-z])", " or "))
UNREADABLE = re.compile(r"[^A-Za-zÀ-ÖØ-öø-ſ ,.?!']")
SENTENCE = re.compile(r"[^.?!]+[.?!]*")
STARTS = ("Hey", "So", "Um", "Uh", "Well", "Okay", "Hey there", "So, um")
INSIDE = ("um", "uh", "you know")


def question(text: str, words: int) -> str:
    """Give an instruction as speakable text.

    Raises:
        ValueError: it cannot be spoken; the message is the reason, in a few words.
    """
    spoken = plain(text)
    if _length(spoken) > words:
        raise ValueError("question too long")
    return spoken


def answer(text: str, words: int) -> str:
    """Give as many complete sentences of an answer, as speakable text, as fit into so many words; see question."""
    fitting, count, spoken = [], 0, plain(text)
    is_mandarin = spoken_language(spoken) == "mandarin"
    for sentence in (mandarin.SENTENCE if is_mandarin else SENTENCE).findall(spoken):
        count += _length(sentence)
        if count > words:
            break
        fitting.append(sentence.strip())
    if not fitting:
        raise ValueError("answer too long")
    return ("" if is_mandarin else " ").join(fitting)


def plain(text: str) -> str:
    """Give plain sentences of words; raises ValueError with a reason for what no voice can read."""
    for reason, pattern in REFUSED:
        if pattern.search(text):
            raise ValueError(reason)
    return mandarin.plain(text) if spoken_language(text) == "mandarin" else _english(text)


def _length(text: str) -> int:
    return mandarin.words(text) if spoken_language(text) == "mandarin" else len(text.split())


def _english(text: str) -> str:
    for pattern, other in SUMS:
        text = pattern.sub(other, text)
    for pattern, other in MARKDOWN:
        text = pattern.sub(other, text) if pattern is not MARKDOWN[-1][0] else _emphasis(text, pattern)
    text = in_words(re.sub(r"\s*\([^()]*\)", "", _sentences(text)))
    for short, long in SHORT:
        text = re.sub(short, long, text)
    for pattern, other in MARKS:
        text = pattern.sub(other, text)
    text = re.sub(r"[:;]+(?=\s|$)", ",", text).replace("-", " ")
    text = re.sub(r"\s+", " ", text).strip(" ,")
    text = re.sub(r"\s+([,.?!])", r"\1", re.sub(r",(?:\s*,)+", ",", text))
    text = re.sub(r"([.?!])[.,]+", r"\1", text)
    if unreadable := UNREADABLE.search(text):
        raise ValueError(f"unreadable character {unreadable.group()!r}")
    if not re.search(r"[A-Za-zÀ-ſ]", text):
        raise ValueError("nothing to say")
    text = re.sub(r"(^|[.?!] )([a-zà-ÿ])", lambda match: match.group(1) + match.group(2).upper(), text)
    return text if text[-1] in ".?!" else f"{text}."


def with_filler(text: str, fraction: float, rng: random.Random) -> str:
    """Begin a fraction of the English questions with a filler; one in four of these gets another inside, behind a comma."""
    if rng.random() >= fraction or spoken_language(text) == "mandarin":
        return text
    start, inside = rng.choice(STARTS), rng.random() < 0.25
    word = text.split(maxsplit=1)[0]
    keeps = word in ("I", "I'm", "I've", "I'd") or any(letter.isupper() for letter in word[1:])
    spoken = f"{start}, {text if keeps else text[0].lower() + text[1:]}"
    comma = spoken.find(", ", len(start) + 2)
    if inside and comma > 0:
        spoken = f"{spoken[:comma]}, {rng.choice(INSIDE)}{spoken[comma:]}"
    return spoken


def _sentences(text: str) -> str:
    """Make one text of lines: the items of a list follow each other with commas, any other line ends as a sentence."""
    found: list[str] = []
    items: list[str] = []
    for line in [*text.splitlines(), ""]:
        item = ITEM.match(line)
        if item:
            items.append(item.group(1).strip().rstrip(".,;"))
            continue
        if items and line.strip():
            found.append(_listed(items))
            items = []
        if line.strip():
            found.append(_ended(line.strip()))
    return " ".join([*found, *([_listed(items)] if items else [])])


def _listed(items: list[str]) -> str:
    if any(len(item.split()) > 8 or re.search(r"[.?!]\s", item) for item in items):
        return " ".join(f"{item.rstrip('?!')}." for item in items)  # complete sentences stay sentences
    items = [items[0], *(item[0].lower() + item[1:] if _begins(item) else item for item in items[1:])]
    return f"{', '.join(items[:-1])}{' and ' if items[1:] else ''}{items[-1]}."


def _begins(item: str) -> bool:
    """Whether an item's capital is that of a sentence, not of a name."""
    return " " in item and item.split()[0] != "I" and item[1:] == item[1:].lower()


def _ended(line: str) -> str:
    return line if line[-1] in ".?!:,;" else f"{line}."


def _emphasis(text: str, marks: re.Pattern[str]) -> str:
    """Drop the marks of bold and italic text, but not the star that begins an item of a list."""
    return "\n".join(line[: len(line) - len(line.lstrip(" *"))].replace("**", "") + marks.sub("", line.lstrip(" *"))
                     if line.lstrip().startswith("* ") else marks.sub("", line) for line in text.splitlines())
