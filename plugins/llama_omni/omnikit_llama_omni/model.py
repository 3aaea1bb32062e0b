"""LLaMA-Omni's unit head: copy each hidden state, run causal layers, classify each frame, train by CTC.

Takes no text and no waveforms, holds no backbone. Source: LLaMA-Omni, arXiv:2409.06666; names of its public checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnikit.contracts.codes import Code
from omnikit.contracts.types import Features, Targets
from omnikit.errors import DataError
from omnikit.ops.kv_cache import CachePositions, KVCache
from omnikit.ops.llama_layer import LlamaLayer
from omnikit.ops.rotary import llama3_scaled, rotary_angles, rotary_frequencies
from omnikit.ops.row_cache import RowCache, RowStep
from omnikit_llama_omni.answer_rows import UnitRows
from omnikit_llama_omni.config import CTCUnits
from omnikit_llama_omni.state import UnitState


class CTCUnitHead(nn.Module):
    """Owns input and output projections and its layers; there is no final norm. The blank is the last class."""

    def __init__(self, config: CTCUnits, source: int, units: int) -> None:
        super().__init__()
        self.config, self.blank = config, units
        self.input_proj = nn.Linear(source, config.dim)
        self.repeat_embed = nn.Embedding(config.factor, config.dim) if config.repeat_position else None
        self.layers = nn.ModuleList(LlamaLayer(config.dim, config.heads, config.ffn, config.rms_eps)
                                    for _ in range(config.layers))
        self.output_proj = nn.Linear(config.dim, units + 1)
        if self.repeat_embed is not None:
            nn.init.normal_(self.repeat_embed.weight, std=0.5)  # about the scale of what input_proj gives

    def no_weight_decay(self) -> set[str]:
        """Name the table of positions."""
        return {"repeat_embed.weight"}

    def forward(self, states: Tensor, lengths: Tensor, frames: Tensor, longest: int) -> Tensor:
        """Classify the frames of a batch.

        Args:
            states: [B, M, D] hidden states, padded on the right.
            lengths: [B] valid states.
            frames: [B] frames that each row shall have.
            longest: the largest of them; the rest is padding, which causal attention keeps out of valid frames.

        Returns:
            logits [B, longest, units + 1].
        """
        copied, place = upsample(states, lengths, frames, longest)
        x = self.input_proj(copied.to(self.input_proj.weight.dtype))  # [B, T, dim]
        if self.repeat_embed is not None:
            x = x + self.repeat_embed(place.clamp(max=self.config.factor - 1))
        angles = rotary_angles(torch.arange(longest, device=x.device), frequencies(self.config, x.device), x.dtype)
        for layer in self.layers:
            x = layer(x, angles, causal=True)
        logits: Tensor = self.output_proj(x)
        return logits

    def loss(self, features: Features, targets: Targets) -> Tensor:
        """CTC over the units of the batch, divided by their number, in float32.

        A row has factor x states frames, or as many as it has units if those are more (as the original stretches it). CTC needs
        lengths on the host, so an accelerator is waited for, once.

        Raises:
            DataError: a row's units cannot be reached, or are none of the codec's.
        """
        counts, units = torch.stack([features.lengths, targets.lengths]).tolist()
        ids = targets.ids[..., 0]  # [B, U], one codebook
        if ids.device.type == "cpu":  # the collator looks at the rows too
            self._check(counts, units, ids[torch.arange(ids.shape[1]) < targets.lengths[:, None]].tolist())
        frames = [max(self.config.factor * m, u) for m, u in zip(counts, units, strict=True)]
        lengths = torch.maximum(self.config.factor * features.lengths, targets.lengths)
        logits = self(features.data, features.lengths, lengths, max(frames))
        scores = logits.float().log_softmax(-1).transpose(0, 1)  # [T, B, units + 1]
        total: Tensor = F.ctc_loss(scores, ids.clamp(min=0), torch.tensor(frames), torch.tensor(units), blank=self.blank,
                                   reduction="sum", zero_infinity=True)
        mean: Tensor = total / max(sum(units), 1)
        return mean

    def decode(self, features: Features) -> list[list[Code]]:
        """Greedy units of each row: the best class of each frame, runs merged, blanks dropped."""
        factor, frames = self.config.factor, features.lengths * self.config.factor
        best = self(features.data, features.lengths, frames, features.data.shape[1] * factor).argmax(-1)  # [B, T]
        rows = [collapse(row[:count], self.blank) for row, count in zip(best, frames.tolist(), strict=True)]
        return [[(unit,) for unit in row] for row in rows]

    def init_state(self, batch: int) -> UnitState:
        """Give the state of `batch` answers without input so far."""
        return UnitState.empty(batch, self.config.layers)

    @torch.no_grad()
    def step(self, features: Features, state: UnitState) -> tuple[list[list[Code]], UnitState]:
        """Give each row's new units for its new hidden states, at a cost that hardly grows with what came before.

        Any chunking of the states gives the units that `decode` gives. Changes `state`.
        """
        counts = [self.config.factor * count for count in features.lengths.tolist()]
        if not any(counts):
            state.sources = [[] for _ in counts]
            return [[] for _ in counts], state
        x = self.input_proj(features.data.to(self.input_proj.weight.dtype))  # [B, M, dim]
        new = CachePositions(state.frames, max(counts), x)
        best: list[list[int]] = self._classes(x, new.positions, new.mask, [cache.at(new) for cache in state.layers]).tolist()
        return [[(unit,) for unit in row] for row in state.advance(best, counts, self.blank)], state

    def init_rows(self) -> UnitRows:
        """Give the rows of answers that come and go, without any in it."""
        def classify(states: Tensor, cache: RowCache, step: RowStep) -> Tensor:
            x = self.input_proj(states.to(self.input_proj.weight.dtype))
            layers = [cache.layer(number, step) for number in range(len(self.layers))]
            return self._classes(x, step.positions, step.mask(), layers)

        return UnitRows(classify, self.config.factor, self.blank)

    def _classes(self, x: Tensor, positions: Tensor, mask: Tensor, caches: Sequence[KVCache]) -> Tensor:
        """Give the class of each of the frames at `positions` [B or 1, T], of states [B, M, dim], T frames at most."""
        x = x.repeat_interleave(self.config.factor, 1)[:, :positions.shape[1]]  # [B, T, dim]
        if self.repeat_embed is not None:
            x = x + self.repeat_embed(positions % self.config.factor)
        angles = rotary_angles(positions[:, None], frequencies(self.config, x.device), x.dtype)  # [B, 1, T, head width / 2]
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer(x, angles, mask, cache)
        best: Tensor = self.output_proj(x).argmax(-1)  # [B, T]
        return best

    def sources(self, state: UnitState) -> list[list[int]]:
        """Give for each unit of the last `step` the position among its hidden states that it came from."""
        return [[frame // self.config.factor for frame in row] for row in state.sources]

    def _check(self, counts: list[int], units: list[int], ids: list[int]) -> None:
        """Refuse units of the whole batch that are none of the codec's, and rows that CTC cannot reach."""
        if ids and not 0 <= min(ids) <= max(ids) < self.blank:
            raise DataError(f"The batch has units from {min(ids)} to {max(ids)}, but the codec has 0 to {self.blank - 1};"
                            " encode its speech with this codec.")
        start = 0
        for row, (count, length) in enumerate(zip(counts, units, strict=True)):
            reason = self.config.unreachable(count, ids[start:start + length]) if length else None
            if reason:
                raise DataError(f"Row {row} of the batch cannot be trained on: {reason}.")
            start += length


def upsample(states: Tensor, lengths: Tensor, frames: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Copy states to frames: frame t of a row with M states and T frames holds state floor(t / (T / M)); padding is zero.

    Divided in float32, as the original does: where T is no multiple of M, exact division gives now and then another state.

    Returns:
        frames [B, longest, D] and the position [B, longest] of each inside the copies of its state.
    """
    t = torch.arange(longest, device=states.device)[None]  # [1, T]
    count, total = lengths[:, None], frames[:, None].clamp(min=1)  # [B, 1]
    valid = t < frames[:, None]  # [B, T]
    source = torch.where(valid, (t / (total / count)).long(), 0)
    first = (source * total + count - 1) // count.clamp(min=1)  # first frame of that state: ceil(source T / M)
    copied = states.gather(1, source[..., None].expand(-1, -1, states.shape[-1]))
    return torch.where(valid[..., None], copied, 0), torch.where(valid, (t - first).clamp(min=0), 0)


def collapse(frames: Tensor, blank: int) -> list[int]:
    """Merge runs in classes [T], then drop blanks."""
    merged = torch.unique_consecutive(frames)
    ids: list[int] = merged[merged != blank].tolist()
    return ids


def frequencies(config: CTCUnits, device: torch.device) -> Tensor:
    """Give the rotary frequencies [head width / 2], with llama3 scaling if configured."""
    found = rotary_frequencies(config.dim // config.heads, config.rope_theta, device)
    if config.rope_factor is None:
        return found
    return llama3_scaled(found, config.rope_factor, config.rope_low, config.rope_high, config.rope_original)
