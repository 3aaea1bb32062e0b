"""An answer's speech while the answer is being generated: hidden states in, codes and segments of audio out.

Needs no text and no conversation. A segment goes to the codec whenever enough codes are pending, and then all of them, as in
the original. Either the codec continues from its state, so that the joined waveform is that of the whole answer, or each
segment is a waveform of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnikit.contracts.codes import Code
from omnikit.contracts.streaming import AlignedHead, StreamingCodec, StreamingHead
from omnikit.contracts.types import Features
from omnikit.errors import ConfigError, PlanError
from omnikit.inference.generate import DecodingStep, Generated, reads_tokens, tapped
from omnikit.inference.row_numbers import RowNumber
from omnikit.inference.shared_head import HeadCodes, SharedHead
from omnikit.inference.text_alignment import CodeTiming, Mark, TextMarks
from omnikit.model import OmniModel
from omnikit.plan.plan import OutputBranch

MAX_CHUNK = 16  # tokens that the head gets at once at most: about four seconds of speech in LLaMA-Omni's data


@dataclass(frozen=True)
class AudioSegment:
    """Codes that were handed to the codec, and the waveform [N] that it gave for them; None where it waits for what follows.

    `marks`: see omnikit.inference.answer.Event.
    """

    codes: tuple[Code, ...]
    waveform: NDArray[np.float32] | None
    marks: tuple[Mark, ...] = ()


class CodeBuffer:
    """Codes that wait until there are `omega` of them; then all of them go."""

    def __init__(self, omega: int) -> None:
        if omega < 1:
            raise ConfigError(f"omega is {omega}, but must be a whole number of at least 1.")
        self.omega = omega
        self._codes: list[Code] = []

    def push(self, new: list[Code]) -> tuple[Code, ...]:
        """Give all codes if they are enough now, else none."""
        self._codes += new
        return self.flush() if len(self._codes) >= self.omega else ()

    def flush(self) -> tuple[Code, ...]:
        """Give all codes."""
        codes, self._codes = tuple(self._codes), []
        return codes


class HeadStream:
    """Owns the state of one answer's head: hidden states in, codes out.

    Args:
        model: its weights.
        output: the branch with the head.
        shared: holds the state beside those of other answers.

    Raises:
        PlanError: the head cannot stream.
    """

    def __init__(self, model: OmniModel, output: OutputBranch, shared: SharedHead | None = None) -> None:
        head = model.code_head(output.name)
        if not isinstance(head, StreamingHead):
            raise PlanError(f"{output.name}.head gives its codes only when the answer is complete, because it has no `step`;"
                            " ask without streaming.")
        self.model, self.output, self.shared = model, output, shared
        self._head, self._state = head, head.init_state(1) if shared is None else None
        self._row: RowNumber | None = None
        self._steps: list[DecodingStep] = []  # that the head has not got; where it reads tokens, the last one is not complete
        self.marks, self._codes, self._characters = TextMarks(), 0, 0
        self._ends: list[int] = []  # characters of the answer behind each of these steps
        self._device = next(model.parameters()).device

    def write(self, step: DecodingStep, tokens: int = 1, text: str = "") -> list[Code]:
        """Take one step of the answer and the text that is certain with it; gives codes when `tokens` tokens wait.

        Codes that the backbone reads come with the step.
        """
        if self.output.feeds:
            self._characters += len(text)
            self._ends.append(self._characters)
            codes = step.codes[0] if step.codes else []
            self.note(codes, 1, None)
            return codes
        features = self.add(step, tokens, text)
        return self._emit(features) if features else []

    def finish(self, text: str = "") -> list[Code]:
        """Give the codes of what still waits for the head, when no step follows; `text` is the end of the answer."""
        codes = self._emit(self._features()) if self._waiting else []
        self.marks.note(self._codes, self._characters + len(text))
        return codes

    def add(self, step: DecodingStep, tokens: int = 1, text: str = "") -> Features | None:
        """As `write`, but gives what the head takes when `tokens` tokens wait, whose codes are then noted."""
        self._steps.append(step)
        self._characters += len(text)
        self._ends.append(self._characters)
        return self._features() if self._waiting >= tokens else None

    def note(self, codes: list[Code], count: int, sources: Sequence[int] | None) -> None:
        """Note the text of the codes of `count` tokens, token by token where the head names the tokens, else of all of them."""
        ends, self._ends = self._ends[:count], self._ends[count:]
        for token, end in enumerate(ends if sources is not None else ()):
            self.marks.note(self._codes + sum(source <= token for source in sources or ()), end)
        self._codes += len(codes)
        self.marks.note(self._codes, ends[-1])

    @property
    def row(self) -> RowNumber:
        """The answer's row of a shared head, which it has from its first codes on."""
        assert self.shared, "only then there are rows"
        self._row = self._row or self.shared.add()
        return self._row

    def close(self) -> None:
        """Free the row of a shared head."""
        if self.shared and self._row:
            self.shared.remove(self._row)
            self._row = None

    @property
    def _waiting(self) -> int:
        """Tokens whose hidden states are complete."""
        steps = self._steps[:-1] if reads_tokens(self.output.head) else self._steps
        return sum(step.tokens is not None for step in steps)

    @torch.no_grad()
    def _features(self) -> Features:
        """Give the features [1, N, D] of what waits, which then waits no more."""
        count, hidden = self._waiting, torch.stack([step.hidden for step in self._steps], 1)  # [1, N or N + 1, D]
        tokens = [int(step.tokens) for step in self._steps[:count] if step.tokens is not None]
        lengths = torch.tensor([count], device=self._device)
        generated = Generated([tokens], hidden[:, :count], hidden[:, 1:] if len(self._steps) > count else None, lengths)
        self._steps = self._steps[count:]
        return tapped(self.model, self.output, generated)

    @torch.no_grad()
    def _emit(self, features: Features) -> list[Code]:
        if self.shared:
            codes, sources = self.shared.step([features], [self.row])[0]
        else:
            found, self._state = self._head.step(features, self._state)
            codes, sources = found[0], None
            if isinstance(self._head, AlignedHead):
                sources = self._head.sources(self._state)[0]
        self.note(codes, features.data.shape[1], sources)
        return codes


class ChunkSchedule:
    """How many tokens the head gets at once: one until there is audio, then twice as many each time, up to MAX_CHUNK.

    While one segment is played, the next may take longer and be longer: the head's weights are read less often.
    """

    def __init__(self) -> None:
        self.tokens = 1

    def grow(self) -> None:
        """Count a segment that became audio."""
        self.tokens = min(MAX_CHUNK, 2 * self.tokens)


class CodecStream:
    """Owns the state of one answer's codec: codes in, segments out.

    Args:
        independent: True makes each segment a waveform of its own, as the original does; it needs no codec that streams.

    Raises:
        PlanError: the codec cannot stream.
    """

    def __init__(self, model: OmniModel, output: OutputBranch, *, independent: bool = False) -> None:
        self._codec = model.codec(output.name)
        self.streaming = self._codec if isinstance(self._codec, StreamingCodec) and not independent else None
        if self.streaming is None and not independent:
            raise PlanError(f"{output.name}.codec cannot continue where a segment ended, because it has no `step`; stream with"
                            " independent segments (--independent, independent=True).")
        self._state = self.streaming.init_state(1) if self.streaming else None
        self._device = next(model.parameters()).device
        assert output.codes, "a branch that speaks has a codec"
        self._codebooks = output.codes.codebooks
        self.timing = CodeTiming(output.codes, self._codec, independent=independent)

    @torch.inference_mode()
    def __call__(self, codes: tuple[Code, ...], *, last: bool = False) -> AudioSegment:
        """Give the segment of some codes; `last` means that none follows."""
        given = torch.tensor(codes, dtype=torch.int64, device=self._device).reshape(len(codes), self._codebooks)
        waveform: Tensor | None = None
        if self.streaming:
            waveform, self._state = self.streaming.step(given, self._state, last=last)
        elif codes:
            waveform = self._codec.decode(given)
        self.timing.push(codes, 0 if waveform is None else len(waveform), self._device, last=last)
        return AudioSegment(codes, waveform.float().cpu().numpy() if waveform is not None and len(waveform) else None)


class SpeechStream:
    """Owns the states of one answer's head and codec, and the schedule of their chunks.

    Independent segments are cut after each token to the end, as the original cuts them.

    Args:
        model: its weights, which any number of answers may share.
        output: the branch with the codec.
        omega: codes of a segment at least.
        independent: True makes each segment a waveform of its own, as the original does; it needs no codec that streams.
        shared: holds the head's state beside those of other answers.

    Raises:
        ConfigError: omega is impossible.
        PlanError: the head or the codec cannot stream.
    """

    def __init__(self, model: OmniModel, output: OutputBranch, omega: int, *, independent: bool = False,
                 shared: SharedHead | None = None) -> None:
        self.pending, self.head_stream = CodeBuffer(omega), HeadStream(model, output, shared)
        self._codec_stream, self._schedule = CodecStream(model, output, independent=independent), ChunkSchedule()

    def write(self, step: DecodingStep, text: str = "") -> Iterator[AudioSegment]:
        """Take one step of the answer and its text; gives a segment if enough codes are pending now."""
        yield from self._segments(self.head_stream.write(step, self._schedule.tokens, text))

    def add(self, step: DecodingStep, text: str = "") -> Features | None:
        """As `write`, but gives what the head takes, whose codes are then pushed, if it is its turn."""
        return self.head_stream.add(step, self._schedule.tokens, text)

    def push(self, codes: HeadCodes, tokens: int) -> Iterator[AudioSegment]:
        """Take a shared head's codes of so many tokens; gives a segment if enough are pending now."""
        self.head_stream.note(codes[0], tokens, codes[1])
        yield from self._segments(codes[0])

    def _segments(self, codes: list[Code]) -> Iterator[AudioSegment]:
        if ready := self.pending.push(codes):
            yield self._segment(ready)

    def finish(self, text: str = "") -> Iterator[AudioSegment]:
        """Give what is left when no step follows; `text` is the end of it."""
        rest = self.pending.push(self.head_stream.finish(text)) or self.pending.flush()
        segment = self._segment(rest, last=True)
        if segment.codes or segment.waveform is not None or segment.marks:
            yield segment

    def _segment(self, codes: tuple[Code, ...], *, last: bool = False) -> AudioSegment:
        segment = self._codec_stream(codes, last=last)
        if segment.waveform is not None and self._codec_stream.streaming:
            self._schedule.grow()
        return replace(segment, marks=self.head_stream.marks.take(self._codec_stream.timing.ends))
