"""Head `nar_ar`: sizes, contract and how codes are chosen. Knows no torch; `build` imports it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from omnikit.contracts.specs import LATER, CodecSpec, FeatureSpec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class NarAr:
    """Codes of a sentence from the embeddings of its text: read in both directions, then spoken code by code.

    One stack of LLaMA layers does both; half as many layers of its own read the text before, the pre-network. A text
    embedding wider than `dim` is cut into equal parts, one behind another.

    Args:
        dim: width of its layers; must divide the width of the backbone's embedding table.
        layers: layers that read the text and go on with the codes; layers // 2 more make the pre-network.
        heads: attention heads.
        ffn: width inside the feed-forward layers.
        rms_eps: epsilon of the norms.
        rope_theta: base of the rotary frequencies.
        prefix: it also takes hidden states of the backbone, which layers of their own turn into keys and values before the
            text's (Freeze-Omni).
        normed: the parts of each embedding are brought to a mean square of 1 first. Rows of a language model's table may be
            much shorter than the vectors of the codes that a head from random weights begins with. False: as the original.
        pace: codes of the codec that a part of an embedding lasts, about. Parts are then numbered that far apart and the
            codes from 0 on, so that a code has nearly the number of the part that it says, and a head from random weights
            soon finds its place in the text. 0: parts are numbered one by one and the codes behind them, as the original.
        cardinality: codes of the codec that it was made for; None takes those of the codec beside it.
        top_k: each code is drawn from this many best ones; 1 takes the best.
        seed: draws them, anew for each sentence.
        penalty: of codes among the last `window`; 1 leaves them alone.
        window: codes that the penalty looks back at; 0: none.
        penalty_as: "usual" lowers each such code once; "original" divides its logit by the penalty as often as it occurs,
            which raises negative ones, and counts the start of the codes in the window.
        limit: codes of a sentence at most; a sentence that reaches it is cut, and that is said.
        speaks_in: number format of the matrices while it speaks on a CPU: "int8" is several times as fast and its codes are
            not quite those of "float32". A GPU and the reading of the text are as the weights are.

    Source: VITA-1.5, arXiv:2501.01957; Freeze-Omni, arXiv:2411.00774.
    """

    dim: int = 128
    layers: int = 4
    heads: int = 4
    ffn: int = 384
    rms_eps: float = 1e-6
    rope_theta: float = 10000.0
    prefix: bool = False
    normed: bool = field(default=False, metadata=LATER)
    pace: float = field(default=0.0, metadata=LATER)
    cardinality: int | None = None
    top_k: int = 2
    seed: int = 0
    penalty: float = 1.0
    window: int = 0
    penalty_as: Literal["usual", "original"] = "usual"
    limit: int = 1000
    speaks_in: Literal["float32", "int8"] = "float32"

    def __post_init__(self) -> None:
        for name in ("dim", "layers", "heads", "ffn", "top_k", "limit", "cardinality"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, but must be at least 1")
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim is {self.dim}, but must be a multiple of 2 x heads ({2 * self.heads})")
        if self.rope_theta <= 0 or self.rms_eps <= 0:
            raise ValueError(f"rope_theta is {self.rope_theta} and rms_eps {self.rms_eps}, but both must be positive")
        if not 0 <= self.pace < math.inf:
            raise ValueError(f"pace is {self.pace:g}, but must be the codes that a part of the text lasts, or 0")
        if self.penalty < 1 or self.window < 0:
            raise ValueError(f"penalty is {self.penalty:g} with window {self.window}, but must be at least 1 with at least 0")

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
        """Say why it cannot read embeddings so wide; None if it can."""
        if source.dim % self.dim:
            return (f"it cuts embeddings into parts {self.dim} wide, which {source.dim} is no multiple of; set its dim to a"
                    " divisor")
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

    def build(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> nn.Module:
        """Give the module; the vocabulary of text does not matter to it."""
        from omnikit_vita.nar_ar_model import NarArHead

        if codec is None:
            raise ValueError("head nar_ar has no codec, but needs one beside it to know its codes")
        return NarArHead(self, source.dim // self.dim, codec.cardinality)
