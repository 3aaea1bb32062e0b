"""Encodes a turn while it is spoken, by the branches whose parts stream; the features are those of the whole turn.

Branches whose encoder needs all of the clip encode it when the turn is complete, as everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from omnikit.contracts.streaming import StreamingEncoder, StreamingProjector
from omnikit.contracts.types import Features, Signal
from omnikit.errors import OmnikitError
from omnikit.inference.encoded_signals import EncodedSignals
from omnikit.inference.live.resampler import RATE, Samples
from omnikit.inference.session import Session
from omnikit.model import OmniModel
from omnikit.splice import as_dtype_of


@dataclass
class BranchStream:
    """One branch's states, and the features [1, T, D] so far. A step changes no state, so that several may follow one."""

    encoder: object
    projector: object
    features: list[Features]


class TurnEncoder:
    """Owns the states of one turn; nothing of them is saved: a turn that is restored is encoded again from its audio.

    Args:
        session: the model.
        encoded: gets the features of complete turns.
    """

    def __init__(self, session: Session, encoded: EncodedSignals) -> None:
        self.session, self.encoded = session, encoded
        self.branches = streaming_branches(session.model)
        self.position: int | None = None  # up to which the turn is encoded
        self._streams: dict[str, BranchStream] = {}

    def follow(self, start: int, audio: Samples) -> None:
        """Take the turn's audio from `start` on: its beginning, or a position that is encoded; what is new is encoded."""
        if not self.branches:
            return
        if self.position is None:
            self.position = start
            self._streams = {name: self._begun(name) for name in self.branches}
        new = audio[self.position - start:]
        if len(new):
            self._streams = {name: self._step(name, stream, new) for name, stream in self._streams.items()}
            self.position += len(new)

    def finish(self, start: int, audio: Samples) -> None:
        """Keep the features of the turn's audio; more of it may still follow."""
        self.follow(start, audio)
        for name, stream in self._streams.items():
            try:
                last = self._step(name, stream, audio[:0], last=True)
            except OmnikitError:  # too short for a feature: the prompt has the reason
                continue
            data = torch.cat([features.data for features in last.features], dim=1)
            found = Features(data, torch.tensor([data.shape[1]], device=data.device), last.features[-1].rate)
            self.encoded.keep(name, Signal(torch.from_numpy(audio)[None], torch.tensor([len(audio)])), found)

    def reset(self) -> None:
        """Begin the next turn."""
        self.position, self._streams = None, {}

    def _begun(self, branch: str) -> BranchStream:
        encoder, projector = self.branches[branch]
        return BranchStream(encoder.init_state(1), projector.init_state(1), [])

    @torch.no_grad()
    def _step(self, branch: str, stream: BranchStream, audio: Samples, *, last: bool = False) -> BranchStream:
        (encoder, projector), device = self.branches[branch], self.session.device
        signal = Signal(torch.from_numpy(audio.copy())[None].to(device), torch.tensor([len(audio)], device=device))
        features, encoded = encoder.step(signal, stream.encoder, last=last)
        features = as_dtype_of(self.session.model.get_submodule(f"{branch}.projector"), features)
        projected, state = projector.step(features, stream.projector, last=last)
        return BranchStream(encoded, state, [*stream.features, projected])


def streaming_branches(model: OmniModel) -> dict[str, tuple[StreamingEncoder, StreamingProjector]]:
    """Give the branches of audio whose encoder depends on a bounded future only, and whose projector streams too."""
    found: dict[str, tuple[StreamingEncoder, StreamingProjector]] = {}
    for name, branch in model.plan.inputs.items():
        spec = branch.encoder.input
        if spec.modality != "audio" or spec.rate != RATE or math.isinf(branch.encoded.lookahead):
            continue
        if branch.projector is None or branch.sources or branch.joins_media:
            continue
        encoder, projector = model.encoder(name), model.projector(name)
        if isinstance(encoder, StreamingEncoder) and isinstance(projector, StreamingProjector):
            found[name] = (encoder, projector)
    return found
