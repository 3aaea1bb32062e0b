"""Texts that end an answer, found in text that comes piece by piece."""

from collections.abc import Sequence


class StopTexts:
    """Releases one answer's text up to the first stop text; what may be the beginning of one waits.

    `found` is whether the answer has ended, `waiting` the text that is not released yet.
    """

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self.texts = tuple(texts)
        self.found, self.waiting = False, ""

    def push(self, piece: str) -> str:
        """Take the next text; gives what no stop text can begin in."""
        self.waiting += piece
        starts = [start for start in (self.waiting.find(text) for text in self.texts) if start >= 0]
        if starts:
            self.found = True
            released, self.waiting = self.waiting[:min(starts)], ""
            return released
        held = max((_overlap(self.waiting, text) for text in self.texts), default=0)
        released = self.waiting[:len(self.waiting) - held]
        self.waiting = self.waiting[len(released):]
        return released

    def finish(self) -> str:
        """Give what waits, when no text follows."""
        released, self.waiting = self.waiting, ""
        return released


def _overlap(text: str, stop: str) -> int:
    """Give how many characters at the end of a text are the beginning of a stop text."""
    return next(count for count in range(min(len(text), len(stop)), -1, -1) if text.endswith(stop[:count]))
