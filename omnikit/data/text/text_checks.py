"""What a tokenizer makes of a row's text: answers that it cannot write, and control tokens that somebody typed."""

from omnikit.contracts.types import Sample
from omnikit.data.text.templates import answer_texts
from omnikit.data.text.tokenizer import Tokenizer
from omnikit.errors import DataError


def check_text(tokenizer: Tokenizer, sample: Sample) -> None:
    """Refuse a row whose answer the tokenizer's ids do not hold; raises DataError."""
    for answer in answer_texts(sample.messages):
        if loss := tokenizer.loss(answer):
            raise DataError(f"Row {sample.id} has an answer that the tokenizer {loss}, so that this would be learned; write it"
                            " otherwise, or choose a tokenizer that has these characters.", kind="lossy text")


def check_typed(tokenizer: Tokenizer, sample: Sample) -> None:
    """Name a row whose text holds the name of a control token; raises DataError."""
    for text in (part.text for message in sample.messages for part in message.content if part.type == "text" and part.text):
        for start, stop in tokenizer.control_tokens(text, 0, len(text)):
            raise DataError(f"Row {sample.id} has {text[start:stop]!r} in a text, which is tokenised as letters and not as the"
                            " control token; leave it as it is if it is meant so.", kind="control token")
