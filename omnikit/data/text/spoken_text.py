"""What spoken answers say, as ids, for heads that read words: each answer, normalised and written anew, with its sound."""

from __future__ import annotations

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.text.templates import said
from omnikit.data.text.tokenizer import Tokenizer
from omnikit.errors import DataError
from omnikit.plan.plan import OutputBranch


class SpokenTextEncoder:
    """Turns text into the ids that a head reads.

    Args:
        outlet: its branch; its normaliser says how text is spoken, else as it is written.
        tokenizer: the backbone's.
    """

    def __init__(self, output: OutputBranch, tokenizer: Tokenizer) -> None:
        self.branch, self._tokenizer, self._alone = output.name, tokenizer, output.needs_hidden
        self._normalise = output.normaliser.build() if output.normaliser else str.strip

    def ids(self, text: str) -> list[int]:
        """Give the ids of a text; none if nothing of it is spoken."""
        aloud = self._normalise(text)
        return self._tokenizer.ids(aloud) if aloud.strip() else []

    def __call__(self, sample: Sample) -> list[list[int]]:
        """Give the ids of each spoken answer.

        Raises:
            DataError: one has sound but no words; or there are several, and the head also takes the states of one.
        """
        if self._alone and len(said(sample.messages)) > 1:
            raise DataError(f"Row {sample.id} has several answers, but branch {self.branch} takes hidden states beside the"
                            " words and learns from conversations with one answer; cut the row into several.",
                            kind="several answers")
        found = [self.ids("".join(part.text or "" for part in message.content if part.type == "text"))
                 for message, _ in spoken_answers(sample)]
        if not all(found):
            raise DataError(f"Row {sample.id} has speech in an answer without words, but branch {self.branch} learns to speak"
                            " words; give it their text, or leave the row out.", kind="no text")
        return found


def spoken_answers(sample: Sample) -> list[tuple[Message, list[ContentPart]]]:
    """Give the answers that have speech, with its parts."""
    answers = [(message, [part for part in message.content if part.type == "audio"])
               for message in sample.messages if message.role == "assistant"]
    return [(message, parts) for message, parts in answers if parts]
