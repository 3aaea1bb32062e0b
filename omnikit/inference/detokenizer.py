"""Text from ids that come one by one."""

from omnikit.data.text.tokenizer import Tokenizer

INCOMPLETE = "\N{REPLACEMENT CHARACTER}"  # stands for bytes that are not a complete character


class IncrementalDetokenizer:
    """Gives the text of one answer piece by piece; the pieces, joined, are what the tokenizer gives of all ids at once.

    A character whose bytes are spread over several ids comes with the last of them, space between words with the word after it.
    An id is decoded behind those that came with the last piece, so that what a token means beside another is preserved, at a
    cost that does not grow with the answer.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []  # of the last piece, then those not given yet
        self._given = 0  # ids of the last piece
        self._space = ""
        self._started = False

    def push(self, token: int) -> str:
        """Give the text that is certain with one more id; "" if there is none."""
        self._ids.append(token)
        text = self._new()
        if not text or text.endswith(INCOMPLETE):
            return ""
        self._ids, self._given = self._ids[self._given:], len(self._ids) - self._given
        return self._trimmed(text)

    def finish(self) -> str:
        """Give what is left when no id follows."""
        return self._trimmed(self._new())

    def _new(self) -> str:
        before = self._tokenizer.raw(self._ids[:self._given])
        return self._tokenizer.raw(self._ids)[len(before):]

    def _trimmed(self, text: str) -> str:
        """Hold space back until something follows, and drop it before anything was given."""
        text = self._space + text
        body = text.rstrip()
        self._space = text[len(body):]
        body = body if self._started else body.lstrip()
        self._started = self._started or bool(body)
        return body
