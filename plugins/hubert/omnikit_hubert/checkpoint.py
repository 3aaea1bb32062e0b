"""HuBERT with the weights of a transformers checkpoint, and centroids from a file. Takes no waveforms, makes no units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers.models.hubert.configuration_hubert import HubertConfig
from transformers.models.hubert.modeling_hubert import HubertModel

from omnikit.contracts.types import LazyTensor
from omnikit.errors import ConfigError, RunError
from omnikit.ops.empty import empty_weights
from omnikit.store.layouts import from_legacy_weight_norm
from omnikit.store.tensors import fill, in_folder
from omnikit_hubert.config import HubertUnits

# our field → transformers' name
NAMES = {"dim": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads", "ffn": "intermediate_size",
         "stable": "do_stable_layer_norm", "kernels": "conv_kernel", "strides": "conv_stride", "conv_norm": "feat_extract_norm",
         "conv_bias": "conv_bias", "position_kernel": "num_conv_pos_embeddings",
         "position_groups": "num_conv_pos_embedding_groups"}
AROUND = ("lm_head.", "projector.", "classifier.", "layer_weights",  # of models that were fine-tuned for something
          "masked_spec_embed", "hubert.masked_spec_embed")  # and what is read in training only, which no stage does


def fresh(config: HubertUnits) -> HubertModel:
    """Give a HuBERT of the given sizes with random weights."""
    sizes = {theirs: getattr(config, ours) for ours, theirs in NAMES.items()}
    return HubertModel(HubertConfig(**sizes, conv_dim=(config.conv_dim,) * len(config.kernels),
                                    mask_time_prob=0.0, mask_feature_prob=0.0))


def load(config: HubertUnits) -> HubertModel:
    """Give the HuBERT of the folder `weights`.

    Raises:
        ConfigError: the folder holds no HuBERT, one of other sizes, or not all of its tensors.
    """
    folder = Path(str(config.weights)).expanduser()
    if not (folder / "config.json").is_file():
        raise ConfigError(f"hubert_units.weights {config.weights!r} is not a folder with a config.json; give a HuBERT"
                          " checkpoint that transformers wrote (config.json, model.safetensors).")
    try:
        facts = HubertConfig.from_pretrained(folder, local_files_only=True)
        facts.mask_time_prob = facts.mask_feature_prob = 0.0
        _compare(config, facts)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"hubert_units.weights {config.weights!r} cannot be loaded as a HuBERT: its config.json cannot be"
                          f" read ({' '.join(str(error).split())[:200]}).") from error
    with empty_weights():
        model = HubertModel(facts)
    try:
        fill(model, _tensors(folder, config.weights_prefix), str(folder), "hubert_units", "give a complete checkpoint")
    except RunError as error:
        raise ConfigError(f"hubert_units.weights: {error}") from error
    return model


def _tensors(folder: Path, prefix: str) -> dict[str, LazyTensor]:
    """Give a checkpoint's tensors by the model's names: without what stands around it, weight norm by torch's present words."""
    return {from_legacy_weight_norm(name.removeprefix("hubert.")): tensor
            for name, tensor in in_folder(folder, prefix=prefix).items() if not name.startswith(AROUND)}


def centroids(config: HubertUnits) -> Tensor:
    """Read the centroids [units, dim] of the file `centroids`, float32.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
    """
    path, expected = Path(str(config.centroids)).expanduser(), (config.units, config.dim)
    try:
        if path.suffix == ".npy":
            found = [torch.from_numpy(np.load(path, allow_pickle=False))]
        else:
            found = list(load_file(path).values())
    except (OSError, ValueError, TypeError, EOFError, SafetensorError) as error:
        raise ConfigError(f"hubert_units.centroids {config.centroids!r} cannot be read ({' '.join(str(error).split())[:120]});"
                          f" give a .npy or .safetensors file with the centroids {expected}.") from error
    if len(found) != 1 or tuple(found[0].shape) != expected:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in found) or "nothing"
        raise ConfigError(f"hubert_units.centroids {config.centroids!r} holds {shapes}, but must hold one matrix {expected}"
                          " (units x dim); set units and dim to the file's, or give another file.")
    if not found[0].is_floating_point() or not found[0].isfinite().all():
        raise ConfigError(f"hubert_units.centroids {config.centroids!r} holds numbers that are not finite reals; give the"
                          " centroids that k-means found.")
    return found[0].float()


def _compare(config: HubertUnits, facts: HubertConfig) -> None:
    """Refuse a checkpoint whose sizes are not the ones the plan was made with, naming all of them."""
    kind = getattr(facts, "model_type", None)
    if kind != "hubert":
        raise ConfigError(f"hubert_units.weights {config.weights!r} holds a model of type {kind!r}, but must hold a 'hubert'.")
    pairs = [(ours, getattr(config, ours), getattr(facts, theirs)) for ours, theirs in NAMES.items()]
    pairs.append(("conv_dim", (config.conv_dim,) * len(config.kernels), facts.conv_dim))
    wrong = [f"hubert_units.{ours} gives {wanted}, but {config.weights} has {found}; set it alike."
             for ours, wanted, found in pairs if wanted != (tuple(found) if isinstance(found, list) else found)]
    if wrong:
        raise ConfigError(*wrong)
