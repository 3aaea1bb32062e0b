"""How long each unit of a merged sequence lasts: a small convolutional network. Independent of spectra."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from omnikit.ops.durations import rounded_durations

BATCH = 32
RATE = 3e-3


class DurationNetwork(nn.Module):
    """Embeds units and looks at two neighbours on each side, twice; gives the log of a duration."""

    def __init__(self, units: int, dim: int) -> None:
        super().__init__()
        self.padding = units
        self.embed = nn.Embedding(units + 1, dim, padding_idx=units)  # the last row is zero, so padding does not leak
        self.first = nn.Conv1d(dim, dim, 5, padding=2)
        self.second = nn.Conv1d(dim, dim, 5, padding=2)
        self.output = nn.Linear(dim, 1)

    def forward(self, codes: Tensor) -> Tensor:
        """Merged units [B, T], padded with `units`, to log durations [B, T]."""
        valid = codes.ne(self.padding)[:, None]  # [B, 1, T]
        x = self.embed(codes).transpose(1, 2)  # [B, D, T]
        x = (x + F.gelu(self.first(x))) * valid
        x = x + F.gelu(self.second(x))
        result: Tensor = self.output(x.transpose(1, 2))[..., 0]
        return result

    def frames(self, codes: Tensor) -> Tensor:
        """Frames [T], at least 1, of each merged unit [T]; RunError where a prediction is absurd."""
        if not codes.numel():
            return codes.new_zeros(0)
        log_durations: Tensor = self(codes[None])[0]
        return rounded_durations(log_durations.exp(), "mel_units")


def train_durations(network: DurationNetwork, labels: Sequence[Tensor], steps: int, generator: Generator,
                    progress: Callable[[float], None]) -> float:
    """Fit a network, from new random weights, to the runs of frame labels [T]; gives its mean error in frames.

    It is a copy that is trained, so `network` may be frozen.
    """
    pairs = [torch.unique_consecutive(row.cpu(), return_counts=True) for row in labels if len(row)]
    codes = pad_sequence([c for c, _ in pairs], batch_first=True, padding_value=network.padding)
    counts = pad_sequence([n for _, n in pairs], batch_first=True).float()  # [R, T], 0 at padding
    trained = deepcopy(network).cpu().requires_grad_(True)  # too small for an accelerator
    _draw(trained, generator)
    optimizer = torch.optim.Adam(trained.parameters(), RATE)
    with torch.enable_grad():
        for step in range(steps):
            rows = torch.randint(len(pairs), (BATCH,), generator=generator)
            longest = int((counts[rows] > 0).sum(1).max())
            wanted = counts[rows, :longest]
            error = (trained(codes[rows, :longest]) - wanted.clamp(min=1).log())[wanted > 0]
            optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
            optimizer.zero_grad()
            error.square().mean().backward()  # type: ignore[no-untyped-call]  # torch has none here
            optimizer.step()
            progress((step + 1) / steps)
    network.load_state_dict(trained.state_dict())
    return float(torch.cat([(trained.frames(c) - n).abs() for c, n in pairs]).float().mean())


def _draw(network: DurationNetwork, generator: Generator) -> None:
    """Draw all weights from the generator, so that fitting does not depend on how the module was built."""
    nn.init.normal_(network.embed.weight, generator=generator)
    nn.init.zeros_(network.embed.weight[-1])
    for layer in (network.first, network.second, network.output):
        nn.init.kaiming_uniform_(layer.weight, a=5 ** 0.5, generator=generator)
        assert layer.bias is not None, "all its layers have biases"
        nn.init.zeros_(layer.bias)
