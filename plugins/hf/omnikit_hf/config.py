"""Backbone `hf`: the sizes of a causal language model. Uses no torch; `build` imports it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from omnikit.contracts.footprint import Footprint, Matrix, Saved
from omnikit.contracts.specs import LATER
from omnikit_hf.folder import folder_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from omnikit.contracts.folders import FolderValue

POSITIVE = ("dim", "layers", "heads", "kv_heads", "ffn", "vocabulary", "context", "rope_original", "experts_per_token")

BIASED = ("qwen2", "qwen2_moe")  # their queries, keys and values have biases
NORMED = ("qwen3", "qwen3_moe")  # their queries and keys have norms
PLAIN = ("gpt_neox", "opt")  # layers of LayerNorms and two matrices behind attention, biases everywhere
OPT_OFFSET = 2  # rows of its table of positions before the first one
IMPORTS = 46 * 2**20  # bytes of transformers' modelling code in a process

# architectures whose packed conversations were found to be isolated, with every kernel. Not so: those that count positions
# themselves (opt, bloom, falcon), and those whose layers carry a state over the positions (mamba, minimax, qwen3_next, lfm2)
PACKED = ("arcee", "ernie4_5", "exaone4", "gemma", "gemma3_text", "glm", "glm4", "gpt2", "gpt_neox", "granite", "llama",
          "mistral", "mixtral", "nemotron", "olmo", "olmo2", "olmo3", "olmoe", "persimmon", "phi", "phi3", "phimoe", "qwen2",
          "qwen2_moe", "qwen3", "qwen3_moe", "seed_oss", "smollm3", "stablelm", "starcoder2")
MASKED = ("nemotron", "stablelm")  # of these, those that hand nothing on to our kernel: a mask of all positions isolates them


@dataclass(frozen=True)
class HF:
    """Any AutoModelForCausalLM of transformers, cut at its hidden states.

    Args:
        model_type: architecture by transformers' name: llama, qwen2, mixtral, …
        weights: folder of a checkpoint, or a model id that is already in the local cache; None for random weights. Its files
            state all other fields, over a preset's values; a recipe's own that contradict them are refused.
        dim: hidden size.
        layers: transformer layers.
        heads: attention heads.
        kv_heads: heads of keys and values, shared by groups of heads.
        ffn: width inside the feed-forward layers.
        vocabulary: rows of the embedding table, at least the tokenizer's size.
        context: positions.
        rms_eps: epsilon of the norms.
        rope_theta: base of the rotary position frequencies.
        rope_factor: llama3 scaling of the low frequencies; None for no scaling.
        rope_low: llama3 scaling: wavelengths above rope_original / rope_low are scaled fully.
        rope_high: llama3 scaling: wavelengths below rope_original / rope_high are not scaled.
        rope_original: llama3 scaling: positions before it.
        tie_embeddings: the output matrix is the embedding table.
        experts: experts of each layer (Mixtral); 0 for a dense model.
        experts_per_token: experts that a token passes.
        dtype: of the weights; a stage that trains them holds them in float32 meanwhile.
        attention: transformers' name of the attention kernel.
        checkpointing: has moved to a stage's `trainer.activation_checkpointing`; must be false.
        head_dim: width of a head; None: dim / heads.
        template: name of its native template; "auto" renders the chat template of the tokenizer's folder.
        tokenizer: a tokenizer by name (`conf/tokenizer`), folder, file, or id in the local cache.
        specials: special tokens of this tokenizer.
        ends: ids that end an answer, beside the template's end (eos_token_id of generation_config.json).
        weights_prefix: what a wrapper around the model put before the names of these weights; tensors without it are left out.
        adapter: folder of a LoRA adapter as PEFT writes it, added to the weights.
        config_keys: what else the architecture's config.json holds, by its names there; these come after the other fields.
    """

    model_type: str = "llama"
    weights: str | None = None
    dim: int = 128
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 384
    vocabulary: int = 665
    context: int = 512
    rms_eps: float = 1e-5
    rope_theta: float = 10000.0
    rope_factor: float | None = None
    rope_low: float = 1.0
    rope_high: float = 4.0
    rope_original: int = 8192
    tie_embeddings: bool = False
    experts: int = 0
    experts_per_token: int = 2
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    attention: Literal["sdpa", "eager", "flash_attention_2", "flex_attention"] = "sdpa"
    checkpointing: bool = False
    template: str = "llama_3"
    tokenizer: str = "tiny"
    specials: tuple[str, ...] = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    ends: tuple[int, ...] = field(default=(), metadata=LATER)
    adapter: str | None = field(default=None, metadata=LATER)
    head_dim: int | None = field(default=None, metadata=LATER)
    weights_prefix: str = field(default="", metadata=LATER)
    config_keys: dict[str, object] = field(default_factory=dict, metadata=LATER)

    def __post_init__(self) -> None:
        if self.checkpointing:
            raise ValueError("checkpointing has moved; set trainer.activation_checkpointing=[backbone] of a stage instead")
        for name in POSITIVE:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")
        if min(self.ends, default=0) < 0:
            raise ValueError(f"ends holds {min(self.ends)}, but ids are at least 0")
        if self.adapter and not self.weights:
            raise ValueError(f"adapter is {self.adapter}, but weights names no checkpoint that it could be added to")
        if self.head_dim is not None and self.head_dim < 1:
            raise ValueError(f"head_dim is {self.head_dim}, but must be at least 1")
        if self.head_dim is None and self.dim % (2 * self.heads):
            raise ValueError(f"dim is {self.dim}, but must be a multiple of 2 x heads ({2 * self.heads})")
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads is {self.kv_heads}, but must divide heads ({self.heads})")
        if self.experts < 0 or (self.experts and self.experts_per_token > self.experts):
            raise ValueError(f"experts is {self.experts}, but must be 0 or at least experts_per_token"
                             f" ({self.experts_per_token})")
        if self.rope_theta <= 0 or self.rms_eps <= 0:
            raise ValueError(f"rope_theta is {self.rope_theta} and rms_eps {self.rms_eps}, but both must be positive")
        if self.rope_factor is not None and not (self.rope_factor >= 1 and 0 < self.rope_low < self.rope_high):
            raise ValueError(f"rope_factor is {self.rope_factor} with rope_low {self.rope_low} and rope_high"
                             f" {self.rope_high}, but must be at least 1 with 0 < rope_low < rope_high")

    @property
    def packs(self) -> bool:
        """Its module takes `documents`."""
        return self.model_type in PACKED

    def footprint(self) -> Footprint:
        """Give how large it is; of families that are not like LLaMA it is near rather than exact.

        What a layer keeps was measured with transformers 5.23: 10 dim + 4 ffn values for a position, of which 7 dim stay
        float32 under autocast.
        """
        head, layers = self.head_dim or self.dim // self.heads, self.layers
        kv, query = head * self.kv_heads, head * self.heads
        biases = (query + 2 * kv) * (self.model_type in BIASED) + 2 * head * (self.model_type in NORMED)
        layer = (2 * self.dim * (query + kv) + 3 * max(1, self.experts) * self.dim * self.ffn + 2 * self.dim + biases
                 + self.experts * self.dim)
        tables, norm = self.vocabulary * self.dim * (1 if self.tie_embeddings else 2), self.dim
        if self.model_type in PLAIN:
            layer, norm = 4 * self.dim * (self.dim + 1) + 2 * self.dim * self.ffn + self.ffn + 5 * self.dim, 2 * self.dim
            tables += (self.context + OPT_OFFSET) * self.dim * (self.model_type == "opt")
        ffn = (Matrix(2 * layers, self.dim, self.ffn), Matrix(layers, self.ffn, self.dim))
        return Footprint(
            parameters=layers * layer + tables + norm, layers=layers, width=self.dim, layer=self._saved(),
            outside=Saved(2.5 * self.dim), square=1 + 2 * self.heads * (self.attention == "eager"),
            matrices=(Matrix(2 * layers, self.dim, query), Matrix(2 * layers, self.dim, kv), *(() if self.experts else ffn)),
            cache=2 * kv * layers, dtype=self.dtype, imports=IMPORTS)

    def _saved(self) -> Saved:
        """Give what a layer keeps for a position; of experts, 2 dim + 4 ffn for each that it passes."""
        if not self.experts:
            return Saved(7 * self.dim, 3 * self.dim + 4 * self.ffn)
        active = self.experts_per_token
        return Saved((7 + 2 * active) * self.dim + active * self.ffn, 3 * self.dim + 3 * active * self.ffn)

    @staticmethod
    def folder_fields(fields: Mapping[str, object]) -> dict[str, FolderValue]:
        """Give what the folder in `weights` states for the other fields; raises ConfigError where it cannot be read."""
        return folder_fields(fields)

    def build(self) -> nn.Module:
        """Give the module; raises ConfigError if transformers does not know it or the weights do not fit."""
        from omnikit_hf.model import HFBackbone

        return HFBackbone(self)

    def build_from(self, settings: Mapping[str, object]) -> nn.Module:
        """Give the module of its checkpoint's config.json, its weights to be filled in."""
        from omnikit_hf.model import HFBackbone

        return HFBackbone(self, settings)

    def build_table(self, *, fresh: bool) -> nn.Module:
        """Give the embedding table alone; see omnikit.contracts.configs.BackboneConfig. Raises ConfigError as `build` does."""
        from omnikit_hf.table import HFTable

        return HFTable(self, fresh=fresh)
