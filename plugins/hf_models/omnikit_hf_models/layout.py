"""Importer `hf_model`: a folder of a multimodal model of transformers. Without torch; its methods import it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnikit.contracts.configs import Describe, ModelDescription
    from omnikit.contracts.types import CheckpointTensors, LazyTensor

SUFFIXES = (".safetensors", ".bin", ".json", ".model", ".txt", ".jinja")
"""Of weights, settings and tokenizers, which lie in a folder, never below it."""


@dataclass(frozen=True)
class HFModel:
    """A multimodal model as transformers' save_pretrained writes it; its classes: docs/howto/models_of_transformers.md.

    Args:
        folder: with config.json and model*.safetensors or pytorch_model*.bin, whole or in shards.
        tokenizer: a folder or tokenizer.json; left out: the folder's.
        template: left out: that of an export, else the folder's own chat template where it takes texts, else that of the class.
        weights_prefix: what a wrapper around the model put before the names of its tensors; those without it are left out.
    """

    folder: str
    tokenizer: str | None = None
    template: str | None = field(default=None, metadata={"word": True})
    weights_prefix: str | None = field(default=None, metadata={"word": True})

    def recipe(self) -> dict[str, object]:
        """Give the model as a recipe's YAML would hold it, without stages."""
        from omnikit_hf_models.convert import opened, recipe

        return recipe(opened(self))

    def open(self) -> CheckpointTensors:
        """Give the tensors by our parts and names; none is read yet."""
        from omnikit_hf_models.convert import opened, published

        return published(opened(self))

    def files(self) -> tuple[Path, ...]:
        """Give the folder's weights and settings, and the tokenizer's, as far as they are there."""
        sources = [Path(path).expanduser() for path in (self.folder, self.tokenizer) if path]
        inside = [file for source in sources if source.is_dir() for file in source.iterdir() if file.suffix in SUFFIXES]
        return tuple(sorted({file for file in (*sources, *inside) if file.is_file()}))

    @staticmethod
    def write(model: ModelDescription, tensors: Mapping[str, Mapping[str, LazyTensor]], folder: Path,
              describe: Describe) -> None:
        """Write a model into an empty folder; see omnikit_hf_models.publish."""
        from omnikit_hf_models.publish import write

        write(model, tensors, folder, describe)
