"""An encoder-decoder of transformers as embed → hidden → logits over one sequence: the prompt, then the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BartConfig, BartForConditionalGeneration, PreTrainedModel, T5Config, T5ForConditionalGeneration
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from omnikit.contracts.layout import InputLayout
from omnikit.errors import ConfigError, DataError
from omnikit.ops.empty import loads_weights
from omnikit_hf.encoder_decoder_config import HFEncoderDecoder


@dataclass
class DecoderState:
    """What the decoder attends to: the encoder's states [B, E, D] with their mask [B, E], and its own keys and values so far.

    None before the prompts were read.
    """

    memory: Tensor | None = None
    mask: Tensor | None = None
    cache: EncoderDecoderCache | None = None


class EncoderDecoderBackbone(nn.Module):
    """Owns `shared`, `encoder`, `decoder` and, where it is not the table, `lm_head`.

    The hidden state at position p is the decoder's behind the token at p; at the prompt's last position it is that behind the
    decoder's start token. Hidden states before that are zeros, which nothing predicts from.
    """

    def __init__(self, config: HFEncoderDecoder) -> None:
        super().__init__()
        whole = _loaded(config) if config.weights and loads_weights() else _fresh(config)
        body: nn.Module = whole.model if isinstance(whole, BartForConditionalGeneration) else whole
        table = body.get_submodule("shared")
        assert isinstance(table, nn.Embedding), "of that class"
        self.shared, self.encoder, self.decoder = table, body.get_submodule("encoder"), body.get_submodule("decoder")
        for stack in (self.encoder, self.decoder):
            stack.embed_tokens = None  # type: ignore[assignment]  # one table; both take vectors
        head = whole.get_output_embeddings()  # type: ignore[no-untyped-call]  # transformers has none here
        if not config.tie_embeddings and head.weight is self.shared.weight:  # its own class ties both
            head = nn.Linear(config.dim, config.vocabulary, bias=False, dtype=self.shared.weight.dtype)
        self.lm_head: nn.Module | None = None if head.weight is self.shared.weight else head
        self.direct_weights = ("shared",) if self.lm_head is None else ()  # it is the output matrix too
        bias = getattr(whole, "final_logits_bias", None)
        self.register_buffer("final_logits_bias", bias)
        self.final_logits_bias: Tensor | None
        self.factor = config.dim**-0.5 if config.scaled else 1.0
        self.start = config.start

    def embed(self, tokens: Tensor) -> Tensor:
        """tokens [B, L] to vectors [B, L, D]."""
        return cast(Tensor, self.shared(tokens))

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] to logits [..., V]."""
        scaled = hidden if self.factor == 1.0 else hidden * self.factor
        logits = F.linear(scaled, self.shared.weight) if self.lm_head is None else cast(Tensor, self.lm_head(scaled))
        return logits if self.final_logits_bias is None else logits + self.final_logits_bias[0]

    def forward(self, inputs: Tensor, mask: Tensor, documents: Tensor | None = None, *,
                layout: InputLayout | None = None) -> Tensor:
        """inputs [B, L, D] and mask [B, L], rows padded on the right, to hidden [B, L, D].

        Raises:
            DataError: a row has media behind its first answer (asked for on the CPU only).
        """
        assert layout is not None, "its configuration takes a layout"
        prompts, length = layout.prompts, inputs.shape[1]
        positions = torch.arange(length, device=inputs.device)
        read = mask & (positions < prompts[:, None])
        if inputs.device.type == "cpu" and bool((layout.spliced & ~read & mask).any()):
            raise DataError("A row has media behind its first answer, but hf_encoder_decoder reads media in the prompt only;"
                            " cut the conversation there.")
        memory = self._encode(inputs, read)
        steps = positions - (prompts[:, None] - 1)  # [B, L], the decoder's position at each of ours
        order = (prompts[:, None] - 1 + positions).clamp(max=length - 1)  # [B, L], our position at each of the decoder's
        given = inputs.gather(1, order[..., None].expand_as(inputs))
        given = torch.cat([self._start(inputs), given[:, 1:]], dim=1)
        hidden = self._decode(given, memory, read, None)
        found = hidden.gather(1, steps.clamp(min=0)[..., None].expand_as(hidden))
        return found * (steps >= 0)[..., None]

    def init_state(self, batch: int, layout: InputLayout | None = None) -> DecoderState:
        """Give the state of rows of which nothing was read; the first step takes their prompts as a whole."""
        return DecoderState()

    def step(self, inputs: Tensor, mask: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """inputs [B, N, D] after what `state` holds, mask [B, past + N]; gives hidden [B, N, D]. Changes `state`."""
        if state.memory is None:
            order = mask.long().argsort(dim=1, descending=True, stable=True)  # padding goes to the right: positions are counted
            state.mask = mask.gather(1, order)
            state.memory = self._encode(inputs.gather(1, order[..., None].expand_as(inputs)), state.mask)
            state.cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
            hidden = self._decode(self._start(inputs), state.memory, state.mask, state.cache)
            return F.pad(hidden, (0, 0, inputs.shape[1] - 1, 0)), state
        assert state.mask is not None, "set with the memory"
        return self._decode(inputs, state.memory, state.mask, state.cache), state

    def _start(self, inputs: Tensor) -> Tensor:
        """Give the vector of the start token for each row, [B, 1, D]."""
        return self.embed(torch.full((len(inputs), 1), self.start, device=inputs.device)).to(inputs.dtype)

    def _encode(self, inputs: Tensor, mask: Tensor) -> Tensor:
        result = self.encoder(inputs_embeds=inputs, attention_mask=mask.long())
        return cast(Tensor, result.last_hidden_state)

    def _decode(self, inputs: Tensor, memory: Tensor, mask: Tensor, cache: EncoderDecoderCache | None) -> Tensor:
        result = self.decoder(inputs_embeds=inputs, encoder_hidden_states=memory, encoder_attention_mask=mask.long(),
                              past_key_values=cache, use_cache=cache is not None)
        return cast(Tensor, result.last_hidden_state)


def facts(config: HFEncoderDecoder) -> T5Config | BartConfig:
    """Give transformers' configuration of these sizes."""
    if config.model_type == "t5":
        return T5Config(
            vocab_size=config.vocabulary, d_model=config.dim, d_kv=config.head_dim, d_ff=config.ffn, num_layers=config.layers,
            num_decoder_layers=config.decoder_layers, num_heads=config.heads, dropout_rate=0.0,
            feed_forward_proj="gated-gelu" if config.gated else "relu")
    return BartConfig(
        vocab_size=config.vocabulary, d_model=config.dim, encoder_layers=config.layers, decoder_layers=config.decoder_layers,
        encoder_attention_heads=config.heads, decoder_attention_heads=config.heads, encoder_ffn_dim=config.ffn,
        decoder_ffn_dim=config.ffn, max_position_embeddings=config.context, dropout=0.0)


def _fresh(config: HFEncoderDecoder) -> PreTrainedModel:
    cls = T5ForConditionalGeneration if config.model_type == "t5" else BartForConditionalGeneration
    model = cls(facts(config))  # type: ignore[arg-type]  # each with its own
    return cast(PreTrainedModel, model.to(getattr(torch, config.dtype)))


def _loaded(config: HFEncoderDecoder) -> PreTrainedModel:
    """Give the model of the folder `weights`; raises ConfigError where it holds another one."""
    cls = T5ForConditionalGeneration if config.model_type == "t5" else BartForConditionalGeneration
    try:
        found: object = cls.from_pretrained(config.weights, config=facts(config), local_files_only=True,
                                            dtype=getattr(torch, config.dtype), output_loading_info=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise ConfigError(f"backbone.weights {config.weights} does not fit a {config.model_type} of these sizes ({reason});"
                          " give the folder that save_pretrained wrote and the sizes of its config.json.") from error
    assert isinstance(found, tuple), "of the model and what was loaded"
    if missing := sorted(found[1]["missing_keys"]):
        raise ConfigError(f"backbone.weights {config.weights} lacks {len(missing)} tensors, {missing[0]} first; give the folder"
                          f" of a complete {config.model_type}.")
    return cast(PreTrainedModel, found[0])
