"""VITA-1.5's speech decoder: text embeddings in, codes out. Knows no text, no backbone and no wave.

Names of its public checkpoint (decoder/final.pt). Of V codes, V begins the text, V + 1 begins the codes, V + 2 ends them
and V + 3 is padding. Source: arXiv:2501.01957.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnikit.contracts.types import Features, Targets
from omnikit.errors import DataError
from omnikit_vita.nar_ar import NarAr
from omnikit_vita.nar_ar_choice import Choice
from omnikit_vita.nar_ar_layers import Joined, Layer, Past, Room, Turn, turning
from omnikit_vita.nar_ar_packed import packed

PADDING = -100  # of targets


@dataclass
class Text:
    """Vectors [B, T, dim] with the valid ones of each row, `lengths` [B]."""

    data: Tensor
    lengths: Tensor


@dataclass
class Speaking:
    """What is kept of a sentence while it is spoken, changed by `step`.

    Args:
        layers: that it passes.
        pasts: keys and values of each layer.
        turn: rotary angles of all positions.
        place: position of the next code.
    """

    layers: Sequence[nn.Module]
    pasts: Sequence[Room]
    turn: Turn
    place: int


class NarArHead(nn.Module):
    """Owns the table of codes, the pre-network, the layers and the classes.

    Args:
        config: sizes, and how codes are chosen.
        parts: equal parts that a text embedding is cut into.
        codes: different codes of the codec.
    """

    def __init__(self, config: NarAr, parts: int, codes: int) -> None:
        super().__init__()
        self.config, self.parts = config, parts
        self.bos, self.sos, self.eos, self.pad = range(codes, codes + 4)
        self.embedding = nn.Embedding(codes + 4, config.dim, padding_idx=self.pad)
        self.layers_pre_nn = nn.ModuleList(Layer(config) for _ in range(config.layers // 2))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.layers_prefix = nn.ModuleList(Layer(config) for _ in range(config.layers)) if config.prefix else None
        self.norm = nn.RMSNorm(config.dim, config.rms_eps)
        self.out_fnn = nn.Linear(config.dim, codes + 4)
        self._packed: dict[tuple[tuple[int, int], ...], list[Layer]] = {}  # by the weights they were made of; no part of it

    # ---- training ----

    def forward(self, text: Text, codes: Tensor, prefix: Text | None = None, *, padded: bool = False) -> Tensor:
        """Classify what follows each code of a batch.

        Args:
            text: of each row.
            codes: [B, U] codes before each, the start first; padding on the right is any id.
            prefix: hidden states of each row, cut as the text.
            padded: True numbers the codes behind the padded text, as the original does; else behind the row's own. With
                `pace` they are numbered from 0.

        Returns:
            logits [B, U, V + 4].
        """
        read = self.read(text)  # [B, T, dim]
        first = self.embedding.weight[self.bos].to(read.dtype).expand(len(read), 1, -1)
        x = torch.cat([first, read, self.embedding(codes).to(read.dtype)], 1)  # [B, 1 + T + U, dim]
        texts, count = 1 + read.shape[1], codes.shape[1]
        places = torch.arange(texts + count, device=x.device)
        behind = torch.full_like(text.lengths, texts) if padded else text.lengths + 1  # [B], where the codes begin
        positions = self._numbered(places, texts, behind[:, None])  # [B, 1 + T + U]
        seen = (places <= text.lengths[:, None]) | (places >= texts)  # [B, keys]
        later = (places >= texts) & (places > places[:, None])  # [queries, keys]: codes that come later, or after the text
        mask = (seen[:, None] & ~later)[:, None]  # [B, 1, queries, keys]
        pasts = [Joined() for _ in self.layers]
        if prefix is not None:
            self._extend(pasts, prefix)
            known = torch.arange(prefix.data.shape[1], device=x.device) < prefix.lengths[:, None]
            mask = torch.cat([known[:, None, None].expand(-1, -1, mask.shape[2], -1), mask], -1)
        turn = turning(self.config, positions[:, None], x.dtype)  # [B, 1, 1 + T + U, head width / 2]
        for layer, past in zip(self.layers, pasts, strict=True):
            x = layer(x, turn, mask, past)
        logits: Tensor = self.out_fnn(self.norm(x[:, texts:]))
        return logits

    def read(self, text: Text) -> Tensor:
        """Run the pre-network over texts [B, T, dim]; each vector of a row sees all of its row."""
        valid = torch.arange(text.data.shape[1], device=text.data.device) < text.lengths[:, None]
        x = text.data.to(self.out_fnn.weight.dtype)
        if self.config.normed:
            x = F.rms_norm(x, (self.config.dim,), eps=self.config.rms_eps)
        turn = turning(self.config, torch.arange(x.shape[1], device=x.device), x.dtype)
        for layer in self.layers_pre_nn:
            x = layer(x, turn, valid[:, None, None])
        return x

    def loss(self, features: Features, targets: Targets, context: Features | None = None) -> Tensor:
        """Cross-entropy of the batch's codes and ends, divided by their number, in float32.

        Raises:
            DataError: a row has no text, or codes that are none of the codec's.
        """
        ids, lengths = targets.ids, targets.lengths
        valid = torch.arange(ids.shape[1] + 1, device=ids.device) < lengths[:, None]  # [B, U + 1], of what stands before one
        self._check(features.lengths.tolist(), ids[valid[:, :-1]])
        given = torch.cat([ids.new_full((len(ids), 1), self.sos), ids], 1).masked_fill(
            ~torch.cat([valid[:, :1] | True, valid[:, :-1]], 1), self.pad)
        wanted = torch.cat([ids, ids.new_full((len(ids), 1), PADDING)], 1).masked_fill(~valid, PADDING)
        wanted = wanted.scatter(1, lengths[:, None], self.eos)
        logits = self(self._cut(features), given, None if context is None else self._cut(context))
        return F.cross_entropy(logits.float().flatten(0, 1), wanted.flatten(), ignore_index=PADDING)

    # ---- inference ----

    def decode(self, features: Features, context: Features | None = None) -> list[list[int]]:
        """Give the codes of each row, each drawn as if it were alone: the very codes that `speak` gives."""
        return [list(self.speak(_row(features, row), None if context is None else _row(context, row)))
                for row in range(len(features.data))]

    def speak(self, features: Features, context: Features | None = None) -> CodeIterator:
        """Begin to speak one sentence [1, N, D]; the codes come one by one."""
        return CodeIterator(self, self._cut(features), None if context is None else self._cut(context))

    def begin(self, text: Text, prefix: Text | None, room: int) -> Speaking:
        """Read a text [1, T, dim] into keys and values with room for `room` codes, the start included."""
        read = self.read(text)
        x = torch.cat([self.embedding.weight[self.bos][None, None], read], 1)  # [1, 1 + T, dim]
        before, count = 0 if prefix is None else prefix.data.shape[1], x.shape[1]
        reserve = before + count + room
        pasts = [Room(reserve) for _ in self.layers]
        if prefix is not None:
            self._extend(pasts, prefix)
        turn = turning(self.config, self._numbered(torch.arange(count + room, device=x.device), count, count), x.dtype)
        for layer, past in zip(self.layers, pasts, strict=True):
            x = layer(x, (turn[0][:count], turn[1][:count]), None, past)
        return Speaking(self._speaking(), pasts, turn, count)

    def step(self, code: int, state: Speaking) -> Tensor:
        """Put one code behind what `state` holds; gives the logits [V + 4] of the next. Changes `state`."""
        x = self.embedding.weight[code][None, None]  # [1, 1, dim]
        turn = state.turn[0][state.place:state.place + 1], state.turn[1][state.place:state.place + 1]
        for layer, past in zip(state.layers, state.pasts, strict=True):
            x = layer(x, turn, None, past)
        state.place += 1
        logits: Tensor = self.out_fnn(self.norm(x))[0, 0]
        return logits

    def _speaking(self) -> Sequence[nn.Module]:
        """Give the layers that make codes, packed once for as long as the weights stay as they are."""
        if self.config.speaks_in == "float32" or self.out_fnn.weight.device.type != "cpu":
            return list(self.layers)
        weights = tuple((w.data_ptr(), w._version) for w in self.layers.parameters())
        if weights not in self._packed:
            self._packed = {weights: packed(self.layers, self.config)}
        return self._packed[weights]

    def _cut(self, features: Features) -> Text:
        """Cut vectors [B, N, D] into parts [B, N x parts, dim]."""
        count = features.data.shape[1] * self.parts
        data = features.data.reshape(len(features.data), count, self.config.dim)
        return Text(data.to(self.out_fnn.weight.dtype), features.lengths * self.parts)

    def _numbered(self, places: Tensor, texts: int, behind: Tensor | int) -> Tensor:
        """Number places [N] for the rotary angles: `texts` of the start and the text, then the codes, from `behind` on."""
        apart, first = (self.config.pace, 0 * behind) if self.config.pace else (1, behind)
        return torch.where(places < texts, places * apart, places - texts + first)

    def _extend(self, pasts: Sequence[Past], prefix: Text) -> None:
        """Begin each layer's keys and values with those of hidden states, numbered as the text is."""
        assert self.layers_prefix is not None, "only a head with `prefix` is given hidden states"
        valid = torch.arange(prefix.data.shape[1], device=prefix.data.device) < prefix.lengths[:, None]
        x = prefix.data.to(self.out_fnn.weight.dtype)
        count = x.shape[1]
        turn = turning(self.config, self._numbered(torch.arange(count, device=x.device), count, count), x.dtype)
        for layer, past in zip(self.layers_prefix, pasts, strict=True):
            x = layer(x, turn, valid[:, None, None], past)

    def _check(self, texts: list[int], codes: Tensor) -> None:
        if 0 in texts:
            raise DataError(f"Row {texts.index(0)} of the batch has no text to speak; leave it out.")
        if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < self.bos:
            raise DataError(f"The batch has codes from {int(codes.min())} to {int(codes.max())}, but the codec has 0 to"
                            f" {self.bos - 1}; encode its speech with this codec.")


class CodeIterator:
    """The codes of one sentence, one after another, each drawn when it is asked for.

    `cut` says, when they have ended, that the sentence was longer than the head's limit.
    """

    def __init__(self, head: NarArHead, text: Text, prefix: Text | None) -> None:
        self.cut = False
        self._head, self._text, self._prefix = head, text, prefix

    @torch.inference_mode()
    def __iter__(self) -> Iterator[int]:
        head, limit = self._head, self._head.config.limit
        choice, state = Choice(head.config, head.eos), head.begin(self._text, self._prefix, limit + 1)
        code = head.sos
        for _ in range(limit):
            code = choice(head.step(code, state))
            if code == head.eos:
                return
            yield code
        self.cut = choice(head.step(code, state)) != head.eos


def _row(features: Features, row: int) -> Features:
    """Give one row alone, without its padding."""
    length = features.lengths[row:row + 1]
    return Features(features.data[row:row + 1, :int(length)], length)
