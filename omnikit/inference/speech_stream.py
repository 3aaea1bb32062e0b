"""An answer's speech while the answer is being generated: hidden states in, codes and segments of audio out.

Needs no text and no conversation. A segment goes to the codec whenever enough codes are pending, and then all of them, as in
the original. Either the codec continues from its state, so that the joined waveform is that of the whole answer, or each
segment is a waveform of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnikit.contracts.codes import Code
from omnikit.contracts.streaming import StreamingCodec, StreamingHead
from omnikit.errors import ConfigError, PlanError
from omnikit.inference.generate import DecodingStep, Generated, reads_tokens, tapped
from omnikit.model import OmniModel
from omnikit.plan.plan import OutputBranch

MAX_CHUNK = 16  # tokens that the head gets at once at most: about four seconds of speech in LLaMA-Omni's data


@dataclass(frozen=True)
class AudioSegment:
    """Codes that were handed to the codec, and the waveform [N] that it gave for them; None where it waits for what follows."""

    codes: tuple[Code, ...]
    waveform: NDArray[np.float32] | None


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

    Raises:
        PlanError: the head cannot stream.
    """

    def __init__(self, model: OmniModel, output: OutputBranch) -> None:
        head = model.code_head(output.name)
        if not isinstance(head, StreamingHead):
            raise PlanError(f"{output.name}.head gives its codes only when the answer is complete, because it has no `step`;"
                            " ask without streaming.")
        self.model, self.output = model, output
        self._head, self._state = head, head.init_state(1)
        self._steps: list[DecodingStep] = []  # that the head has not got; where it reads tokens, the last one is not complete
        self._device = next(model.parameters()).device

    def write(self, step: DecodingStep, tokens: int = 1) -> list[Code]:
        """Take one step of the answer; gives new codes when `tokens` tokens wait for the head."""
        self._steps.append(step)
        return self._emit() if self._waiting >= tokens else []

    def finish(self) -> list[Code]:
        """Give the codes of what still waits for the head, when no step follows."""
        return self._emit() if self._waiting else []

    @property
    def _waiting(self) -> int:
        """Tokens whose hidden states are complete."""
        steps = self._steps[:-1] if reads_tokens(self.output.head) else self._steps
        return sum(step.tokens is not None for step in steps)

    @torch.no_grad()
    def _emit(self) -> list[Code]:
        count, hidden = self._waiting, torch.stack([step.hidden for step in self._steps], 1)  # [1, N or N + 1, D]
        tokens = [int(step.tokens) for step in self._steps[:count] if step.tokens is not None]
        lengths = torch.tensor([count], device=self._device)
        generated = Generated([tokens], hidden[:, :count], hidden[:, 1:] if len(self._steps) > count else None, lengths)
        self._steps = self._steps[count:]
        codes, self._state = self._head.step(tapped(self.model, self.output, generated), self._state)
        return codes[0]


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

    @torch.no_grad()
    def __call__(self, codes: tuple[Code, ...], *, last: bool = False) -> AudioSegment:
        """Give the segment of some codes; `last` means that none follows."""
        given = torch.tensor(codes, dtype=torch.int64, device=self._device).reshape(len(codes), self._codebooks)
        waveform: Tensor | None = None
        if self.streaming:
            waveform, self._state = self.streaming.step(given, self._state, last=last)
        elif codes:
            waveform = self._codec.decode(given)
        return AudioSegment(codes, waveform.float().cpu().numpy() if waveform is not None and len(waveform) else None)


class SpeechStream:
    """Owns the states of one answer's head and codec, and the schedule of their chunks.

    Independent segments are cut after each token to the end, as the original cuts them.

    Args:
        model: its weights, which any number of answers may share.
        output: the branch with the codec.
        omega: codes of a segment at least.
        independent: True makes each segment a waveform of its own, as the original does; it needs no codec that streams.

    Raises:
        ConfigError: omega is impossible.
        PlanError: the head or the codec cannot stream.
    """

    def __init__(self, model: OmniModel, output: OutputBranch, omega: int, *, independent: bool = False) -> None:
        self.pending, self.head_stream = CodeBuffer(omega), HeadStream(model, output)
        self._codec_stream, self._schedule = CodecStream(model, output, independent=independent), ChunkSchedule()

    def write(self, step: DecodingStep) -> AudioSegment | None:
        """Take one step of the answer; gives a segment if enough codes are pending now."""
        codes = self.pending.push(self.head_stream.write(step, self._schedule.tokens))
        return self._segment(codes) if codes else None

    def finish(self) -> AudioSegment | None:
        """Give what is left when no step follows."""
        rest = self.pending.push(self.head_stream.finish()) or self.pending.flush()
        segment = self._segment(rest, last=True)
        return segment if segment.codes or segment.waveform is not None else None

    def _segment(self, codes: tuple[Code, ...], *, last: bool = False) -> AudioSegment:
        segment = self._codec_stream(codes, last=last)
        if segment.waveform is not None and self._codec_stream.streaming:
            self._schedule.grow()
        return segment
