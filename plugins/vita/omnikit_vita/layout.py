"""Importer `vita`: the files of a published VITA-1.5 or VITA-1.0. Without torch; its methods import it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnikit.contracts.configs import Describe, ModelDescription
    from omnikit.contracts.types import CheckpointTensors, LazyTensor

SUFFIXES = (".safetensors", ".bin", ".json", ".model", ".txt", ".yaml", ".pt")
"""Of weights, settings and tokenizers, which lie in a folder, never below it."""
STATISTICS = "global_cmvn"


@dataclass(frozen=True)
class Vita:
    """VITA's published layouts: language model and encoders in one set of safetensors, or projectors alone beside their base.

    Args:
        folder: with config.json and model*.safetensors or pytorch_model*.bin, whole or in shards; or with mm_projector.bin,
            audio_adpter.bin or both.
        audio: the audio encoder's folder, with train.yaml, and final.pt and global_cmvn where the checkpoint lacks their
            tensors; left out: the one that config.json names, or the one inside the folder that has a train.yaml.
        vision: InternViT's folder, with config.json, and weights where the checkpoint lacks them; left out: the one that
            config.json names, if it lies in the folder.
        speech: folder with `decoder` and `codec`, each with model.json and final.pt; left out: vita_tts_ckpt in the folder,
            if it is there.
        base: for projectors alone, the folder of the language model that they were trained on; for a LoRA adapter
            (adapter_config.json, adapter_model.safetensors, non_lora_trainables.bin), that of the model.
        tokenizer: a folder or tokenizer.json; left out: the folder's, else the base's.
        template: left out: that of an export, else qwen2p5_vita, mixtral_two or nemo by the language model.
        weights_prefix: what a wrapper around the model put before the names of its tensors; those without it are left out.

    Source: VITA-MLLM/VITA-1.5 and VITA-MLLM/VITA, by the names and shapes of their files.
    """

    folder: str
    audio: str | None = None
    vision: str | None = None
    base: str | None = None
    tokenizer: str | None = None
    speech: str | None = None
    template: str | None = field(default=None, metadata={"word": True})
    weights_prefix: str | None = field(default=None, metadata={"word": True})

    def recipe(self) -> dict[str, object]:
        """Give the model as a recipe's YAML would hold it, without stages."""
        from omnikit_vita.convert import recipe
        from omnikit_vita.files import opened

        return recipe(opened(self))

    def open(self) -> CheckpointTensors:
        """Give the tensors by our parts and names; none is read yet."""
        from omnikit_vita.convert import published
        from omnikit_vita.files import opened

        return published(opened(self))

    def files(self) -> tuple[Path, ...]:
        """Give the files that are read, as far as they are there, and the folders' other weights and settings."""
        named = [Path(path).expanduser() for path in (self.folder, self.audio, self.vision, self.base, self.tokenizer) if path]
        speech = Path(self.speech or f"{self.folder}/vita_tts_ckpt").expanduser()
        folder = named[0]
        inner = [place for place in (folder.iterdir() if folder.is_dir() else ()) if place.is_dir()]
        inside = [file for place in (*named, *inner) if place.is_dir() for file in place.iterdir()
                  if file.suffix in SUFFIXES or file.name == STATISTICS]
        inside += speech.glob("*/*")
        return tuple(sorted({file for file in (*named, *inside) if file.is_file()}))

    @staticmethod
    def write(model: ModelDescription, tensors: Mapping[str, Mapping[str, LazyTensor]], folder: Path,
              describe: Describe) -> None:
        """Write a model into an empty folder; see omnikit_vita.publish."""
        from omnikit_vita.publish import write

        write(model, tensors, folder, describe)
