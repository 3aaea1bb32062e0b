"""A transformers checkpoint of Whisper into the encoder, strictly. Reads the names of checkpoints, not the encoder."""

from pathlib import Path

from torch import nn

from omnikit.contracts.types import LazyTensor
from omnikit.recipe.model_folder import model_folder
from omnikit.store.tensors import fill, in_folder

PREFIXES = ("model.encoder.", "encoder.")  # WhisperForConditionalGeneration, WhisperModel
ADVICE = ("whisper's field `weights` must name a folder with a Whisper model of transformers, or be null for random"
          " weights")


def load_weights(module: nn.Module, folder: str, prefix: str = "") -> None:
    """Copy the encoder's tensors of a checkpoint into `module`.

    Raises:
        RunError: the folder or a file is missing or unreadable, or a tensor is missing, left over or of another shape.
    """
    found = read_tensors(model_folder(folder) or Path(folder).expanduser(), prefix)
    fill(module, found, folder, "whisper", "choose the preset of that size")


def read_tensors(folder: Path, prefix: str = "") -> dict[str, LazyTensor]:
    """Give the encoder's tensors by their names behind a known prefix; where none has one, all tensors.

    Args:
        prefix: what a wrapper put before all names.
    """
    found = in_folder(folder, ADVICE, prefix)
    inside = {name.removeprefix(own): found[name] for name in found for own in PREFIXES if name.startswith(own)}
    return inside or found
