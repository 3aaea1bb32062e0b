"""An image tower of transformers up to the chosen layers. Without tiling, projector and text tower.

Parameter names are those of transformers' module, here behind `tower.`; convolutions behind SAM's neck are ours.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from omnikit.contracts.types import Features, Signal
from omnikit.ops.empty import loads_weights
from omnikit_hf_vision.config import HfVision
from omnikit_hf_vision.weights import fresh, loaded


class HfVisionEncoder(nn.Module):
    """Tiles [T, 3, size, size], normalised, to features [T, patches, width], row by row of an image."""

    def __init__(self, config: HfVision) -> None:
        super().__init__()
        self.config, self.sizes = config, config.tower
        load = config.weights is not None and loads_weights()
        self.tower = loaded(self.sizes, str(config.weights), config.weights_prefix) if load else fresh(self.sizes)
        widths = (self.sizes.neck or 0, *config.convolutions)
        self.convolutions = nn.Sequential(*(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
                                            for inputs, outputs in pairwise(widths)))

    def forward(self, signal: Signal) -> Features:
        joined = [self._patches(hidden, index) for index, hidden in self._hidden(signal.data).items()]
        data = torch.cat(joined, dim=2) if len(joined) > 1 else joined[0]
        return Features(data, torch.full_like(signal.lengths, data.shape[1]))

    def _hidden(self, pixels: Tensor) -> dict[int, Tensor]:
        """Give the output of each chosen layer, by its index, for pixels [T, 3, S, S], as transformers has it."""
        chosen, depth = self.sizes.chosen, self.sizes.depth
        found = self.tower(**self._inputs(pixels.to(self.tower.dtype)), output_hidden_states=len(chosen) > 1)
        return {index: found.last_hidden_state if index == depth else found.hidden_states[index] for index in chosen}

    def _patches(self, hidden: Tensor, index: int) -> Tensor:
        """Give a layer's output as [T, patches, D]; SAM has patches in a square, behind its neck channels first."""
        if self.sizes.family == "sam":
            behind_neck = self.sizes.closes and index == self.sizes.depth
            return self._convolved(hidden).flatten(2).transpose(1, 2) if behind_neck else hidden.flatten(1, 2)
        return hidden[:, 0 if self.sizes.class_token else self.sizes.kind.class_tokens:]

    def _convolved(self, hidden: Tensor) -> Tensor:
        """Give what stands behind the neck's output [T, neck, side, side], of fewer patches."""
        side = self.sizes.convolution_side
        if side is not None:
            hidden = interpolate(hidden, size=(side, side), mode="bilinear", align_corners=False)
        convolved: Tensor = self.convolutions(hidden)
        return convolved

    def _inputs(self, pixels: Tensor) -> dict[str, Tensor | bool | None]:
        sizes = self.sizes
        if sizes.family == "siglip2":
            shapes = torch.tensor([[sizes.grid, sizes.grid]] * len(pixels))  # on the host, where it is read
            return {"pixel_values": cut_patches(pixels, sizes.patch), "pixel_attention_mask": None, "spatial_shapes": shapes}
        if sizes.family in ("clip", "siglip") and sizes.size != sizes.trained_size:
            return {"pixel_values": pixels, "interpolate_pos_encoding": True}
        return {"pixel_values": pixels}


def cut_patches(pixels: Tensor, patch: int) -> Tensor:
    """Cut pixels [T, 3, S, S] into [T, patches, patch² * 3], the colours of a pixel side by side, as SigLIP 2 reads them."""
    side = pixels.shape[2] // patch
    square = pixels[:, :, :side * patch, :side * patch].reshape(len(pixels), 3, side, patch, side, patch)
    return square.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)  # [T, rows, columns, patch, patch, 3] before
