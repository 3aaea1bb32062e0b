"""Modules of the plugin, and one variant for each fault."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from omnikit_basics.video import SpatiotemporalPoolProjector
from omnikit_codes.delayed_codes import DelayedCodesHead, StreamState
from torch import Tensor, nn

from frames_plugin.config import Coded, Frames
from omnikit.contracts.media import Medium
from omnikit.contracts.types import Features, Signal


class NoStream(nn.Module):
    """One Linear for each frame: [B, N] to [B, T, D]."""

    def __init__(self, config: Frames) -> None:
        super().__init__()
        self.config = config
        self.linear = nn.Linear(config.frame, config.dim)

    def forward(self, signal: Signal) -> Features:
        return Features(self.embed(self.frames(signal.data)), signal.lengths // self.config.frame, self.config.output.rate)

    def frames(self, data: Tensor) -> Tensor:
        count = data.shape[1] // self.config.frame
        return data[:, :count * self.config.frame].reshape(len(data), count, self.config.frame)

    def embed(self, frames: Tensor) -> Tensor:
        return torch.tanh(self.linear(frames))


class FramesEncoder(NoStream):
    """The same in chunks."""

    def init_state(self, batch: int) -> Tensor:
        return torch.zeros(batch, 0)

    def step(self, signal: Signal, state: Tensor, *, last: bool = False) -> tuple[Features, Tensor]:
        data = torch.cat([state, signal.data], dim=1)
        found = self(Signal(data, torch.full((len(data),), data.shape[1])))
        return found, self.rest(data, found.data.shape[1])

    def rest(self, data: Tensor, count: int) -> Tensor:
        return data[:, count * self.config.frame:]


class Leaks(NoStream):
    """Scales by how long the longest row of the batch is."""

    def embed(self, frames: Tensor) -> Tensor:
        return super().embed(frames) * frames.shape[1]


class LooksAhead(NoStream):
    """Adds the next frame."""

    def forward(self, signal: Signal) -> Features:
        inside = torch.arange(signal.data.shape[1]) < signal.lengths[:, None]
        found = super().forward(Signal(signal.data * inside, signal.lengths))
        valid = torch.arange(found.data.shape[1]) < found.lengths[:, None]
        data = found.data * valid[..., None]
        return Features(data + F.pad(data[:, 1:], (0, 0, 0, 1)), found.lengths, found.rate)


class Random(NoStream):
    """Drops in eval mode."""

    def embed(self, frames: Tensor) -> Tensor:
        return F.dropout(super().embed(frames), 0.5, training=True)


class Moves(NoStream):
    """Counts its calls in a buffer in eval mode too."""

    def __init__(self, config: Frames) -> None:
        super().__init__(config)
        self.register_buffer("calls", torch.zeros(()))

    def embed(self, frames: Tensor) -> Tensor:
        with torch.no_grad():
            self.calls.add_(1)  # type: ignore[operator]  # a buffer
        return super().embed(frames)


class Forgets(NoStream):
    """Holds random numbers that no state dict has."""

    def __init__(self, config: Frames) -> None:
        super().__init__(config)
        self.offset = torch.randn(config.dim)

    def embed(self, frames: Tensor) -> Tensor:
        return super().embed(frames) + self.offset


class DropsRest(FramesEncoder):
    """Drops what does not fill a frame at the end of each chunk."""

    def rest(self, data: Tensor, count: int) -> Tensor:
        return data[:, :0]


class FloatOnly(NoStream):
    """Multiplies by a float32 table, which fails under autocast."""

    def embed(self, frames: Tensor) -> Tensor:
        found = super().embed(frames)
        return torch.bmm(found, torch.eye(found.shape[2], dtype=self.linear(frames).dtype).expand(len(found), -1, -1).float()
                         if found.dtype == torch.float32 else self._refuse())

    def _refuse(self) -> Any:
        raise RuntimeError("expected m1 and m2 to have the same dtype")


class Halves(NoStream):
    """Overflows in float16."""

    def embed(self, frames: Tensor) -> Tensor:
        found: Tensor = self.linear(frames) * 1e8
        return found / 1e8


class ReadsNumbers(NoStream):
    """Reads a number while it is built."""

    def __init__(self, config: Frames) -> None:
        super().__init__(config)
        self.scale = float(self.linear.weight.abs().max())


class Idle(NoStream):
    """Has a parameter that it does not use."""

    def __init__(self, config: Frames) -> None:
        super().__init__(config)
        self.gate = nn.Parameter(torch.ones(config.dim))


class Detached(NoStream):
    """Cuts the gradient of its Linear."""

    def embed(self, frames: Tensor) -> Tensor:
        return super().embed(frames).detach() + 0 * self.linear.bias.sum()


class InPlace(NoStream):
    """Scales the audio that it is given."""

    def forward(self, signal: Signal) -> Features:
        signal.data.mul_(1.5)
        return super().forward(signal)


class Shared(NoStream):
    """Has a hook that deepcopy cannot copy."""

    def __deepcopy__(self, memo: object) -> "Shared":
        raise TypeError("cannot copy a handle")


class Bare(nn.Module):
    def __init__(self, config: Frames) -> None:
        super().__init__()
        self.inner = NoStream(config)

    def forward(self, signal: Signal) -> Features:
        found: Features = self.inner(signal)
        return found


class Pointwise(nn.Module):
    """A Linear for each vector: [B, T, D] to [B, T, D']."""

    def __init__(self, source: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(source, dim)

    def forward(self, features: Features) -> Features:
        return Features(self.linear(features.data), features.lengths, None)


class LoudnessCodec(nn.Module):
    """The loudness of each frame, in steps: waves [N] to codes [T, 1]."""

    def __init__(self, config: Coded) -> None:
        super().__init__()
        self.config = config

    def encode(self, wave: Tensor) -> Tensor:
        count = len(wave) // self.config.frame
        loudness = wave[:count * self.config.frame].view(count, self.config.frame).abs().mean(1)
        return (loudness * 1000).long().clamp(max=self.config.cardinality - 1)[:, None]

    def decode(self, codes: Tensor) -> Tensor:
        return (codes[:, 0].float() / self.config.cardinality).repeat_interleave(self.config.frame)


class OtherFeedbackHead(DelayedCodesHead):
    """Gives codes [B, S, Q], and [B, D] to the language model that training does not have."""

    def feedback(self, state: StreamState) -> Tensor:
        return 2 * super().feedback(state)


class OtherMediaProjector(SpatiotemporalPoolProjector):
    """Patches [B', P, D] to [M, T, D'], with what belongs to all media of the batch."""

    def forward(self, features: Features, *, media: Sequence[Medium]) -> Features:
        found = super().forward(features, media=media)
        return Features(found.data + found.data.mean(), found.lengths)
