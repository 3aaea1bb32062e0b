"""The text of spoken answers as ids, for heads that read text: each answer, normalised and tokenised by itself."""

from __future__ import annotations

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.text.templates import answer_texts
from omnikit.data.text.tokenizer import Tokenizer
from omnikit.errors import DataError
from omnikit.plan.plan import OutputBranch


class SpokenTextEncoder:
    """Turns text into the ids that a head reads.

    Args:
        output: its branch; its normaliser gives the spoken form of a text, which is the text itself where there is none.
        tokenizer: the backbone's.
    """

    def __init__(self, output: OutputBranch, tokenizer: Tokenizer) -> None:
        self.branch, self._tokenizer, self._single_answer = output.name, tokenizer, output.needs_hidden
        self._normalise = output.normaliser.build() if output.normaliser else str.strip

    def ids(self, text: str) -> list[int]:
        """Give the ids of a text; none if nothing of it is spoken."""
        spoken = self._normalise(text)
        return self._tokenizer.ids(spoken) if spoken.strip() else []

    def __call__(self, sample: Sample) -> list[list[int]]:
        """Give the ids of each spoken answer.

        Raises:
            DataError: one has audio but no text; or there are several, and the head also takes hidden states, of one answer.
        """
        if self._single_answer and len(answer_texts(sample.messages)) > 1:
            raise DataError(f"Row {sample.id} has several answers, but branch {self.branch} takes hidden states beside the"
                            " text and is trained on conversations with one answer; split the row.",
                            kind="several answers")
        ids = [self.ids("".join(part.text or "" for part in message.content if part.type == "text"))
                 for message, _ in spoken_answers(sample)]
        if not all(ids):
            raise DataError(f"Row {sample.id} has speech in an answer without text, but branch {self.branch} is trained to"
                            " speak text; give the answer its text, or leave the row out.", kind="no text")
        return ids

def spoken_answers(sample: Sample) -> list[tuple[Message, list[ContentPart]]]:
    """Give the answers that have speech, with their audio parts."""
    answers = [(message, [part for part in message.content if part.type == "audio"])
               for message in sample.messages if message.role == "assistant"]
    return [(message, parts) for message, parts in answers if parts]
