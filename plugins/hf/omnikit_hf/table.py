"""The embedding table of a causal language model alone, for what reads words and nothing else of it. Knows no layer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers.utils.hub import cached_file

from omnikit.errors import ConfigError
from omnikit_hf.config import HF
from omnikit_hf.model import HFBackbone

FILE = "model.safetensors"


class HFTable(nn.Module):
    """Owns the table under the name that it has in HFBackbone.

    Args:
        config: of the whole model.
        fresh: draw the values as the whole model does, or read them from its weights; else they are undefined.
    """

    def __init__(self, config: HF, *, fresh: bool) -> None:
        super().__init__()
        with torch.device("meta"):
            whole = HFBackbone(config)
        table = whole.model.get_input_embeddings()
        name = next(path for path, module in whole.named_modules() if module is table)
        dtype = getattr(torch, config.dtype)
        if type(table) is not nn.Embedding or (fresh and not config.weights):
            # a table that does more than look up (Gemma's scales), or whose numbers come after others of the same generator:
            # the whole is built and let go
            table = HFBackbone(config).model.get_input_embeddings()
        else:
            values = torch.empty(config.vocabulary, config.dim, dtype=dtype)
            if fresh and config.weights:
                values = read(config, f"{whole.model.base_model_prefix}.{name.partition('.')[2]}.weight").to(dtype)
            table = nn.Embedding(values.shape[0], values.shape[1], _weight=values)
        self.path = name
        self._attach(name.split("."), table)

    def embed(self, tokens: Tensor) -> Tensor:
        """tokens [B, L] to vectors [B, L, D]."""
        return cast(Tensor, self.get_submodule(self.path)(tokens))

    def _attach(self, names: list[str], table: nn.Module) -> None:
        around: nn.Module = self
        for name in names[:-1]:
            inner = nn.Module()
            around.add_module(name, inner)
            around = inner
        around.add_module(names[-1], table)


def read(config: HF, name: str) -> Tensor:
    """Read the table from a checkpoint's safetensors, a folder's or of an id in the local cache; raises ConfigError."""
    weights, size = str(config.weights), (config.vocabulary, config.dim)
    try:
        index = cached_file(weights, f"{FILE}.index.json", local_files_only=True, _raise_exceptions_for_missing_entries=False)
        shard = json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"][name] if index else FILE
        with safe_open(str(cached_file(weights, shard, local_files_only=True)), framework="pt") as file:
            found = cast(Tensor, file.get_tensor(name))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ConfigError(f"backbone.weights {weights!r} holds no tensor {name} in safetensors, which is the embedding table"
                          f" ({' '.join(str(error).split())[:200]}); give a whole checkpoint.") from error
    if tuple(found.shape) != size:
        raise ConfigError(f"backbone has vocabulary {size[0]} and dim {size[1]}, but {name} of {weights} has the shape"
                          f" {list(found.shape)}; set backbone.vocabulary={found.shape[0]} backbone.dim={found.shape[1]}.")
    return found
