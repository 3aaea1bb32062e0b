"""Head `nar_ar`: sizes, contract and how codes are chosen. Without torch; `build` imports it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from omnikit.contracts.footprint import Footprint, Matrix, Saved, linear
from omnikit.contracts.specs import LATER, CodecSpec, FeatureSpec

if TYPE_CHECKING:
    from torch import nn

    from omnikit.contracts.types import Targets

SECONDS = 0.3  # that a token of text lasts where it is spoken, about


@dataclass(frozen=True)
class NarAr:
    """Codes of a sentence from the embeddings of its text: encoded in both directions, then decoded code by code.

    One stack of LLaMA layers does both; before it, the pre-network, half as many layers, encodes the text. A text
    embedding wider than `dim` is cut into equal parts, one behind another.

    Args:
        dim: width of its layers; must divide the width of the backbone's embedding table.
        layers: layers that take the text and then the codes; layers // 2 more make the pre-network.
        heads: attention heads.
        ffn: width inside the feed-forward layers.
        rms_eps: epsilon of the norms.
        rope_theta: base of the rotary frequencies.
        prefix: it also takes hidden states of the backbone, which layers of their own turn into keys and values before the
            text's (Freeze-Omni).
        normalize_embeddings: the parts of each embedding are brought to a mean square of 1 first. Rows of a language model's
            table may be much shorter than the embeddings of the codes that a head from random weights begins with. False: as
            the original.
        text_position_stride: codes of the codec that a part of an embedding lasts, about. The positions of the parts are then
            that far apart and those of the codes begin at 0, so that a code has nearly the position of the part that it
            pronounces, and a head from random weights soon aligns the two. 0: the parts have consecutive positions and the
            codes those behind them, as the original.
        cardinality: codes of the codec that it was made for; None takes those of the codec beside it.
        top_k: each code is drawn from this many best ones; 1 takes the best.
        seed: draws them, from the start for each sentence.
        repetition_penalty: of codes among the last `repetition_window`; 1: none.
        repetition_window: codes that the penalty looks back at; 0: none.
        repetition_mode: "usual" lowers each such code once; "original" divides its logit by the penalty as often as it occurs,
            which raises negative ones, and counts the start of the codes in the window.
        max_codes: codes of a sentence at most; a sentence that reaches it is cut and marked so.
        inference_dtype: of the matrices while it generates on a CPU from weights in float32: "bfloat16" is about twice as fast
            and "int8" four times, and their codes are not quite those of "float32". Elsewhere, and for the text, the dtype is
            that of the weights.

    Source: VITA-1.5, arXiv:2501.01957; Freeze-Omni, arXiv:2411.00774.
    """

    dim: int = 128
    layers: int = 4
    heads: int = 4
    ffn: int = 384
    rms_eps: float = 1e-6
    rope_theta: float = 10000.0
    prefix: bool = False
    normalize_embeddings: bool = field(default=False, metadata=LATER)
    text_position_stride: float = field(default=0.0, metadata=LATER)
    cardinality: int | None = None
    top_k: int = 2
    seed: int = 0
    repetition_penalty: float = 1.0
    repetition_window: int = 0
    repetition_mode: Literal["usual", "original"] = "usual"
    max_codes: int = 1000
    inference_dtype: Literal["float32", "bfloat16", "int8"] = "float32"

    def __post_init__(self) -> None:
        for name in ("dim", "layers", "heads", "ffn", "top_k", "max_codes", "cardinality"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, but must be at least 1")
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim is {self.dim}, but must be a multiple of 2 x heads ({2 * self.heads})")
        if self.rope_theta <= 0 or self.rms_eps <= 0:
            raise ValueError(f"rope_theta is {self.rope_theta} and rms_eps {self.rms_eps}, but both must be positive")
        if not 0 <= self.text_position_stride < math.inf:
            raise ValueError(f"text_position_stride is {self.text_position_stride:g}, but must be the codes that a part of the"
                             " text lasts, or 0")
        if self.repetition_penalty < 1 or self.repetition_window < 0:
            raise ValueError(f"repetition_penalty is {self.repetition_penalty:g} with repetition_window"
                             f" {self.repetition_window}, but must be at least 1 with at least 0")

    @property
    def tap(self) -> str:
        """It reads the embedding table, at the tokens of the text as it is spoken."""
        return "embedding"

    @property
    def context(self) -> str | None:
        """What it taps beside."""
        return "hidden" if self.prefix else None

    @property
    def target(self) -> str:
        """It learns the codes of the answer's speech."""
        return "codes"

    @property
    def alignment(self) -> str:
        """With `prefix`: the states that predicted the text's tokens, which are at hand when they are written."""
        return "predicts"

    def reads(self, source: FeatureSpec) -> str | None:
        """Give why it cannot read embeddings of this hidden size; None if it can."""
        if source.dim % self.dim:
            return (f"it cuts embeddings into parts of size {self.dim}, of which {source.dim} is not a multiple; set its dim to"
                    " a divisor")
        return None

    def codes(self, codec: CodecSpec) -> str | None:
        """Say why this head cannot emit this codec's codes; None if it can."""
        if codec.codebooks != 1:
            return f"it emits one codebook, but the codec has {codec.codebooks}"
        if self.cardinality is not None and codec.cardinality != self.cardinality:
            return f"it was made for {self.cardinality} codes, but the codec has {codec.cardinality}"
        return None

    def unreachable(self, vectors: int, ids: Sequence[int]) -> str | None:
        """Say why it could never learn `ids` from so many tokens."""
        return None if vectors else f"its speech is {len(ids)} codes, but there is no text to make them of"

    def footprint(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> Footprint:
        """Give how large it is; a unit is a token of the answer, which is some parts of text and the codes that it lasts."""
        dim, ffn, codes = self.dim, self.ffn, (codec.cardinality if codec else 0) + 4
        stacks = self.layers + self.layers // 2 + self.layers * self.prefix
        parts, spoken = source.dim // dim, SECONDS * float(codec.rate if codec else 0)
        layer = 4 * dim**2 + 3 * dim * ffn + 2 * dim
        return Footprint(
            codes * dim + stacks * layer + dim + linear(dim, codes), layers=stacks, width=(parts + spoken) * dim,
            layer=Saved(2 * dim, 8 * dim + 4 * ffn).times(parts + spoken),
            outside=Saved(2 * dim + 3 * codes, codes).times(spoken), square=self.heads,
            matrices=(Matrix(4 * stacks, dim, dim), Matrix(2 * stacks, dim, ffn), Matrix(stacks, ffn, dim)))

    def loss_count(self, targets: Targets) -> float:
        """Give the codes and the end of each row."""
        return float(targets.lengths.sum()) + len(targets.lengths)

    def build(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> nn.Module:
        """Give the module; the vocabulary of text does not matter to it."""
        from omnikit_vita.nar_ar_model import NarArHead

        if codec is None:
            raise ValueError("head nar_ar has no codec, but needs one beside it for its codes")
        return NarArHead(self, source.dim // self.dim, codec.cardinality)
