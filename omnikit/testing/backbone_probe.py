"""Backbones: random tokens, and media to attend to where a backbone takes some; whole rows, and rows step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from omnikit.contracts.layout import InputLayout, Memory
from omnikit.contracts.optional import backbone_options
from omnikit.testing.probe import Probe, Row, padded

LENGTHS = (24, 17, 9)  # tokens of each row
ANSWER = 4  # tokens at the end of each row that are its answer, where a backbone needs to know
MEMORY, START = 4, 2  # embeddings that each row attends to, and the position that they come before
IGNORED = -100  # target that no loss counts


class BackboneProbe(Probe):
    """Tokens to hidden states. A row is its ids [N], and behind them the embeddings [M, D] that it attends to."""

    def make(self) -> Any:
        return self.config.build()

    @property
    def attends(self) -> bool:
        """Whether it takes embeddings of media beside its positions."""
        return "cross_attention" in backbone_options(self.config).fusions

    def rows(self, seed: int = 0) -> list[Row]:
        generator = torch.Generator().manual_seed(seed)
        return [self.row(length, generator) for length in LENGTHS]

    def row(self, length: int, generator: torch.Generator) -> Row:
        """Give random ids of a row, with what it attends to."""
        ids = torch.randint(0, self.config.vocabulary, (length,), generator=generator)
        dim = backbone_options(self.config).memory_dim or self.config.dim
        return (ids, torch.randn(MEMORY, dim, generator=generator)) if self.attends else (ids,)

    def layout(self, rows: Sequence[Row]) -> dict[str, InputLayout]:
        """Give the layout of rows padded on the right, as the keyword of a call; none where it takes none."""
        if not backbone_options(self.config).takes_layout:
            return {}
        lengths = torch.tensor([len(row[0]) for row in rows])
        prompts = lengths - ANSWER
        memory = None
        if self.attends:
            media = torch.zeros(len(rows), MEMORY, dtype=torch.int64)
            memory = Memory(torch.stack([row[1] for row in rows]), torch.full_like(media, START), media)
        spliced = (torch.arange(int(lengths.max())) == 1).expand(len(rows), -1)  # a position that all prompts have
        return {"layout": InputLayout(prompts, spliced, memory)}

    def hidden(self, module: Any, rows: Sequence[Row]) -> Tensor:
        """Run rows as one batch that is padded on the right: hidden [B, L, D]."""
        ids, mask = joined(rows, "right")
        found: Tensor = module(module.embed(ids), mask, **self.layout(rows))
        return found

    def outputs(self, module: Any, rows: Sequence[Row]) -> list[Row]:
        hidden = self.hidden(module, rows)
        return [(states[self.first(row):len(row[0])],) for states, row in zip(hidden, rows, strict=True)]

    def first(self, row: Row) -> int:
        """Give the first position of a row whose hidden state is read: with a layout the last one of its prompt."""
        return len(row[0]) - ANSWER - 1 if backbone_options(self.config).takes_layout else 0

    def stepped(self, module: Any, rows: Sequence[Row], cuts: Sequence[int]) -> list[Row]:
        """Give the outputs of rows that are padded on the left and come in pieces, as answers are generated.

        Args:
            cuts: positions of the padded rows at which a piece ends, the last one their length.
        """
        ids, mask = joined(rows, "left")
        layout = self.layout(rows)
        if layout:  # prompts come as a whole
            cuts = [ids.shape[1] - ANSWER, *(cut for cut in cuts if cut > ids.shape[1] - ANSWER)]
        if layout:
            padding = ids.shape[1] - torch.tensor([len(row[0]) for row in rows])
            order = (torch.arange(ids.shape[1]) - padding[:, None]) % ids.shape[1]
            layout = {"layout": layout["layout"].padded_left(padding, order)}
        state, begin, found = module.init_state(len(rows), **layout), 0, []
        for end in cuts:
            hidden, state = module.step(module.embed(ids[:, begin:end]), mask[:, :end], state)
            found.append(hidden)
            begin = end
        hidden = torch.cat(found, dim=1)
        return [(states[len(states) - len(row[0]) + self.first(row):],) for states, row in zip(hidden, rows, strict=True)]

    def loss(self, module: Any, rows: Sequence[Row]) -> Tensor:
        hidden = self.hidden(module, rows)
        targets = torch.full(hidden.shape[:2], IGNORED)
        for row, (ids, *_) in zip(targets, rows, strict=True):
            begin = self.first((ids,))
            row[begin:len(ids) - 1] = ids[begin + 1:]
        return F.cross_entropy(module.logits(hidden).float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


def joined(rows: Sequence[Row], side: str) -> tuple[Tensor, Tensor]:
    """Give the ids [B, L] and the mask [B, L] of rows, padded on one side."""
    ids = [row[0] for row in rows]
    return padded(ids, side), padded([torch.ones(len(row), dtype=torch.bool) for row in ids], side)
