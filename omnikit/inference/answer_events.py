"""The events of one answer: its decoding steps in, pieces of text and segments of audio out.

Holds the state of one answer only, so that any number of them stand beside one another.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from omnikit.contracts.types import Features
from omnikit.inference.answer import Event, TokenLogprob
from omnikit.inference.answer_states import AnswerDecoder
from omnikit.inference.generate import DecodingStep
from omnikit.inference.sentence_speech import SentenceSpeech
from omnikit.inference.shared_head import HeadCodes
from omnikit.inference.speech_stream import AudioSegment, SpeechStream
from omnikit.inference.stop_texts import StopTexts


@dataclass
class AnswerEvents:
    """Owns what one answer's text and speech have come to.

    Args:
        decoder: makes text of its tokens.
        speech: makes audio of its steps; None for text only.
        start: when the question was given, by time.perf_counter.
        sample_rate: of its audio.
        stop: texts that end it.
    """

    decoder: AnswerDecoder
    speech: SpeechStream | SentenceSpeech | None
    start: float
    sample_rate: int = 16000
    stop: StopTexts = field(default_factory=StopTexts)
    text: str = ""
    _waiting: list[tuple[DecodingStep, str]] = field(default_factory=list)  # steps that are not spoken yet
    _logprobs: list[TokenLogprob] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Whether no step may follow, because the question is noise or a stop text was found."""
        return self.decoder.noisy or self.stop.found

    def elapsed(self) -> float:
        """Give the seconds since the question."""
        return time.perf_counter() - self.start

    def push(self, step: DecodingStep, logprobs: Sequence[TokenLogprob] = ()) -> Iterator[Event]:
        """Take one step; gives the text that is certain with it, then the audio.

        Speech waits while the question may still be noise, and while a stop text may have begun.
        """
        yield from self.push_text(step, logprobs)
        yield from self.speak()

    def push_text(self, step: DecodingStep, logprobs: Sequence[TokenLogprob] = ()) -> Iterator[Event]:
        """Take one step; gives the text alone. `speak` or `head_features` follows."""
        certain = self.decoder.certain
        piece = self.decoder.push(int(step.tokens)) if step.tokens is not None else ""
        found = self.decoder.state if self.decoder.certain and not certain else None
        released = self.stop.push(piece)
        self._logprobs += logprobs
        if released or found:
            yield self._text_event(released, found)
        self._waiting.append((step, piece))
        if self.stop.found:
            self._stop_speech(released)

    def speak(self) -> Iterator[Event]:
        """Give the audio of the steps that may be spoken."""
        if self._may_speak:
            yield from self._audio(self._released_steps())

    def head_features(self) -> Features | None:
        """Give what a shared head takes of this answer now, for whose codes `speak_codes` is called; None: call `speak`.

        Raises:
            PlanError: as `speak`.
        """
        speech = self.speech
        if not isinstance(speech, SpeechStream) or speech.head_stream.shared is None or len(self._waiting) != 1 or (
                not self._may_speak or self.decoder.noisy):
            return None
        (step, text), = self._released_steps()
        return speech.add(step, text)

    def speak_codes(self, codes: HeadCodes, tokens: int) -> Iterator[Event]:
        """Give the audio that is complete with a shared head's new codes, of so many tokens."""
        assert isinstance(self.speech, SpeechStream), "only then there is a shared head"
        yield from map(self._audio_event, self.speech.push(codes, tokens))

    def close(self) -> None:
        """Free what is shared with other answers."""
        if isinstance(self.speech, SpeechStream):
            self.speech.head_stream.close()

    @property
    def _may_speak(self) -> bool:
        return self.stop.found or (self.decoder.certain and not self.stop.waiting)

    def finish(self) -> Iterator[Event]:
        """Give what is left when no step follows."""
        rest = "" if self.ended else self.decoder.finish()
        rest = rest if self.ended else self.stop.push(rest) + self.stop.finish()
        if rest or self._logprobs:
            yield self._text_event(rest)
        yield from self._audio(self._released_steps(), last=rest)

    def _text_event(self, text: str, state: str | None = None) -> Event:
        self.text += text
        logprobs, self._logprobs = tuple(self._logprobs), []
        return Event(self.elapsed(), text, state=state, logprobs=logprobs)

    def _released_steps(self) -> list[tuple[DecodingStep, str]]:
        steps, self._waiting = self._waiting, []
        return steps

    def _stop_speech(self, released: str) -> None:
        """Leave of the steps that wait those before a stop text, whose text is released."""
        steps = self._released_steps()
        ends = [sum(len(piece) for _, piece in steps[:count]) for count in range(1, len(steps) + 1)]
        count = sum(end <= len(released) for end in ends)
        rest = released[ends[count - 1] if count else 0:]
        self._waiting = [*steps[:count], *((DecodingStep(step.hidden, None), rest) for step, _ in steps[count:count + 1])]

    def _audio(self, steps: Sequence[tuple[DecodingStep, str]], *, last: str | None = None) -> Iterator[Event]:
        """Give the audio of some steps, each with its text; `last` is the text behind the last one."""
        speech = self.speech
        if speech is None or self.decoder.noisy:
            return
        for step, text in steps:
            yield from map(self._audio_event, speech.write(step, text))
        if last is not None:
            yield from map(self._audio_event, speech.finish(last))

    def _audio_event(self, segment: AudioSegment) -> Event:
        return Event(self.elapsed(), codes=segment.codes, waveform=segment.waveform,
                     sample_rate=self.sample_rate, marks=segment.marks)
