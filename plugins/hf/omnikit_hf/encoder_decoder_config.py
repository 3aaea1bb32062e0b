"""Backbone `hf_encoder_decoder`: the sizes of a T5 or a BART. Uses no torch; `build` imports it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from omnikit.contracts.footprint import Footprint
from omnikit.contracts.specs import LATER

if TYPE_CHECKING:
    from torch import nn

POSITIVE = ("dim", "layers", "decoder_layers", "heads", "head_dim", "ffn", "vocabulary", "context")
BUCKETS = 32  # of T5's relative positions


@dataclass(frozen=True)
class HFEncoderDecoder:
    """T5 or BART of transformers: the encoder reads the prompt with the embeddings of media, the decoder writes the answer.

    All that stands before a row's first answer goes through the encoder; what follows, later turns too, is the decoder's, which
    takes no media. The decoder's state behind its start token predicts the first token of the answer.

    Args:
        model_type: architecture by transformers' name: t5 (FLAN-T5 too) or bart.
        weights: folder that transformers' save_pretrained wrote; None for random weights.
        dim: hidden size.
        layers: of the encoder.
        decoder_layers: of the decoder.
        heads: attention heads.
        head_dim: width of each; of BART dim / heads.
        ffn: width inside the feed-forward layers.
        gated: the feed-forward layers are gated (T5 v1.1 and FLAN-T5: GELU), else plain (T5: ReLU; BART: GELU).
        scaled: logits are of hidden states times dim ** -0.5 (T5; not T5 v1.1 and FLAN-T5).
        vocabulary: rows of the embedding table.
        tie_embeddings: the output matrix is the embedding table; of BART always.
        context: positions of the encoder, and of the decoder.
        start: id that the decoder begins with (decoder_start_token_id): 0 of T5, 2 of BART.
        dtype: of the weights.
        template: how conversations become text, by name.
        tokenizer: a tokenizer by name, folder, file, or id in the local cache.
        specials: special tokens of this tokenizer; the template's must be among them.
        ends: ids that end an answer, beside the template's end.

    Source: arXiv:1910.10683, arXiv:2210.11416 and arXiv:1910.13461, by transformers' code.
    """

    model_type: Literal["t5", "bart"] = "t5"
    weights: str | None = None
    dim: int = 128
    layers: int = 2
    decoder_layers: int = 2
    heads: int = 4
    head_dim: int = 32
    ffn: int = 256
    gated: bool = True
    scaled: bool = False
    vocabulary: int = 665
    context: int = 512
    start: int = 0
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    template: str = "llama_3"
    tokenizer: str = "tiny"
    specials: tuple[str, ...] = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    ends: tuple[int, ...] = field(default=(), metadata=LATER)
    tie_embeddings: bool = field(default=True, metadata=LATER)

    takes_layout = True

    def __post_init__(self) -> None:
        for name in POSITIVE:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")
        if not 0 <= self.start < self.vocabulary:
            raise ValueError(f"start is {self.start}, but must be an id below {self.vocabulary}, the vocabulary")
        if self.model_type == "bart" and (self.gated or self.scaled or self.heads * self.head_dim != self.dim):
            raise ValueError("of a bart gated and scaled must be false, and heads x head_dim must be dim")
        if self.model_type == "bart" and not self.tie_embeddings:
            raise ValueError("tie_embeddings is false, but the output matrix of a bart is its embedding table; leave it out")

    def footprint(self) -> Footprint:
        """Give how large it is."""
        dim, inner, ffn = self.dim, self.heads * self.head_dim, self.ffn
        if self.model_type == "t5":
            feed = (3 if self.gated else 2) * dim * ffn
            encoder = self.layers * (4 * dim * inner + feed + 2 * dim)
            decoder = self.decoder_layers * (8 * dim * inner + feed + 3 * dim)
            around = 2 * dim + 2 * BUCKETS * self.heads
        else:
            feed = 2 * dim * ffn + ffn + dim
            encoder = self.layers * (4 * (dim**2 + dim) + feed + 4 * dim)
            decoder = self.decoder_layers * (8 * (dim**2 + dim) + feed + 6 * dim)
            around = 2 * (self.context + 2) * dim + 4 * dim  # positions, which begin at 2, and a norm behind them
        tables = (1 if self.tie_embeddings else 2) * self.vocabulary * dim
        return Footprint(encoder + decoder + around + tables, dtype=self.dtype)

    def build(self) -> nn.Module:
        """Give the module; raises ConfigError if the weights do not fit."""
        from omnikit_hf.encoder_decoder import EncoderDecoderBackbone

        return EncoderDecoderBackbone(self)
