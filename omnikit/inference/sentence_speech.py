"""An answer's speech by heads that read words: text in as it is written, codes and segments of sound out, by sentences.

Each sentence is spoken as soon as it is complete, alone, so that streamed and whole answers have the same codes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import torch

from omnikit.contracts.optional import head_options
from omnikit.contracts.streaming import SpeakingHead
from omnikit.contracts.types import Features
from omnikit.data.text.spoken_text import SpokenTextEncoder
from omnikit.data.text.tokenizer import Tokenizer
from omnikit.errors import PlanError
from omnikit.inference.answer_states import AnswerDecoder, AnswerStates
from omnikit.inference.generate import DecodingStep, Generated
from omnikit.inference.sentence_splitter import SentenceSplitter
from omnikit.inference.speech_stream import AudioSegment, CodeBuffer, CodecStream
from omnikit.model import OmniModel
from omnikit.plan.plan import OutputBranch

log = logging.getLogger(__name__)


class SentenceStream:
    """Owns what of one answer's text was not spoken yet.

    Raises:
        PlanError: the head cannot speak sentences.
    """

    def __init__(self, model: OmniModel, output: OutputBranch, tokenizer: Tokenizer) -> None:
        head = model.head(output.name)
        if not isinstance(head, SpeakingHead):
            raise PlanError(f"{output.name}.head reads words, but has no `speak`, which gives the codes of a sentence; pick"
                            f" another one with {output.name}/head=<preset>.")
        self._head, self._model, self._words = head, model, SpokenTextEncoder(output, tokenizer)
        self._branch = output.name
        self._sentences = SentenceSplitter(first=model.plan.recipe.generate.speak_after)
        self._context = head_options(output.head).context is not None
        self._states: list[torch.Tensor] = []  # of the tokens since the last sentence, where the head takes them
        self._device = next(model.parameters()).device

    def write(self, step: DecodingStep, text: str) -> Iterator[int]:
        """Take one step of the answer and the text that is certain with it; gives the codes of completed sentences."""
        if step.tokens is not None:
            self._states.append(step.state)
        yield from self._spoken(self._sentences.push(text))

    def finish(self, text: str = "") -> Iterator[int]:
        """Give the codes of what is left when no step follows; `text` is the end of it."""
        yield from self._spoken([*self._sentences.push(text), *self._sentences.finish()])

    def _spoken(self, sentences: Iterable[str]) -> Iterator[int]:
        for sentence in sentences:
            ids = self._words.ids(sentence)
            if not ids:
                continue
            with torch.no_grad():
                tokens = torch.tensor([ids], device=self._device)
                features = self._model.for_head(self._branch, Features(
                    self._model.language_model().embed(tokens), torch.tensor([len(ids)], device=self._device)))
                utterance = self._head.speak(features, *([self._seen()] if self._context else []))
            yield from utterance
            if utterance.cut:
                log.warning("The speech of %r reached the head's limit and was cut; raise the head's limit.", sentence)

    def _seen(self) -> Features:
        """Give the states since the last sentence; of two sentences in one step the second has the last state again."""
        data = torch.stack(self._states, 1)  # [1, N, D]
        self._states = self._states[-1:]
        return self._model.for_head(self._branch, Features(data, torch.tensor([data.shape[1]], device=self._device)))


class SentenceSpeech:
    """Owns one answer's reading and the state of its codec; see omnikit.inference.speech_stream.SpeechStream for the
    arguments."""

    def __init__(self, model: OmniModel, output: OutputBranch, tokenizer: Tokenizer, omega: int, *,
                 independent: bool = False) -> None:
        self.pending, self.reading = CodeBuffer(omega), SentenceStream(model, output, tokenizer)
        self._sounding = CodecStream(model, output, independent=independent)

    def write(self, step: DecodingStep, text: str) -> Iterator[AudioSegment]:
        """Take one step of the answer and its text; gives a segment whenever enough codes are pending."""
        yield from self._segments(self.reading.write(step, text))

    def finish(self, text: str = "") -> Iterator[AudioSegment]:
        """Give what is left when no step follows."""
        yield from self._segments(self.reading.finish(text))
        segment = self._sounding(self.pending.flush(), last=True)
        if segment.codes or segment.waveform is not None:
            yield segment

    def _segments(self, codes: Iterator[int]) -> Iterator[AudioSegment]:
        for code in codes:
            if ready := self.pending.push([code]):
                yield self._sounding(ready)


def sentence_codes(model: OmniModel, output: OutputBranch, generated: Generated, tokenizer: Tokenizer,
                   states: AnswerStates) -> list[list[int]]:
    """Give the codes of each row's answer; none for noise."""
    found = []
    for row, tokens in enumerate(generated.tokens):
        reading, decoder = SentenceStream(model, output, tokenizer), AnswerDecoder(tokenizer, states)
        codes: list[int] = []
        for place, token in enumerate(tokens):
            text = decoder.push(token)
            step = DecodingStep(generated.predicted[row:row + 1, place], torch.tensor([token]))
            codes += reading.write(step, text)
        rest = decoder.finish()
        found.append([] if decoder.noisy else [*codes, *reading.finish(rest)])
    return found
