"""What an answer takes its question for, read from the tokens that it begins with. Knows no model and no sound."""

from collections.abc import Mapping, Sequence

from omnikit.contracts.specs import Template
from omnikit.data.text.tokenizer import Tokenizer
from omnikit.inference.detokenizer import INCOMPLETE, IncrementalDetokenizer

NOISE = "noise"


class States:
    """Finds a template's states at the beginning of answers, be they one token or several, special or not.

    Args:
        texts: state → what is written for it.
        bare: the state of an answer that begins with none of them.
    """

    def __init__(self, texts: Mapping[str, str], tokenizer: Tokenizer, bare: str | None = None) -> None:
        self.texts, self.bare = texts, bare
        self._tokenizer = tokenizer

    def begin(self, ids: Sequence[int]) -> tuple[str | None, bool]:
        """Give the state that an answer's first ids say, and whether no further id can change that."""
        text = self._tokenizer.text_with_specials(list(ids)).lstrip().rstrip(INCOMPLETE)
        for state, words in self.texts.items():
            if text.startswith(words):
                return state, True
        return None, not any(words.startswith(text) for words in self.texts.values())

    def stop(self, ids: Sequence[int]) -> int | None:
        """Give after how many ids an answer ends because it is the state of noise; None where it is not."""
        for count in range(1, len(ids) + 1):
            state, certain = self.begin(ids[:count])
            if certain:
                return count if state == NOISE else None
        return None

    def split(self, ids: Sequence[int]) -> tuple[str | None, str]:
        """Give the state and the text of a whole answer; noise has no text."""
        state, text = self.begin(ids)[0], self._tokenizer.text(list(ids))
        if state is None:
            return self.bare, text
        return state, "" if state == NOISE else text.removeprefix(self.texts[state]).strip()


class AnswerDecoder:
    """Writes one answer without its state, which it finds on the way: joined, what it gives is `split`'s text.

    `state` is what was found and `known` whether that is certain; before, no text is given.
    """

    def __init__(self, tokenizer: Tokenizer, states: States) -> None:
        self.states = states
        self.state: str | None = None
        self.known = False
        self._detokenizer = IncrementalDetokenizer(tokenizer)
        self._ids: list[int] = []  # until the state is known
        self._held, self._words, self._begun = "", "", False

    @property
    def noisy(self) -> bool:
        """Whether there is no answer."""
        return self.state == NOISE

    def push(self, token: int) -> str:
        """Give the text that is certain with one more id; "" if there is none."""
        self._held += self._detokenizer.push(token)
        if not self.known:
            self._ids.append(token)
            self.state, self.known = self.states.begin(self._ids)
            self._words = self.states.texts.get(self.state or "", "")
        return self._released() if self.known else ""

    def finish(self) -> str:
        """Give what is left when no id follows."""
        self.known, self._held = True, self._held + self._detokenizer.finish()
        self.state = self.state or self.states.bare
        return self._released(last=True)

    def _released(self, *, last: bool = False) -> str:
        partly = len(self._held) < len(self._words) and self._words.startswith(self._held)
        if self.noisy or (partly and not last):  # a special token is no text, an ordinary one is taken out
            return ""
        text = self._held.removeprefix(self._words)
        self._words, self._held = "", ""
        text = text if self._begun else text.lstrip()
        self._begun = self._begun or bool(text)
        return text


def states_of(template: Template | None, tokenizer: Tokenizer) -> States:
    """Give what finds a template's states."""
    if template is None or not template.states:
        return States({}, tokenizer)
    return States(template.states, tokenizer, "text" if template.bare_text else None)
