"""The embedding table of a causal language model alone, for what reads words and nothing else of it. Uses no layer."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from omnikit.errors import ConfigError, RunError
from omnikit.ops.empty import loads_weights
from omnikit.store.tensors import in_folder
from omnikit_hf import weights
from omnikit_hf.config import HF
from omnikit_hf.model import HFBackbone


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
            if fresh and config.weights and loads_weights():
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
    """Read the table from a checkpoint, a folder's or of an id in the local cache; raises ConfigError."""
    size = (config.vocabulary, config.dim)
    try:
        found = weights.with_adapter(config, in_folder(weights.folder_of(config), prefix=config.weights_prefix)).get(name)
    except (OSError, RunError) as error:
        raise ConfigError(f"backbone.weights {config.weights!r} holds no tensor {name}, which is the embedding table"
                          f" ({' '.join(str(error).split())[:200]}); give a complete checkpoint.") from error
    if found is None:
        raise ConfigError(f"backbone.weights {config.weights!r} holds no tensor {name}, which is the embedding table; give a"
                          " complete checkpoint.")
    if found.shape != size:
        raise ConfigError(f"backbone has vocabulary {size[0]} and dim {size[1]}, but {name} of {config.weights} has the shape"
                          f" {list(found.shape)}; set backbone.vocabulary={found.shape[0]} backbone.dim={found.shape[1]}.")
    return found.read()
