"""transformers' module of a tower, with random weights or those of a folder, strictly. Takes no pixels.

A folder's tensors get the module's names by transformers' own rules, which differ between its versions.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from torch import nn
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_utils import PreTrainedModel
from transformers.models.clip.configuration_clip import CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPVisionModel
from transformers.models.dinov2.configuration_dinov2 import Dinov2Config
from transformers.models.dinov2.modeling_dinov2 import Dinov2Model
from transformers.models.sam.configuration_sam import SamVisionConfig
from transformers.models.sam.modeling_sam import SamVisionModel
from transformers.models.siglip.configuration_siglip import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipVisionModel
from transformers.models.siglip2.configuration_siglip2 import Siglip2VisionConfig
from transformers.models.siglip2.modeling_siglip2 import Siglip2VisionModel
from transformers.utils import logging

from omnikit.recipe.model_folder import model_folder
from omnikit.store.pretrained import Report, check_report
from omnikit.store.tensors import in_folder
from omnikit_hf_vision.tower import Tower

MODELS: dict[str, tuple[type[PreTrainedConfig], type[PreTrainedModel]]] = {
    "clip": (CLIPVisionConfig, CLIPVisionModel), "siglip": (SiglipVisionConfig, SiglipVisionModel),
    "siglip2": (Siglip2VisionConfig, Siglip2VisionModel), "dinov2": (Dinov2Config, Dinov2Model),
    "sam": (SamVisionConfig, SamVisionModel)}
CLOSING = {"clip": "post_layernorm", "siglip": "post_layernorm", "siglip2": "post_layernorm", "dinov2": "layernorm",
           "sam": "vision_encoder.neck"}
BESIDE = re.compile(r"(text_model|prompt_encoder|mask_decoder|shared_image_embedding|classifier)\.|logit_|"
                    r"(text|visual)_projection|(vision_model\.)?(head\.|post_layernorm\.)|vision_encoder\.neck\.|"
                    r"(dinov2\.)?(layernorm\.|embeddings\.mask_token)")  # of a joint model, or behind what is taken
LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")
SENTENCE = "The weights in {folder} do not fit hf_vision: {{}}; give a complete checkpoint whose config.json is its own"
ADVICE = "hf_vision's field `weights` must name a folder that transformers wrote, or be null for random weights"


def fresh(tower: Tower) -> PreTrainedModel:
    """Give the module with random weights."""
    config, model = configuration(tower), MODELS[tower.family][1]
    return trimmed(model(config), tower)


def loaded(tower: Tower, folder: str, prefix: str = "") -> PreTrainedModel:
    """Give the module with a folder's weights, float32.

    Args:
        prefix: what a wrapper put before their names.

    Raises:
        RunError: a file is missing or damaged, or a tensor is missing, unexpected or of another shape.
    """
    found = in_folder(model_folder(folder) or Path(folder).expanduser(), ADVICE, prefix)
    matched = {name: tensor for name, tensor in found.items() if not _behind(name, tower)}
    state = {name: tensor.read() for name, tensor in matched.items()}
    with quiet():
        pair: object = MODELS[tower.family][1].from_pretrained(
            None, config=configuration(tower), state_dict=state, dtype=torch.float32, ignore_mismatched_sizes=True,
            output_loading_info=True)
    model, report = cast(tuple[PreTrainedModel, Report], pair)  # with output_loading_info
    check_report(report, model.state_dict(), matched, SENTENCE.format(folder=folder),
                 optional=None if tower.closes else f"{CLOSING[tower.family]}.")
    return trimmed(model, tower)


def configuration(tower: Tower) -> PreTrainedConfig:
    """Give transformers' configuration of a tower, with the layers that are built."""
    values: dict[str, object] = {
        "hidden_size": tower.dim, "num_hidden_layers": tower.depth, "num_attention_heads": tower.heads,
        "patch_size": tower.patch, "hidden_act": tower.activation, "layer_norm_eps": tower.eps}
    if tower.family == "siglip2":
        values["num_patches"] = (tower.trained_size // tower.patch) ** 2
    else:
        values["image_size"] = tower.trained_size
    if tower.family == "dinov2":
        values |= {"mlp_ratio": tower.ffn // tower.dim if tower.ffn % tower.dim == 0 else (tower.ffn + 0.5) / tower.dim,
                   "use_swiglu_ffn": tower.swiglu, "use_mask_token": False}
    elif tower.family == "sam":
        values |= {"mlp_dim": tower.ffn, "window_size": tower.window, "output_channels": tower.neck,
                   "global_attn_indexes": list(tower.global_layers or ()), "initializer_range": 0.02}  # theirs, 1e-10, is none
    else:
        values |= {"intermediate_size": tower.ffn, **({"vision_use_head": False} if tower.family != "clip" else {})}
    return MODELS[tower.family][0](**values)  # type: ignore[arg-type]  # their fields, by name


def trimmed(model: PreTrainedModel, tower: Tower) -> PreTrainedModel:
    """Leave out what stands behind the last chosen layer and is not asked for."""
    if not tower.closes:
        owner, _, name = CLOSING[tower.family].rpartition(".")
        setattr(model.get_submodule(owner), name, nn.Identity())
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' bars and tables of names away; what is wrong is our sentence."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # transformers has none here
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers has none here
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]  # transformers has none here


def _behind(name: str, tower: Tower) -> bool:
    """Whether a folder's tensor is of another part of the model, or of a layer that is not built."""
    match = LAYER.search(name)
    number = int(match.group(1)) if match else 0
    if tower.depth <= number < tower.layers:
        return True
    closing = re.match(rf"(vision_model\.|dinov2\.)?{re.escape(CLOSING[tower.family])}\.", name)
    return not (closing and tower.closes) and BESIDE.match(name) is not None
