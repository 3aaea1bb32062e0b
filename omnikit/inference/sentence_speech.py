"""An answer's speech by heads that read text: text in as it is generated, codes and segments of audio out, by sentences.

Each sentence is spoken as soon as it is complete, alone, so that streamed and whole answers have the same codes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch

from omnikit.contracts.codes import Code
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
from omnikit.inference.text_alignment import TextMarks
from omnikit.model import OmniModel
from omnikit.plan.plan import OutputBranch

log = logging.getLogger(__name__)


class SentenceStream:
    """Owns the part of one answer's text that has no codes yet.

    Raises:
        PlanError: the head cannot speak sentences.
    """

    def __init__(self, model: OmniModel, output: OutputBranch, tokenizer: Tokenizer) -> None:
        head = model.code_head(output.name)
        if not isinstance(head, SpeakingHead):
            raise PlanError(f"{output.name}.head reads text, but has no `speak`, which gives the codes of a sentence; pick"
                            f" another one with {output.name}/head=<preset>.")
        self._head, self._model, self._encoder = head, model, SpokenTextEncoder(output, tokenizer)
        self._branch = output.name
        self._splitter = SentenceSplitter(first=model.plan.recipe.generate.speak_after)
        self._context = head_options(output.head).context is not None
        self._hidden: list[torch.Tensor] = []  # of the tokens since the last sentence, where the head takes them
        self.marks, self._text, self._spoken, self._count = TextMarks(), "", 0, 0  # text, characters and codes of sentences
        self._device = next(model.parameters()).device

    def write(self, step: DecodingStep, text: str) -> Iterator[Code]:
        """Take one step of the answer and the text that is certain with it; gives the codes of completed sentences."""
        if step.tokens is not None:
            self._hidden.append(step.hidden)
        self._text += text
        yield from self._codes(self._splitter.push(text))

    def finish(self, text: str = "") -> Iterator[Code]:
        """Give the codes of what is left when no step follows; `text` is the end of it."""
        self._text += text
        yield from self._codes([*self._splitter.push(text), *self._splitter.finish()])

    def _codes(self, sentences: Iterable[str]) -> Iterator[Code]:
        for sentence in sentences:
            start = self._text.index(sentence, self._spoken)
            self.marks.note(self._count, start)
            self._spoken = start + len(sentence)
            ids = self._encoder.ids(sentence)
            if not ids:
                continue
            with torch.no_grad():
                tokens = torch.tensor([ids], device=self._device)
                features = self._model.for_head(self._branch, Features(
                    self._model.language_model().embed(tokens), torch.tensor([len(ids)], device=self._device)))
                utterance = self._head.speak(features, *([self._hidden_context()] if self._context else []))
            for code in utterance:
                self._count += 1
                yield code
            self.marks.note(self._count, self._spoken)
            if utterance.cut:
                log.warning("The speech of %r reached the head's limit and was cut; raise the head's limit.", sentence)

    def _hidden_context(self) -> Features:
        """Give the hidden states since the last sentence; of two sentences in one step the second has the last one again."""
        data = torch.stack(self._hidden, 1)  # [1, N, D]
        self._hidden = self._hidden[-1:]
        return self._model.for_head(self._branch, Features(data, torch.tensor([data.shape[1]], device=self._device)))


class SentenceSpeech:
    """Owns one answer's sentences and the state of its codec; see omnikit.inference.speech_stream.SpeechStream for the
    arguments."""

    def __init__(self, model: OmniModel, output: OutputBranch, tokenizer: Tokenizer, omega: int, *,
                 independent: bool = False) -> None:
        self.pending, self.sentence_stream = CodeBuffer(omega), SentenceStream(model, output, tokenizer)
        self._codec_stream = CodecStream(model, output, independent=independent)

    def write(self, step: DecodingStep, text: str) -> Iterator[AudioSegment]:
        """Take one step of the answer and its text; gives a segment whenever enough codes are pending."""
        yield from self._segments(self.sentence_stream.write(step, text))

    def finish(self, text: str = "") -> Iterator[AudioSegment]:
        """Give what is left when no step follows."""
        yield from self._segments(self.sentence_stream.finish(text))
        segment = self._segment(self.pending.flush(), last=True)
        if segment.codes or segment.waveform is not None or segment.marks:
            yield segment

    def _segments(self, codes: Iterator[Code]) -> Iterator[AudioSegment]:
        for code in codes:
            if ready := self.pending.push([code]):
                yield self._segment(ready)

    def _segment(self, codes: tuple[Code, ...], *, last: bool = False) -> AudioSegment:
        segment = self._codec_stream(codes, last=last)
        return replace(segment, marks=self.sentence_stream.marks.take(self._codec_stream.timing.ends))


def sentence_codes(model: OmniModel, output: OutputBranch, generated: Generated, tokenizer: Tokenizer,
                   states: AnswerStates) -> list[list[Code]]:
    """Give the codes of each answer; none for noise."""
    found = []
    for row, tokens in enumerate(generated.tokens):
        stream, decoder = SentenceStream(model, output, tokenizer), AnswerDecoder(tokenizer, states)
        codes: list[Code] = []
        for position, token in enumerate(tokens):
            text = decoder.push(token)
            step = DecodingStep(generated.hidden_before[row:row + 1, position], torch.tensor([token]))
            codes += stream.write(step, text)
        rest = decoder.finish()
        found.append([] if decoder.noisy else [*codes, *stream.finish(rest)])
    return found
