"""Importer `llama_omni`: the files of a published LLaMA-Omni. Without torch; its methods import it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnikit.contracts.configs import Describe, ModelDescription
    from omnikit.contracts.types import CheckpointTensors, LazyTensor

VOCODER = Path("vocoder") / "g_00500000"
SUFFIXES = (".safetensors", ".bin", ".json", ".model", ".txt")
"""Of weights, settings and tokenizers, which lie in a folder, never below it."""


@dataclass(frozen=True)
class LlamaOmni:
    """LLaMA-Omni's published layouts: a whole checkpoint, a projector alone or a LoRA adapter; Whisper and vocoder beside it.

    Args:
        folder: with config.json and weights: model*.safetensors or pytorch_model*.bin, whole or in shards;
            speech_projector.bin; or adapter_config.json, adapter_model.* and non_lora_trainables.bin.
        vocoder: the unit vocoder's file (g_00500000), its config.json beside it; left out: vocoder/g_00500000 in the folder.
        whisper: openai's file (large-v3.pt) or a folder of transformers; left out: what config.json names, in the folder,
            else the encoder inside the checkpoint.
        base: for a projector or an adapter, the folder of the language model that they were trained on.
        tokenizer: a folder or tokenizer.json; left out: the folder's, else the base's.
        template: llama_omni begins a prompt with one BOS or two as the tokenizer has it; llama_omni_one_bos and
            llama_omni_two_bos force it; left out: that of an export, else llama_omni.
        weights_prefix: what a wrapper around the model put before the names of its tensors; those without it are left out.

    Source: ictnlp/LLaMA-Omni, by the names and shapes of its checkpoints; PEFT's names for adapters.
    """

    folder: str
    vocoder: str | None = None
    whisper: str | None = None
    base: str | None = None
    tokenizer: str | None = None
    template: str | None = field(default=None, metadata={"word": True})
    weights_prefix: str | None = field(default=None, metadata={"word": True})

    def recipe(self) -> dict[str, object]:
        """Give the model as a recipe's YAML would hold it, without stages."""
        from omnikit_llama_omni.convert import opened, recipe

        return recipe(opened(self))

    def open(self) -> CheckpointTensors:
        """Give the tensors by our parts and names; none is read yet."""
        from omnikit_llama_omni.convert import opened, published

        return published(opened(self))

    def files(self) -> tuple[Path, ...]:
        """Give the files that are read, as far as they are there, and the folders' other weights and settings."""
        folder = Path(self.folder).expanduser()
        named = [Path(path).expanduser() for path in (self.base, self.whisper, self.tokenizer) if path]
        vocoder = Path(self.vocoder).expanduser() if self.vocoder else folder / VOCODER
        sources = [folder, *named, vocoder, vocoder.with_name("config.json"), *self._encoders(folder)]
        inside = [file for source in sources if source.is_dir() for file in source.iterdir() if file.suffix in SUFFIXES]
        return tuple(sorted({file for file in (*sources, *inside) if file.is_file()}))

    def _encoders(self, folder: Path) -> Iterator[Path]:
        """Give Whisper's file that config.json names, the folder's own or else the base's."""
        own = folder / "config.json"
        config = Path(self.base).expanduser() / "config.json" if self.base and not own.is_file() else own
        if self.whisper is None:
            with suppress(OSError, ValueError, LookupError, TypeError):  # `open` reports what is wrong with it
                yield folder / str(json.loads(config.read_text(encoding="utf-8"))["speech_encoder"])

    @staticmethod
    def write(model: ModelDescription, tensors: Mapping[str, Mapping[str, LazyTensor]], folder: Path,
              describe: Describe) -> None:
        """Write a model into an empty folder; see omnikit_llama_omni.publish."""
        from omnikit_llama_omni.publish import write

        write(model, tensors, folder, describe)
