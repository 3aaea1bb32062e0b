"""VITA-1.5's speech decoder: text embeddings in, codes out. Uses no text, no backbone and no waveform.

Names of its public checkpoint (decoder/final.pt). Of V codes, V begins the text, V + 1 begins the codes, V + 2 ends them
and V + 3 is padding. Source: arXiv:2501.01957.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnikit.contracts.codes import Code
from omnikit.contracts.types import Features, Targets
from omnikit.errors import DataError
from omnikit.ops.kv_cache import ConcatKVCache, FixedKVCache, KVCache
from omnikit.ops.llama_layer import LlamaLayer
from omnikit.ops.rotary import RotaryAngles, rotary_angles, rotary_frequencies
from omnikit.ops.weight_cache import WeightCache
from omnikit_vita.nar_ar import NarAr
from omnikit_vita.nar_ar_sampling import CodeSampler
from omnikit_vita.nar_ar_step import InferenceDtype, StepHead

PADDING = -100  # of targets


@dataclass
class TextEmbeddings:
    """Text embeddings [B, T, dim], cut into parts, with the valid ones of each row, `lengths` [B]."""

    data: Tensor
    lengths: Tensor


@dataclass
class GenerationState:
    """State of one sentence while its codes are generated, changed by `step`.

    Args:
        layers: that make the codes.
        classes: from the last layer's frame to logits.
        caches: keys and values of each layer.
        angles: rotary angles of all positions.
        position: of the next code.
    """

    layers: Sequence[Callable[..., Tensor]]
    classes: Callable[[Tensor], Tensor]
    caches: Sequence[FixedKVCache]
    angles: RotaryAngles
    position: int


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
        self.layers_pre_nn = nn.ModuleList(_layer(config) for _ in range(config.layers // 2))
        self.layers = nn.ModuleList(_layer(config) for _ in range(config.layers))
        self.layers_prefix = nn.ModuleList(_layer(config) for _ in range(config.layers)) if config.prefix else None
        self.direct_weights = ("embedding",)
        last = f"layers_prefix[{config.layers - 1}]"  # of which only keys and values are read
        self.unused_parameters = tuple(f"{last}.{name}" for name in (
            "self_attn.q_proj", "self_attn.o_proj", "post_attention_layernorm", "mlp") if config.prefix)
        self.norm = nn.RMSNorm(config.dim, config.rms_eps)
        self.out_fnn = nn.Linear(config.dim, codes + 4)
        self._step_heads: WeightCache[dict[InferenceDtype, StepHead]] = WeightCache()

    # ---- training ----

    def forward(self, text: TextEmbeddings, codes: Tensor, prefix: TextEmbeddings | None = None, *,
                padded: bool = False) -> Tensor:
        """Classify what follows each code of a batch.

        Args:
            text: of each row.
            codes: [B, U] codes before each, the start first; padding on the right is any id.
            prefix: hidden states of each row, cut as the text.
            padded: True numbers the codes behind the padded text, as the original does; else behind the row's own. With
                `text_position_stride` they are numbered from 0.

        Returns:
            logits [B, U, V + 4].
        """
        read = self.read(text)  # [B, T, dim]
        first = self.embedding.weight[self.bos].to(read.dtype).expand(len(read), 1, -1)
        x = torch.cat([first, read, self.embedding(codes).to(read.dtype)], 1)  # [B, 1 + T + U, dim]
        texts, count = 1 + read.shape[1], codes.shape[1]
        indices = torch.arange(texts + count, device=x.device)
        behind = torch.full_like(text.lengths, texts) if padded else text.lengths + 1  # [B], where the codes begin
        positions = self._positions(indices, texts, behind[:, None])  # [B, 1 + T + U]
        attended = (indices <= text.lengths[:, None]) | (indices >= texts)  # [B, keys]
        later = (indices >= texts) & (indices > indices[:, None])  # [queries, keys]: codes that come later, or after the text
        mask = (attended[:, None] & ~later)[:, None]  # [B, 1, queries, keys]
        caches = [ConcatKVCache() for _ in self.layers]
        if prefix is not None:
            self._extend(caches, prefix)
            known = torch.arange(prefix.data.shape[1], device=x.device) < prefix.lengths[:, None]
            mask = torch.cat([known[:, None, None].expand(-1, -1, mask.shape[2], -1), mask], -1)
        angles = self._angles(positions[:, None], x.dtype)  # [B, 1, 1 + T + U, head width / 2]
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer(x, angles, mask, cache)
        logits: Tensor = self.out_fnn(self.norm(x[:, texts:]))
        return logits

    def read(self, text: TextEmbeddings) -> Tensor:
        """Run the pre-network over texts [B, T, dim]; each embedding of a row attends to all of its row."""
        valid = torch.arange(text.data.shape[1], device=text.data.device) < text.lengths[:, None]
        x = text.data.to(self.out_fnn.weight.dtype)
        if self.config.normalize_embeddings:
            x = F.rms_norm(x, (self.config.dim,), eps=self.config.rms_eps)
        angles = self._angles(torch.arange(x.shape[1], device=x.device), x.dtype)
        for layer in self.layers_pre_nn:
            x = layer(x, angles, valid[:, None, None])
        return x

    def loss(self, features: Features, targets: Targets, context: Features | None = None) -> Tensor:
        """Cross-entropy of the batch's codes and ends, divided by their number, in float32.

        Raises:
            DataError: a row has no text, or codes that are none of the codec's.
        """
        ids, lengths = targets.ids[..., 0], targets.lengths  # one codebook
        valid = torch.arange(ids.shape[1] + 1, device=ids.device) < lengths[:, None]  # [B, U + 1], of what stands before one
        if ids.device.type == "cpu":  # an accelerator would be waited for, and the collator looks at rows and codes too
            self._check(features.lengths.tolist(), ids[valid[:, :-1]])
        given = torch.cat([ids.new_full((len(ids), 1), self.sos), ids], 1).masked_fill(
            ~torch.cat([valid[:, :1] | True, valid[:, :-1]], 1), self.pad)
        wanted = torch.cat([ids, ids.new_full((len(ids), 1), PADDING)], 1).masked_fill(~valid, PADDING)
        wanted = wanted.scatter(1, lengths[:, None], self.eos)
        logits = self(self._cut(features), given, None if context is None else self._cut(context))
        return F.cross_entropy(logits.float().flatten(0, 1), wanted.flatten(), ignore_index=PADDING)

    # ---- inference ----

    def decode(self, features: Features, context: Features | None = None) -> list[list[Code]]:
        """Give the codes of each row, each drawn as if it were alone: the very codes that `speak` gives."""
        return [list(self.speak(_row(features, row), None if context is None else _row(context, row)))
                for row in range(len(features.data))]

    def speak(self, features: Features, context: Features | None = None) -> CodeIterator:
        """Begin to speak one sentence [1, N, D]; the codes come one by one."""
        return CodeIterator(self, self._cut(features), None if context is None else self._cut(context))

    def begin(self, text: TextEmbeddings, prefix: TextEmbeddings | None, room: int) -> GenerationState:
        """Read a text [1, T, dim] into keys and values with capacity for `room` codes, the start included."""
        read = self.read(text)
        x = torch.cat([self.embedding.weight[self.bos][None, None], read], 1)  # [1, 1 + T, dim]
        before, count = 0 if prefix is None else prefix.data.shape[1], x.shape[1]
        capacity = before + count + room
        caches = [FixedKVCache(capacity) for _ in self.layers]
        if prefix is not None:
            self._extend(caches, prefix)
        angles = self._angles(self._positions(torch.arange(count + room, device=x.device), count, count), x.dtype)
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer(x, angles.between(0, count), None, cache)
        return GenerationState(*self._generating(), caches, angles, count)

    def step(self, code: int, state: GenerationState) -> Tensor:
        """Put one code behind those of `state`; gives the logits [V + 4] of the next. Changes `state`."""
        x = self.embedding.weight[code][None, None]  # [1, 1, dim]
        angles = state.angles.between(state.position, state.position + 1)
        for layer, cache in zip(state.layers, state.caches, strict=True):
            x = layer(x, angles, None, cache)
        state.position += 1
        return state.classes(self.norm(x))[0, 0]

    def _generating(self) -> tuple[Sequence[Callable[..., Tensor]], Callable[[Tensor], Tensor]]:
        """Give layers and classes that make codes, on a CPU prepared once for as long as the weights stay the same."""
        if self.out_fnn.weight.device.type != "cpu" or self.out_fnn.weight.dtype != torch.float32:
            return list(self.layers), self.out_fnn
        prepared, dtype = self._step_heads.get(self, dict), self.config.inference_dtype
        if dtype not in prepared:
            prepared[dtype] = StepHead(self.layers, self.out_fnn, dtype)
        return prepared[dtype].layers, prepared[dtype].classes

    def _cut(self, features: Features) -> TextEmbeddings:
        """Cut embeddings [B, N, D] into parts [B, N x parts, dim]."""
        count = features.data.shape[1] * self.parts
        data = features.data.reshape(len(features.data), count, self.config.dim)
        return TextEmbeddings(data.to(self.out_fnn.weight.dtype), features.lengths * self.parts)

    def _angles(self, positions: Tensor, dtype: torch.dtype) -> RotaryAngles:
        frequencies = rotary_frequencies(self.config.dim // self.config.heads, self.config.rope_theta, positions.device)
        return rotary_angles(positions, frequencies, dtype)

    def _positions(self, indices: Tensor, texts: int, behind: Tensor | int) -> Tensor:
        """Give rotary positions of indices [N]: `texts` of the start and the text, then the codes, from `behind` on."""
        apart, first = (self.config.text_position_stride, 0 * behind) if self.config.text_position_stride else (1, behind)
        return torch.where(indices < texts, indices * apart, indices - texts + first)

    def _extend(self, caches: Sequence[KVCache], prefix: TextEmbeddings) -> None:
        """Begin each layer's keys and values with those of hidden states, numbered as the text is."""
        assert self.layers_prefix is not None, "only a head with `prefix` is given hidden states"
        valid = torch.arange(prefix.data.shape[1], device=prefix.data.device) < prefix.lengths[:, None]
        x = prefix.data.to(self.out_fnn.weight.dtype)
        count = x.shape[1]
        angles = self._angles(self._positions(torch.arange(count, device=x.device), count, count), x.dtype)
        for layer, cache in zip(self.layers_prefix, caches, strict=True):
            x = layer(x, angles, valid[:, None, None], cache)

    def _check(self, texts: list[int], codes: Tensor) -> None:
        if 0 in texts:
            raise DataError(f"Row {texts.index(0)} of the batch has no text to speak; leave it out.")
        if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < self.bos:
            raise DataError(f"The batch has codes from {int(codes.min())} to {int(codes.max())}, but the codec has 0 to"
                            f" {self.bos - 1}; encode its speech with this codec.")


class CodeIterator:
    """The codes of one sentence, one after another, each drawn when it is asked for.

    `cut` is True, when they have ended, if the sentence was longer than the head's `max_codes`.
    """

    def __init__(self, head: NarArHead, text: TextEmbeddings, prefix: TextEmbeddings | None) -> None:
        self.cut = False
        self._head, self._text, self._prefix = head, text, prefix

    @torch.inference_mode()
    def __iter__(self) -> Iterator[Code]:
        head, limit = self._head, self._head.config.max_codes
        sampler, state = CodeSampler(head.config, head.eos), head.begin(self._text, self._prefix, limit + 1)
        code = head.sos
        for _ in range(limit):
            code = sampler(head.step(code, state))
            if code == head.eos:
                return
            yield (code,)
        self.cut = sampler(head.step(code, state)) != head.eos


def _layer(config: NarAr) -> LlamaLayer:
    return LlamaLayer(config.dim, config.heads, config.ffn, config.rms_eps)


def _row(features: Features, row: int) -> Features:
    """Give one row alone, without its padding."""
    length = features.lengths[row:row + 1]
    return Features(features.data[row:row + 1, :int(length)], length)
