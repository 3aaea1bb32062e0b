"""A decoder over frames of Q codes behind the features of an answer: training, and one sentence step by step.

Uses no text, no backbone and no waveform. Cells: omnikit_codes.cells.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from omnikit.contracts.codes import Code
from omnikit.contracts.types import Features, Targets
from omnikit.errors import DataError
from omnikit.ops.kv_cache import FixedKVCache
from omnikit.ops.llama_layer import LlamaLayer
from omnikit.ops.rotary import RotaryAngles, rotary_angles, rotary_frequencies
from omnikit_codes.cells import PADDING, CellEmbedding, arrange
from omnikit_codes.config import FrameDecoderConfig
from omnikit_codes.patterns import Pattern

Classify = Callable[[Sequence[int]], Tensor]  # the codes of a step's cells so far to the logits of the next cell


@dataclass
class GenerationState:
    """Keys and values of each layer, the rotary angles of all positions, and the position of the next step."""

    caches: Sequence[FixedKVCache]
    angles: RotaryAngles
    position: int


class FrameDecoder(nn.Module):
    """Owns the input projection, the tables of codes and the layers; a subclass owns the classes.

    Args:
        config: sizes, and how codes are chosen.
        source: width of the features that it takes.
        pattern: of the codebooks.
        cardinality: V.
    """

    def __init__(self, config: FrameDecoderConfig, source: int, pattern: Pattern, cardinality: int) -> None:
        super().__init__()
        self.config, self.pattern, self.cardinality = config, pattern, cardinality
        self.end, self.empty = cardinality, cardinality + 1
        self.project = nn.Linear(source, config.dim)
        self.embedding = CellEmbedding(pattern.codebooks, cardinality, config.dim)
        self.layers = nn.ModuleList(LlamaLayer(config.dim, config.heads, config.ffn, config.rms_eps)
                                    for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.dim, config.rms_eps)

    @abstractmethod
    def sum_losses(self, states: Tensor, cells: Tensor) -> Tensor:
        """States [B, S, dim] and the cells [B, S, Q] that they give (PADDING: none) to the sum of cross-entropies."""

    @abstractmethod
    def classify(self, state: Tensor) -> Classify:
        """State [dim] of one step to what gives the logits of its cells; those of the first codebook have the end."""

    # ---- training ----

    def arrange(self, targets: Targets) -> Tensor:
        """Codes [B, U, Q] to the cells of each step [B, S, Q], each row's end in its place; PADDING where a cell is empty."""
        return arrange(targets, self.pattern, self.end)

    def forward(self, features: Features, cells: Tensor) -> Tensor:
        """Features [B, T, source] and cells [B, S, Q] (PADDING: empty) to the states [B, S, dim] that give each step."""
        given = torch.cat([cells.new_full((len(cells), 1, cells.shape[2]), PADDING), cells[:, :-1]], 1)
        x = torch.cat([self.project(features.data.to(self.project.weight.dtype)), self.embed(given)], 1)
        count, lengths = features.data.shape[1], features.lengths.to(x.device)[:, None]
        indices = torch.arange(x.shape[1], device=x.device)
        behind = indices >= count  # the steps
        attended = (indices < lengths) | behind  # [B, keys]
        later = behind & (indices > indices[:, None])  # [queries, keys]
        mask = (attended[:, None] & ~later)[:, None]  # [B, 1, queries, keys]
        positions = torch.where(behind, indices - count + lengths, indices)  # [B, T + S]
        angles = self._angles(positions[:, None], x.dtype)
        for layer in self.layers:
            x = layer(x, angles, mask)
        result: Tensor = self.norm(x[:, count:])
        return result

    def embed(self, cells: Tensor) -> Tensor:
        """Cells [..., Q], empty where PADDING, to the sums of their embeddings [..., dim]."""
        return self.embedding.sums(cells)

    def code_embeddings(self, codes: Tensor, first: int = 0) -> Tensor:
        """Codes [..., N] of N codebooks, from `first` on, to their embeddings [..., N, dim]."""
        return self.embedding.of_each(codes, first)

    def loss(self, features: Features, targets: Targets) -> Tensor:
        """Cross-entropy of the batch's codes and ends, divided by their number, in float32.

        Raises:
            DataError: a row has no text, or codes that are none of the codec's.
        """
        if targets.ids.device.type == "cpu":  # an accelerator would be waited for, and the collator checks rows and codes too
            self._check(features.lengths.tolist(), targets)
        cells = self.arrange(targets)
        count = targets.lengths.sum() * self.pattern.codebooks + len(targets.lengths)
        return self.sum_losses(self(features, cells), cells) / count

    # ---- inference ----

    def decode(self, features: Features) -> list[list[Code]]:
        """Give the codes of each row, each drawn as if it were alone: the very codes that `speak` gives."""
        return [list(self.speak(_row(features, row))) for row in range(len(features.data))]

    def speak(self, features: Features, context: Features | None = None) -> CodeIterator:
        """Begin to speak one sentence [1, N, D]; its frames come one by one. It needs no `context`."""
        return CodeIterator(self, features)

    def begin(self, features: Features) -> GenerationState:
        """Take features [1, T, source] into keys and values with capacity for a sentence at the limit."""
        x = self.project(features.data.to(self.project.weight.dtype))
        count = x.shape[1]
        capacity = count + self.pattern.steps(self.config.max_frames)
        state = GenerationState([FixedKVCache(capacity) for _ in self.layers],
                                self._angles(torch.arange(capacity, device=x.device), x.dtype), 0)
        self._extend(x, state)
        return state

    def step(self, cells: Sequence[int], state: GenerationState) -> Tensor:
        """Put the cells of one step behind those of `state`; gives the state [dim] of the next step. Changes `state`."""
        given = torch.tensor(cells, device=self.project.weight.device)
        return self._extend(self.embed(given)[None, None], state)[0, 0]

    def _extend(self, x: Tensor, state: GenerationState) -> Tensor:
        angles = state.angles.between(state.position, state.position + x.shape[1])
        state.position += x.shape[1]
        for layer, cache in zip(self.layers, state.caches, strict=True):
            x = layer(x, angles, None, cache)
        result: Tensor = self.norm(x)
        return result

    def _angles(self, positions: Tensor, dtype: torch.dtype) -> RotaryAngles:
        frequencies = rotary_frequencies(self.config.dim // self.config.heads, self.config.rope_theta, positions.device)
        return rotary_angles(positions, frequencies, dtype)

    def _check(self, texts: list[int], targets: Targets) -> None:
        if 0 in texts:
            raise DataError(f"Row {texts.index(0)} of the batch has no text to speak; leave it out.")
        beyond = torch.arange(targets.ids.shape[1]) >= targets.lengths[:, None]
        codes = targets.ids[~beyond]
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.cardinality:
            raise DataError(f"The batch has codes from {int(codes.min())} to {int(codes.max())}, but the codec has 0 to"
                            f" {self.cardinality - 1}; encode its speech with this codec.")


class CodeIterator:
    """The frames of one sentence, each given when its last code was drawn.

    `cut` is True, when they have ended, if the sentence was longer than the head's `max_frames`.
    """

    def __init__(self, head: FrameDecoder, features: Features) -> None:
        self.cut = False
        self._head, self._features = head, features
        self._generator = torch.Generator().manual_seed(head.config.seed)
        self._columns: list[list[int]] = [[] for _ in range(head.pattern.codebooks)]
        self._count: int | None = None  # frames of the sentence, once its end was drawn

    @torch.inference_mode()
    def __iter__(self) -> Iterator[Code]:
        head, given = self._head, 0
        state, cells = head.begin(self._features), [head.empty] * head.pattern.codebooks
        for step in range(head.pattern.steps(head.config.max_frames)):
            cells = self._cells(step, head.classify(head.step(cells, state)))
            while given < min(map(len, self._columns)):
                yield tuple(column[given] for column in self._columns)
                given += 1
            if given == self._count:
                return

    def _cells(self, step: int, logits: Classify) -> list[int]:
        """Draw the cells of one step."""
        head, cells = self._head, list[int]()
        for book, column in enumerate(self._columns):
            frame = head.pattern.frame(step, book)
            if frame is None or (self._count is not None and frame >= self._count):
                cells.append(head.empty)
                continue
            code = self._draw(logits(cells))
            if code == head.end or frame == head.config.max_frames:
                self._count, self.cut = frame, code != head.end
                code = head.end
            else:
                column.append(code)
            cells.append(code)
        return cells

    def _draw(self, logits: Tensor) -> int:
        if self._head.config.top_k == 1:
            return int(logits.argmax())
        best, ids = logits.float().cpu().topk(min(self._head.config.top_k, len(logits)))
        return int(ids[torch.multinomial(best.softmax(-1), 1, generator=self._generator)])


def _row(features: Features, row: int) -> Features:
    """Give one row alone, without its padding."""
    length = features.lengths[row:row + 1]
    return Features(features.data[row:row + 1, :int(length)], length)
