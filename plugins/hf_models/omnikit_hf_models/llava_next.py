"""LLaVA-NeXT and LLaVA-OneVision: tiles of an image as one grid of patches, a learned vector behind each of its rows."""

from __future__ import annotations

import re

from omnikit.contracts.configs import ModelDescription
from omnikit.recipe.schema import plain
from omnikit_hf_models import vision
from omnikit_hf_models.classes import ModelClass, Source, Tree
from omnikit_hf_models.llava import ALIASES, IMAGE, LANGUAGE, TOWER, USES, activation, unused

SHRUNK = re.compile(r"anyres_max_(\d+)")
VIDEO_STRIDE = 2  # of LLaVA-OneVision


def branches(source: Source, **options: object) -> Tree:
    """Give the branch `vision`, its projector with more options than the activation."""
    facts, act = source.facts, activation(source)
    full = facts.vision_feature_select_strategy == "full"
    if full and facts.vision_config.model_type != "siglip_vision_model":
        raise source.refuse("vision_feature_select_strategy", "full", "for a tower with a class token, 'default'")
    encoder = vision.encoder(source, facts.vision_feature_layer, class_token=full)
    return {"vision": {"encoder": {**encoder, "grids": grids(source)},
                       "projector": {"use": "anyres_mlp", "activation": act, **options}}}


def grids(source: Source) -> list[list[int]]:
    """Give the grids (columns, rows) of image_grid_pinpoints; raises RunError where one is not made of whole tiles."""
    side, points = source.facts.vision_config.image_size, source.facts.image_grid_pinpoints
    if any(length % side for point in points for length in point):
        raise source.refuse("image_grid_pinpoints", points, f"multiples of {side}, the size of a tile")
    return [[width // side, height // side] for height, width in points]


def config(model: ModelDescription) -> dict[str, object]:
    """Give the keys of a LLaVA-NeXT's config.json."""
    return {**common(model), "model_type": "llava_next"}


def common(model: ModelDescription) -> dict[str, object]:
    """Give the keys that both classes have."""
    tower, projector = (plain(model.parts[f"vision.{slot}"]) for slot in ("encoder", "projector"))
    layers, side = tower["feature_layers"], tower["size"]
    return {"vision_config": vision.vision_config(tower),
            "vision_feature_layer": layers[0] if len(layers) == 1 else layers,
            "vision_feature_select_strategy": "full" if tower["family"] == "siglip" else "default",
            "projector_hidden_act": projector["activation"], "multimodal_projector_bias": True,
            "image_grid_pinpoints": [[rows * side, columns * side] for columns, rows in tower["grids"]],
            "image_seq_length": (side // tower["patch"]) ** 2}


def fits(model: ModelDescription) -> bool:
    """Whether the parts are those of both classes, and grids are not shrunk."""
    return fits_both(model) and model.parts["vision.projector"].most_tiles == 0


def fits_both(model: ModelDescription) -> bool:
    """Whether images are cut by grids, and all patches pass two Linears, the first as wide as the language model."""
    tower, projector = model.parts["vision.encoder"], model.parts["vision.projector"]
    return bool(tower.family in vision.FAMILIES.values() and tower.grids and not tower.class_token and not tower.final_norm
                and projector.hidden in (0, model.parts["backbone"].dim))


def onevision_branches(source: Source) -> Tree:
    """Give the branch `vision` of a LLaVA-OneVision."""
    ratio = str(source.facts.vision_aspect_ratio)
    found = SHRUNK.fullmatch(ratio)
    if found is None:
        raise source.refuse("vision_aspect_ratio", ratio, "anyres_max_N, such as anyres_max_9")
    return branches(source, most_tiles=int(found[1]), video_stride=VIDEO_STRIDE)


def onevision_config(model: ModelDescription) -> dict[str, object]:
    """Give the keys of a LLaVA-OneVision's config.json."""
    keys = {key: value for key, value in common(model).items() if key != "image_seq_length"}
    return {**keys, "model_type": "llava_onevision",
            "vision_aspect_ratio": f"anyres_max_{model.parts['vision.projector'].most_tiles}"}


def onevision_fits(model: ModelDescription) -> bool:
    """Whether the parts are those of both classes, grids are shrunk, and frames of videos interpolated."""
    projector = model.parts["vision.projector"]
    return bool(fits_both(model) and projector.most_tiles > 0 and projector.video_stride == VIDEO_STRIDE)


NAMES = (TOWER, ("multi_modal_projector.linear_1.", "vision.projector", "project.layers.0."),
         ("multi_modal_projector.linear_2.", "vision.projector", "project.layers.2."),
         ("image_newline", "vision.projector", "newline"), *LANGUAGE)
JOINED = {**USES, "vision.projector": "anyres_mlp"}
NEWLINE = (*ALIASES, (r"^model\.image_newline$", "image_newline"))

LLAVA_NEXT = ModelClass("LlavaNextForConditionalGeneration", branches, JOINED, NAMES, config, {"image_token_index": IMAGE},
                        NEWLINE, fits, unused)
LLAVA_ONEVISION = ModelClass(
    "LlavaOnevisionForConditionalGeneration", onevision_branches, JOINED, NAMES, onevision_config,
    {"image_token_index": IMAGE, "video_token_index": ("<video>",)}, NEWLINE, onevision_fits, unused,
    template="qwen2p5_instruct")
