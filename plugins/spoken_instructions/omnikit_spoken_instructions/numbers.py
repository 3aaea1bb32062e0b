"""English number words. Uses only text."""

import re
from collections.abc import Callable

SMALL = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
         "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
TENS = ("zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
LARGEST = 15  # digits; longer ones are read digit by digit, as telephone numbers are
ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
            "twelve": "twelfth"}
PARTS = {2: ("half", "halves"), 4: ("quarter", "quarters")}
MONEY = {"$": ("dollar", "cent"), "€": ("euro", "cent"), "£": ("pound", "penny")}
UNITS = {"°c": "degrees celsius", "°f": "degrees fahrenheit", "°": "degrees", "km": "kilometers", "cm": "centimeters",
         "mm": "millimeters", "kg": "kilograms", "mg": "milligrams", "ml": "milliliters", "mph": "miles per hour",
         "%": "percent"}
NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"


def in_words(text: str) -> str:
    """Write every number of a text in words: amounts, percentages, times, years, ordinals, fractions, ranges, the rest."""
    for pattern, spoken in _READINGS:
        text = pattern.sub(spoken, text)
    return text


def cardinal(number: int) -> str:
    """Give 123 as "one hundred twenty three"."""
    if number < 0:
        return f"minus {cardinal(-number)}"
    if number < 20:
        return SMALL[number]
    if number < 100:
        return TENS[number // 10] + (f" {SMALL[number % 10]}" if number % 10 else "")
    size, name = next(scale for scale in SCALES if number >= scale[0])
    rest = f" {cardinal(number % size)}" if number % size else ""
    return f"{cardinal(number // size)} {name}{rest}"


def ordinal(number: int) -> str:
    """Give 21 as "twenty first"."""
    front, _, last = cardinal(number).rpartition(" ")
    last = ORDINALS.get(last) or (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")
    return f"{front} {last}".strip()


def year(number: int) -> str:
    """Give 1995 as "nineteen ninety five", 2005 as "two thousand five"."""
    century, rest = divmod(number, 100)
    if century % 10 == 0 and rest < 10:
        return cardinal(number)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def _digits(digits: str) -> str:
    return " ".join(SMALL[int(digit)] for digit in digits)


def _plain(word: str) -> str:
    """Give a number with or without commas and decimals in words."""
    whole, _, decimals = word.replace(",", "").partition(".")
    long = len(whole) > LARGEST or (whole.startswith("0") and len(whole) > 1)
    return (_digits(whole) if long else cardinal(int(whole))) + (f" point {_digits(decimals)}" if decimals else "")


def _money(match: re.Match[str]) -> str:
    sign, amount, scale = match.group(1), match.group(2), match.group(3)
    unit, part = MONEY[sign]
    whole, _, decimals = amount.partition(".")
    if scale or (decimals and len(decimals) != 2):
        return f"{_plain(amount)}{scale or ''} {unit}s"
    cents = int(decimals or 0)
    parts = f"{cardinal(cents)} {('pence' if part == 'penny' else part + 's') if cents != 1 else part}"
    spelled = f"{_plain(whole)} {unit}{'' if whole == '1' else 's'}"
    return f"{spelled} and {parts}" if cents else spelled


def _time(match: re.Match[str]) -> str:
    minute = int(match.group(2))
    spelled = "" if minute == 0 else (f" oh {cardinal(minute)}" if minute < 10 else f" {cardinal(minute)}")
    half = (match.group(3) or "").lower().replace(".", "")
    exact = " o'clock" if not spelled and not half else ""
    return f"{cardinal(int(match.group(1)))}{spelled}{exact}{f' {half[0]} {half[1]}' if half else ''}"


def _fraction(match: re.Match[str]) -> str:
    above, below = int(match.group(1)), int(match.group(2))
    if not 2 <= below <= 20 or above >= below:
        return f"{cardinal(above)} over {cardinal(below)}"
    one, many = PARTS.get(below, (ordinal(below), f"{ordinal(below)}s"))
    return f"{cardinal(above)} {one if above == 1 else many}"


def _decade(match: re.Match[str]) -> str:
    spelled = year(int(match.group(1)))
    return f"{spelled[:-1]}ies" if spelled.endswith("y") else f"{spelled}s"


def _word(spell: Callable[[re.Match[str]], str]) -> Callable[[re.Match[str]], str]:
    """Separate number words from adjacent letters, as in COVID-19 and 3D."""
    def spaced(match: re.Match[str]) -> str:
        before = match.string[match.start() - 1 : match.start()]
        behind = match.string[match.end() : match.end() + 1]
        return f"{' ' if before.isalnum() else ''}{spell(match)}{' ' if behind.isalnum() else ''}"
    return spaced


_READINGS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(rf"([$€£])\s?({NUMBER})(\s(?:thousand|million|billion|trillion))?"), _money),
    (re.compile(r"\b([01]?\d|2[0-3]):([0-5]\d)(?:\s?([ap]\.?m\b\.?))?", re.IGNORECASE), _time),
    (re.compile(r"\b(1[1-9]\d0|20\d0)s\b"), _decade),
    (re.compile(r"\b(\d+)(?:st|nd|rd|th)\b"), lambda match: ordinal(int(match.group(1)))),
    (re.compile(rf"({NUMBER})\s?(°[CF]?|%|(?:km|cm|mm|kg|mg|ml|mph)\b)", re.IGNORECASE),
     lambda match: f"{_plain(match.group(1))} {UNITS[match.group(2).lower()]}"),
    (re.compile(r"(?<=\d)\s?[-–—]\s?(?=\d)"), lambda match: " to "),
    (re.compile(r"\b(\d+)/(\d+)\b(?!/)"), _fraction),
    (re.compile(r"(?<![\w-])[-−](?=\d)"), lambda match: "minus "),
    (re.compile(r"(?<=[A-Za-z])-(?=\d)|(?<=\d)-(?=[A-Za-z])"), lambda match: " "),
    (re.compile(r"(?<![\d.,])(1[1-9]\d\d|20\d\d)(?![\d%]|[.,]\d)"), _word(lambda match: year(int(match.group(1))))),
    (re.compile(NUMBER), _word(lambda match: _plain(match.group()))),
)
