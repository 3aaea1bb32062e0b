"""Head `delayed_codes`: the language model's own steps give codes, and it reads them at the next one.

Source: Mini-Omni2, arXiv:2410.11190.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnikit.contracts.codes import Code
from omnikit.contracts.types import Features, Targets
from omnikit_codes.cells import PADDING, CellEmbedding, arrange, codebook_logits, sum_losses
from omnikit_codes.config import DelayedCodes
from omnikit_codes.patterns import Pattern

STD = 0.02  # of fresh embeddings, as those of a language model


@dataclass
class Stream:
    """One answer's codes.

    Args:
        columns: codes of each codebook so far.
        given: frames that were given.
        count: frames of the answer, once its end came.
    """

    columns: list[list[int]]
    generator: torch.Generator
    given: int = 0
    count: int | None = None

    @property
    def finished(self) -> bool:
        """Whether its last frame was given."""
        return self.given == self.count


@dataclass
class StreamState:
    """Streams of a batch, the number of the next step, and the cells [B, Q] of the last one."""

    streams: list[Stream]
    step: int = 0
    cells: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))


class DelayedCodesHead(nn.Module):
    """Owns the tables of codes and the classes of all codebooks, both as wide as the language model."""

    def __init__(self, config: DelayedCodes, dim: int, codebooks: int, cardinality: int) -> None:
        super().__init__()
        self.config, self.pattern, self.cardinality = config, Pattern("delayed", codebooks), cardinality
        self.end, self.empty = cardinality, cardinality + 1
        self.embedding = CellEmbedding(codebooks, cardinality, dim)
        nn.init.normal_(self.embedding.weight, std=STD)
        self.classes = nn.Linear(dim, codebooks * cardinality + 1)  # of each codebook, then the end

    # ---- training ----

    def cells(self, targets: Targets) -> Tensor:
        """Codes [B, U, Q] to the cells of each step [B, S, Q]; PADDING where a cell is empty."""
        return F.pad(arrange(targets, self.pattern, self.end), (0, 0, self.config.delay, 0), value=PADDING)

    def inputs(self, targets: Targets) -> Tensor:
        """Codes [C, U, Q] to what is added behind each step [C, S, dim]; 0 from a row's last step on."""
        cells = self.cells(targets)
        books = self.pattern.codebooks
        last = self.config.delay + targets.lengths + max(0, books - 2)  # step of a row's last code, or of its end
        inside = torch.arange(cells.shape[1], device=cells.device) < last[:, None]
        return self.embedding.sums(cells) * inside[..., None]

    def loss(self, features: Features, targets: Targets) -> Tensor:
        """Cross-entropy of the batch's codes and ends at states [C, S, dim] of the steps, divided by their number, float32."""
        cells = self.cells(targets)
        total = sum_losses(self.classes(features.data[:, :cells.shape[1]]), cells, self.cardinality)
        return total / (targets.lengths.sum() * self.pattern.codebooks + len(targets.lengths))

    # ---- inference ----

    def decode(self, features: Features) -> list[list[Code]]:
        """Give the codes that the states [B, S, dim] of all steps give, whatever was fed to the language model."""
        alone = [Features(features.data[row:row + 1, :length], features.lengths[row:row + 1])
                 for row, length in enumerate(features.lengths.tolist())]
        return [self.step(row, self.init_state(1))[0][0] for row in alone]

    def init_state(self, batch: int) -> StreamState:
        """Give the state of answers without codes."""
        books, seed = self.pattern.codebooks, self.config.seed
        streams = [Stream([[] for _ in range(books)], torch.Generator().manual_seed(seed)) for _ in range(batch)]
        return StreamState(streams, cells=torch.full((batch, books), self.empty, device=self.classes.weight.device))

    @torch.no_grad()
    def step(self, features: Features, state: StreamState) -> tuple[list[list[Code]], StreamState]:
        """States [B, N, dim] of the next steps; gives each answer's frames that are complete with them. Changes `state`."""
        codes: list[list[Code]] = [[] for _ in state.streams]
        for logits in self.classes(features.data).float().unbind(1):
            drawn = self._drawn(logits, state.streams)
            state.cells = torch.tensor([self._cells(stream, state.step, row) for stream, row in
                                        zip(state.streams, drawn, strict=True)], device=logits.device)
            state.step += 1
            for found, stream in zip(codes, state.streams, strict=True):
                while stream.given < min(map(len, stream.columns)):
                    found.append(tuple(column[stream.given] for column in stream.columns))
                    stream.given += 1
        return codes, state

    def feedback(self, state: StreamState) -> Tensor:
        """What the language model's next inputs get [B, dim]: the last step's codes, nothing where an answer has finished."""
        running = torch.tensor([not stream.finished for stream in state.streams], device=state.cells.device)
        return self.embedding.sums(state.cells) * running[:, None]

    def finished(self, state: StreamState) -> list[bool]:
        """Whether each answer has its last frame."""
        return [stream.finished for stream in state.streams]

    def _drawn(self, logits: Tensor, streams: list[Stream]) -> list[list[int]]:
        """Draw a code of each codebook [B][Q] from logits [B, classes]."""
        each = [codebook_logits(logits, book, self.cardinality) for book in range(self.pattern.codebooks)]
        if self.config.top_k == 1:
            return torch.stack([found.argmax(-1) for found in each], 1).tolist()
        best = [found.cpu().topk(min(self.config.top_k, found.shape[-1])) for found in each]
        return [[int(ids[row][torch.multinomial(values[row].softmax(-1), 1, generator=stream.generator)])
                 for values, ids in best] for row, stream in enumerate(streams)]

    def _cells(self, stream: Stream, step: int, drawn: list[int]) -> list[int]:
        """Give the cells of one step of an answer, and put their codes into its columns."""
        cells = []
        for book, (column, code) in enumerate(zip(stream.columns, drawn, strict=True)):
            frame = self.pattern.frame(step - self.config.delay, book) if step >= self.config.delay else None
            if frame is None or (stream.count is not None and frame >= stream.count):
                cells.append(self.empty)
                continue
            if book == 0 and (code == self.end or frame == self.config.max_frames):
                stream.count, code = frame, self.end
            else:
                column.append(code)
            cells.append(code)
        return cells
