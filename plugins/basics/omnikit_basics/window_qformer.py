"""A Q-Former over each window of frames, of one encoder or of several side by side. Uses no encoder and no backbone."""

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnikit.contracts.types import Features
from omnikit_basics.bert_qformer import BertQFormerModel
from omnikit_basics.config.windows import WindowQFormer
from omnikit_basics.projectors import silence


class WindowQFormerProjector(nn.Module):
    """Queries [1, N, dim] through the Q-Former for each window, and a Linear: N vectors per window."""

    def __init__(self, config: WindowQFormer, sources: Sequence[int], dim: int) -> None:
        super().__init__()
        self.config = config
        self.norms = nn.ModuleList(nn.LayerNorm(source) for source in sources if config.norm)
        self.query = nn.Parameter(torch.empty(1, config.queries, config.dim).normal_())  # Granite's
        self.qformer = BertQFormerModel(config, sum(sources))
        self.linear = nn.Linear(config.dim, dim)

    def forward(self, *features: Features) -> Features:
        window, queries = self.config.window, self.config.queries
        data = self._joined(features)
        data = F.pad(data, (0, 0, 0, -data.shape[1] % window)) if self.config.tail == "pad" else data
        windows = data.shape[1] // window
        cut = data[:, :windows * window].reshape(len(data) * windows, window, data.shape[2])
        x = self.qformer(self.query.expand(len(cut), -1, -1), cut)  # [B * windows, queries, dim]
        lengths = torch.stack([each.lengths for each in features]).amax(0)
        lengths = lengths // window if self.config.tail == "drop" else (lengths + window - 1) // window
        rate = None if features[0].rate is None else features[0].rate * Fraction(queries, window)
        return Features(self.linear(x.reshape(len(data), windows * queries, x.shape[2])), queries * lengths, rate)

    def _joined(self, features: Sequence[Features]) -> Tensor:
        """Give the features of all sources [B, T of the longest, sum of D], zeros beyond each one's lengths."""
        longest = max(each.data.shape[1] for each in features)
        found = []
        for index, each in enumerate(features):
            data = self.norms[index](silence(each)) if self.config.norm else each.data
            data = silence(Features(data, each.lengths))  # the norm's bias is no silence
            found.append(F.pad(data, (0, 0, 0, longest - data.shape[1])))
        return torch.cat(found, dim=-1)
