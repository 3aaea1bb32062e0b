"""Text cut into sentences while it is being generated; the same text gives the same sentences in any pieces."""

from __future__ import annotations

import re

ENDS = ".!?…"  # where a space follows
FULL_WIDTH_ENDS = "。！？；\n"  # at once
PAUSE = re.compile(r"[,;:](?=\s)|[，、：—]")  # where a sentence that is too long is cut; not in 1,000 or 10:30
SHORTEST = 5  # characters of a sentence, but for the last; a shorter one is joined with the next (VITA-1.5's demo has 5, too)
LONGEST = 160  # characters; about ten seconds of speech


class SentenceSplitter:
    """Gives each sentence when its end is certain.

    A point ends one only with a space behind it and something but digits before it: neither 1.5 nor "1. first" is cut. What
    reaches `longest` characters is cut at its last pause, else at its last space, else there; nothing is lost. The first one is
    cut at a pause or space from `first` characters on, if that is given.
    """

    def __init__(self, shortest: int = SHORTEST, longest: int = LONGEST, first: int | None = None) -> None:
        self.shortest, self.longest, self.first = shortest, longest, first
        self._held = ""

    def push(self, text: str) -> list[str]:
        """Give the sentences that are complete with this text; joined, they are the text but for space at their ends."""
        found = []
        for character in text:
            cut = self._cut(character)
            self._held += character
            if cut:
                found.append(self._held[:cut].strip())
                self._held, self.first = self._held[cut:], None
        return [sentence for sentence in found if sentence]

    def finish(self) -> list[str]:
        """Give what is left when no text follows."""
        rest, self._held = self._held.strip(), ""
        return [rest] if rest else []

    def _cut(self, character: str) -> int:
        """Give after how many characters a sentence ends when `character` comes behind those held; 0 if it does not end."""
        held = self._held.rstrip("\"')]»”’")
        long_enough = sum(not one.isspace() for one in self._held) >= self.shortest
        if long_enough and character in FULL_WIDTH_ENDS:
            return len(self._held) + 1
        if long_enough and character.isspace() and held.endswith(tuple(ENDS)) and not held[:-1].strip().isdigit():
            return len(self._held)
        text = self._held + character
        if len(text) < min(self.longest, self.first or self.longest):
            return 0
        cut = max((found.end() for found in PAUSE.finditer(text)), default=0) or text.rstrip().rfind(" ") + 1
        if cut > self.shortest:
            return cut
        return len(text) if len(text) >= self.longest else 0
