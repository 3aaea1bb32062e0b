"""An image tower of open_clip up to the chosen layer. Without tiling, projector and text tower.

Parameter names are open_clip's own behind `visual.`, here `tower.`.
"""

import torch
from open_clip.model import CLIPVisionCfg, _build_vision_tower
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from omnikit.contracts.types import Features, Signal
from omnikit.ops.empty import filled_from, loads_weights
from omnikit_openclip.config import OpenClip
from omnikit_openclip.weights import load_weights


class OpenClipEncoder(nn.Module):
    """Tiles [T, 3, size, size], normalised, to the vectors of their patches [T, (size / patch)², width], row by row."""

    def __init__(self, config: OpenClip) -> None:
        super().__init__()
        self.config = config
        with filled_from(config.weights):
            self.tower = make_tower(config)
        if config.weights is not None and loads_weights():
            load_weights(self.tower, config.weights, config)

    def forward(self, signal: Signal) -> Features:
        pixels = signal.data.to(self.tower.conv1.weight.dtype)
        found = self.tower.forward_intermediates(
            pixels, indices=[self.config.depth - 1], normalize_intermediates=self.config.norm, intermediates_only=True,
            stop_early=True, output_fmt="NLC",
        )  # fmt: skip
        data: Tensor = found["image_intermediates"][0]
        return Features(data, torch.full_like(signal.lengths, data.shape[1]))


def make_tower(config: OpenClip) -> VisionTransformer:
    """Build the tower as open_clip does and leave out what stands behind the chosen layer, with what pools its vectors."""
    settings = config.tower.config
    vision = {**settings["vision_cfg"], "output_tokens": False}
    # open_clip's only way to a tower alone: create_model builds the text tower too, whose tokenizer it would download
    built = _build_vision_tower(settings["embed_dim"], CLIPVisionCfg(**vision), bool(settings.get("quick_gelu", False)))
    assert isinstance(built, VisionTransformer), f"{config.model} is refused by towers.py"
    built.prune_intermediate_layers([config.depth - 1], prune_norm=not config.norm, prune_head=True)
    return built
