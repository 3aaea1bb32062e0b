"""An answer's speech while the answer is being written: states in, codes and segments of sound out.

Knows no text and no conversation. A segment goes to the codec whenever enough codes are pending, and then all of them, as in
the original. Either the codec goes on where it was, so that the joined wave is that of the whole answer, or each segment is
a wave of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnikit.errors import ConfigError, PlanError
from omnikit.inference.generate import Generated, Written, reads_states, tapped
from omnikit.model import OmniModel
from omnikit.plan import Outlet
from omnikit.protocols import StreamingCodec, StreamingHead


@dataclass(frozen=True)
class Segment:
    """Codes that were handed to the codec, and the wave [N] that it gave for them; None where it waits for what follows."""

    codes: tuple[int, ...]
    waveform: NDArray[np.float32] | None


class Pending:
    """Codes that wait until there are `omega` of them; then all of them go."""

    def __init__(self, omega: int) -> None:
        if omega < 1:
            raise ConfigError(f"omega is {omega}, but must be a whole number of at least 1.")
        self.omega = omega
        self._codes: list[int] = []

    def push(self, new: list[int]) -> tuple[int, ...]:
        """Give all codes if they are enough now, else none."""
        self._codes += new
        return self.flush() if len(self._codes) >= self.omega else ()

    def flush(self) -> tuple[int, ...]:
        """Give all codes."""
        codes, self._codes = tuple(self._codes), []
        return codes


class Speech:
    """Owns the states of one answer's head and codec.

    Args:
        model: its weights, which any number of answers may share.
        outlet: the branch that speaks.
        omega: codes of a segment at least.
        independent: True makes each segment a wave of its own, as the original does; it needs no codec that streams.

    Raises:
        ConfigError: omega is impossible.
        PlanError: the head or the codec cannot stream.
    """

    def __init__(self, model: OmniModel, outlet: Outlet, omega: int, *, independent: bool = False) -> None:
        self.model, self.outlet, self.pending = model, outlet, Pending(omega)
        head, codec = model.head(outlet.name), model.codec(outlet.name)
        if not isinstance(head, StreamingHead):
            raise PlanError(f"{outlet.name}.head gives its codes only when the answer is complete, because it has no `step`;"
                            " ask without streaming.")
        streaming = codec if isinstance(codec, StreamingCodec) and not independent else None
        if streaming is None and not independent:
            raise PlanError(f"{outlet.name}.codec cannot go on where a segment ended, because it has no `step`; stream with"
                            " independent segments (--independent, independent=True).")
        self._head, self._codec, self._streaming = head, codec, streaming
        self._head_state, self._codec_state = head.init_state(1), streaming.init_state(1) if streaming else None
        self._device = next(model.parameters()).device
        self._unread: Written | None = None  # a token whose state after reading is still to come

    @torch.no_grad()
    def write(self, step: Written) -> Segment | None:
        """Take one step of the answer; gives a segment if enough codes are pending now."""
        written = self._complete(step)
        if written is None:
            return None
        new, self._head_state = self._head.step(tapped(self.model, self.outlet, written), self._head_state)
        codes = self.pending.push(new[0])
        return self._segment(codes) if codes else None

    @torch.no_grad()
    def finish(self) -> Segment | None:
        """Give what is left when no step follows."""
        segment = self._segment(self.pending.flush(), last=True)
        return segment if segment.codes or segment.waveform is not None else None

    def _complete(self, step: Written) -> Generated | None:
        """Give the token whose states are known now, as an answer of one token."""
        known = step
        if reads_states(self.outlet.head):
            before, self._unread = self._unread, step
            if before is None:
                return None
            known = before
        if known.tokens is None:
            return None
        one = torch.ones(1, dtype=torch.int64, device=self._device)
        return Generated([known.tokens.tolist()], known.state[:, None], step.state[:, None], one)

    def _segment(self, codes: tuple[int, ...], *, last: bool = False) -> Segment:
        given = torch.tensor(codes, dtype=torch.int64, device=self._device)
        wave: Tensor | None = None
        if self._streaming:
            wave, self._codec_state = self._streaming.step(given, self._codec_state, last=last)
        elif codes:
            wave = self._codec.decode(given)
        return Segment(codes, wave.float().cpu().numpy() if wave is not None and len(wave) else None)
