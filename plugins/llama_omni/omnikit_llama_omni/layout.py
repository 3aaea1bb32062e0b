"""Importer `llama_omni`: the files of a published LLaMA-Omni. Knows no torch; its methods import it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnikit.plan import Plan
    from omnikit.types import Published, Stored


@dataclass(frozen=True)
class LlamaOmni:
    """LLaMA-Omni's published layouts: a whole checkpoint, a projector alone or a LoRA adapter; Whisper and vocoder beside it.

    Args:
        folder: with config.json and weights: model*.safetensors or pytorch_model*.bin, whole or in shards;
            speech_projector.bin; or adapter_config.json, adapter_model.* and non_lora_trainables.bin.
        vocoder: the unit vocoder's file (g_00500000), its config.json beside it; None: vocoder/g_00500000 in the folder.
        whisper: openai's file (large-v3.pt) or a folder of transformers; None: what config.json names, in the folder,
            else the encoder inside the checkpoint.
        base: for a projector or an adapter, the folder of the language model that they were trained on.
        tokenizer: a folder or tokenizer.json; None: the folder's, else the base's.
        template: llama_omni begins a prompt with one BOS or two as the tokenizer has it; llama_omni_one_bos and
            llama_omni_two_bos force it.

    Source: ictnlp/LLaMA-Omni, by the names and shapes of its checkpoints; PEFT's names for adapters.
    """

    folder: str
    vocoder: str | None = None
    whisper: str | None = None
    base: str | None = None
    tokenizer: str | None = None
    template: str = field(default="llama_omni", metadata={"word": True})

    def recipe(self) -> dict[str, object]:
        """Give the model as a recipe's YAML would hold it, without stages."""
        from omnikit_llama_omni.convert import opened, recipe

        return recipe(opened(self))

    def open(self) -> Published:
        """Give the tensors by our parts and names; none is read yet."""
        from omnikit_llama_omni.convert import opened, published

        return published(opened(self))

    def files(self) -> tuple[Path, ...]:
        """Give the files that are there."""
        named = [Path(path) for path in (self.folder, self.base, self.whisper, self.vocoder) if path]
        inside = [file for path in named if path.is_dir() for file in path.rglob("*") if file.suffix in SUFFIXES]
        return tuple(sorted({*inside, *(path for path in named if path.is_file())}))

    @staticmethod
    def write(plan: Plan, tensors: Mapping[str, Mapping[str, Stored]], folder: Path) -> None:
        """Write a model into an empty folder; see omnikit_llama_omni.publish."""
        from omnikit_llama_omni.publish import write

        write(plan, tensors, folder)


SUFFIXES = (".safetensors", ".bin", ".pt", ".json")
