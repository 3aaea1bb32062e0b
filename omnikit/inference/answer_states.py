"""The state of a question (audio, noise or text), read from the tokens that its answer begins with."""

from collections.abc import Mapping, Sequence

from omnikit.contracts.specs import Template
from omnikit.data.text.tokenizer import Tokenizer
from omnikit.inference.detokenizer import INCOMPLETE, IncrementalDetokenizer

NOISE = "noise"


class AnswerStates:
    """Finds a template's states at the beginning of answers, be they one token or several, special or not.

    Args:
        texts: state → the text that stands for it.
        bare: the state of an answer that begins with none of them.
    """

    def __init__(self, texts: Mapping[str, str], tokenizer: Tokenizer, bare: str | None = None) -> None:
        self.texts, self.bare = texts, bare
        self._tokenizer = tokenizer

    def find(self, ids: Sequence[int]) -> tuple[str | None, bool]:
        """Give the state in an answer's first ids, and whether no further id can change it."""
        text = self._tokenizer.text_with_specials(list(ids)).lstrip().rstrip(INCOMPLETE)
        for state, prefix in self.texts.items():
            if text.startswith(prefix):
                return state, True
        return None, not any(prefix.startswith(text) for prefix in self.texts.values())

    def stop(self, ids: Sequence[int]) -> int | None:
        """Give after how many ids an answer ends because it is the state of noise; None where it is not."""
        for count in range(1, len(ids) + 1):
            state, certain = self.find(ids[:count])
            if certain:
                return count if state == NOISE else None
        return None

    def split(self, ids: Sequence[int]) -> tuple[str | None, str]:
        """Give the state and the text of a whole answer; noise has no text."""
        state, text = self.find(ids)[0], self._tokenizer.text(list(ids))
        if state is None:
            return self.bare, text
        return state, "" if state == NOISE else text.removeprefix(self.texts[state]).strip()


class AnswerDecoder:
    """Gives one answer's text piece by piece without its state, which it finds on the way; joined, it is `split`'s text.

    `state` is what was found, `certain` whether no further id can change it; before, no text is given.
    """

    def __init__(self, tokenizer: Tokenizer, states: AnswerStates) -> None:
        self.states = states
        self.state: str | None = None
        self.certain = False
        self._detokenizer = IncrementalDetokenizer(tokenizer)
        self._ids: list[int] = []  # until the state is certain
        self._held, self._prefix, self._started = "", "", False

    @property
    def noisy(self) -> bool:
        """Whether there is no answer."""
        return self.state == NOISE

    def push(self, token: int) -> str:
        """Give the text that is certain with one more id; "" if there is none."""
        self._held += self._detokenizer.push(token)
        if not self.certain:
            self._ids.append(token)
            self.state, self.certain = self.states.find(self._ids)
            self._prefix = self.states.texts.get(self.state or "", "")
        return self._released() if self.certain else ""

    def finish(self) -> str:
        """Give what is left when no id follows."""
        self.certain, self._held = True, self._held + self._detokenizer.finish()
        self.state = self.state or self.states.bare
        return self._released(last=True)

    def _released(self, *, last: bool = False) -> str:
        partly = len(self._held) < len(self._prefix) and self._prefix.startswith(self._held)
        if self.noisy or (partly and not last):  # a special token has no text, an ordinary one is removed
            return ""
        text = self._held.removeprefix(self._prefix)
        self._prefix, self._held = "", ""
        text = text if self._started else text.lstrip()
        self._started = self._started or bool(text)
        return text


def answer_states(template: Template | None, tokenizer: Tokenizer) -> AnswerStates:
    """Give the states of a template."""
    if template is None or not template.states:
        return AnswerStates({}, tokenizer)
    return AnswerStates(template.states, tokenizer, "text" if template.bare_text else None)
