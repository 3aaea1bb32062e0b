"""The language in which a text is spoken, by its script, and voices held against it. Uses no text-to-speech."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

from omnikit.errors import ConfigError

SpokenLanguage = Literal["english", "mandarin"]
HAN = re.compile("[\u3400-\u9fff]")
WORD = re.compile(r"[A-Za-z\u00c0-\u024f]+")
CHINESE = ("cmn", "zh", "yue", "hak", "nan")  # how voices of Chinese languages begin
SCRIPTS = ("LATIN", "GREEK", "CJK", "FULLWIDTH", "MODIFIER", "FEMININE", "MASCULINE", "MICRO", "DOUBLE-STRUCK", "SCRIPT",
           "BLACK-LETTER")  # of letters that an English or a Mandarin text may hold, as Unicode's names begin


def spoken_language(text: str) -> SpokenLanguage | None:
    """Give the language of a text; None for one in another script, and for an English one with Chinese characters.

    A text with more Chinese characters than words in Latin letters is mandarin: such names and words are part of it.
    """
    if any(letter.isalpha() and not letter.isascii() and not unicodedata.name(letter, "").startswith(SCRIPTS)
           for letter in text):
        return None
    characters = len(HAN.findall(text))
    if not characters:
        return "english"
    return "mandarin" if characters > len(WORD.findall(text)) else None


def check_voices(voices: Sequence[str], where: str, language: SpokenLanguage) -> None:
    """Refuse voices that would speak one language in the other's sounds.

    Raises:
        ConfigError: one sentence for each voice.
    """
    other, beginnings = ("mandarin", CHINESE) if language == "english" else ("english", ("en",))
    wrong = [voice for voice in voices if re.split("[-+]", voice)[0] in beginnings]
    if wrong:
        raise ConfigError(*(f"{where} holds {voice!r}, a voice of {other.title()}, which would speak {language.title()} texts;"
                            f" name it among those of {other.title()}." for voice in wrong))
