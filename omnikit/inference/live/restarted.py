"""An answer of a saved state that was asked for again: without what it had given before."""

from __future__ import annotations

from dataclasses import replace

from omnikit.errors import OmnikitError
from omnikit.inference.answer import Event
from omnikit.inference.answer_usage import AnswerUsage
from omnikit.inference.engine import AnswerStream, FinishReason


class Restarted:
    """Skips so many characters and samples of a stream, marks up to the last one, and the state of the question if decided."""

    def __init__(self, stream: AnswerStream, skipped: tuple[int, int, int], *, decided: bool) -> None:
        self._stream, self._decided = stream, decided
        self._characters, self._samples, self._mark = skipped

    @property
    def done(self) -> bool:
        """As the stream's, as is all below."""
        return self._stream.done

    @property
    def error(self) -> OmnikitError | None:
        return self._stream.error

    @property
    def finish_reason(self) -> FinishReason | None:
        return self._stream.finish_reason

    @property
    def prompt_tokens(self) -> int:
        return self._stream.prompt_tokens

    @property
    def cached_tokens(self) -> int:
        return self._stream.cached_tokens

    @property
    def answer_tokens(self) -> int:
        return self._stream.answer_tokens

    @property
    def usage(self) -> AnswerUsage:
        return self._stream.usage

    def cancel(self) -> None:
        self._stream.cancel()

    def take(self) -> list[Event]:
        """Give the events that were not given before."""
        return [event for event in map(self._skip, self._stream.take())
                if event.text or event.state or event.marks or (event.waveform is not None and len(event.waveform))]

    def _skip(self, event: Event) -> Event:
        text = event.text[self._characters:]
        self._characters -= len(event.text) - len(text)
        waveform, marks = event.waveform, tuple(mark for mark in event.marks if mark[0] > self._mark)
        if waveform is not None and self._samples:
            waveform, self._samples = waveform[self._samples:], max(self._samples - len(waveform), 0)
        return replace(event, text=text, waveform=waveform, marks=marks, state=None if self._decided else event.state)
