"""Head `depth_codes`: a frame's first code by the decoder over frames, the others by a decoder over its codebooks.

Source: Moshi, arXiv:2410.00037; CSM (Sesame).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnikit.ops.kv_cache import FixedKVCache
from omnikit.ops.llama_layer import LlamaLayer
from omnikit.ops.rotary import RotaryAngles, rotary_angles, rotary_frequencies
from omnikit_codes.cells import PADDING
from omnikit_codes.config import DepthCodes
from omnikit_codes.frame_decoder import Classify, FrameDecoder
from omnikit_codes.patterns import Pattern


class DepthCodesHead(FrameDecoder):
    """Owns the classes of the first codebook and the decoder over codebooks; see FrameDecoder for the arguments."""

    def __init__(self, config: DepthCodes, source: int, codebooks: int, cardinality: int) -> None:
        super().__init__(config, source, Pattern("parallel", codebooks), cardinality)
        self.classes = nn.Linear(config.dim, cardinality + 1)
        self.depth = DepthDecoder(config, codebooks, cardinality)

    def sum_losses(self, states: Tensor, cells: Tensor) -> Tensor:
        """As FrameDecoder.sum_losses."""
        first = F.cross_entropy(self.classes(states).float().flatten(0, 1), cells[..., 0].flatten(), ignore_index=PADDING,
                                reduction="sum")
        known = cells.masked_fill(cells == PADDING, 0)
        logits = self.depth(torch.cat([states[:, :, None], self.code_embeddings(known[..., :-1])], 2).flatten(0, 1))
        others = F.cross_entropy(logits.float().flatten(0, 1), cells[..., 1:].flatten(), ignore_index=PADDING, reduction="sum")
        return first + others

    def classify(self, state: Tensor) -> Classify:
        """As FrameDecoder.classify; each code depends on those of its frame before it."""
        books = self.pattern.codebooks
        caches = [FixedKVCache(books) for _ in self.depth.layers]

        def of_next(cells: Sequence[int]) -> Tensor:
            if not cells:
                self.depth.step(state[None, None], caches)
                logits: Tensor = self.classes(state)
                return logits
            last = torch.tensor(cells[-1:], device=state.device)
            return self.depth.step(self.code_embeddings(last, len(cells) - 1)[None], caches)

        return of_next


class DepthDecoder(nn.Module):
    """Owns layers over the codebooks of one frame, and the classes of all but the first codebook."""

    def __init__(self, config: DepthCodes, codebooks: int, cardinality: int) -> None:
        super().__init__()
        self.width, self.theta = config.depth_dim // config.depth_heads, config.rope_theta
        self.project = nn.Linear(config.dim, config.depth_dim, bias=False)
        self.layers = nn.ModuleList(LlamaLayer(config.depth_dim, config.depth_heads, config.depth_ffn, config.rms_eps)
                                    for _ in range(config.depth_layers))
        self.norm = nn.RMSNorm(config.depth_dim, config.rms_eps)
        self.classes = nn.Parameter(torch.empty(codebooks - 1, cardinality, config.depth_dim))
        nn.init.normal_(self.classes, std=config.depth_dim**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """A frame's state, then embeddings of its codes but the last, [N, Q, dim], to logits [N, Q - 1, V]."""
        x = self.project(x)
        angles = self._angles(0, x.shape[1], x)
        for layer in self.layers:
            x = layer(x, angles, causal=True)
        return torch.einsum("nqd,qvd->nqv", self.norm(x[:, 1:]), self.classes)

    def step(self, x: Tensor, caches: Sequence[FixedKVCache]) -> Tensor:
        """The next input [1, 1, dim] behind what the caches hold to logits [V]; those of the first input mean nothing."""
        x, position = self.project(x), caches[0].count
        angles = self._angles(position, position + 1, x)
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer(x, angles, None, cache)
        logits: Tensor = self.classes[position - 1] @ self.norm(x[0, 0])
        return logits

    def _angles(self, start: int, end: int, x: Tensor) -> RotaryAngles:
        positions = torch.arange(start, end, device=x.device)
        return rotary_angles(positions, rotary_frequencies(self.width, self.theta, x.device), x.dtype)
