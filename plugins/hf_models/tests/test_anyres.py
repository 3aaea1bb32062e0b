"""Tiles of any resolution are those of transformers' processors of LLaVA-NeXT and LLaVA-OneVision."""

from typing import Any

import numpy as np
import pytest
import torch
from omnikit_basics.config.media import unpadded_grid
from PIL import Image
from transformers.image_processing_utils import select_best_resolution
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_next.modeling_llava_next import unpad_image
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil

from omnikit.contracts.media import image_medium
from omnikit.contracts.specs import ImageSpec
from omnikit.data.media.image import cut_tiles, normalise, padded_grid

SIDE = 64
PINPOINTS = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE], [SIDE, 3 * SIDE]]
SPEC = ImageSpec(SIDE, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711),  # CLIP's
                 grids=tuple((width // SIDE, height // SIDE) for height, width in PINPOINTS))
SIZES = [(200, 50), (50, 200), (64, 64), (131, 97), (30, 20), (640, 480), (3, 500), (1, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [LlavaNextImageProcessorPil, LlavaOnevisionImageProcessorPil], ids=["next", "onevision"])
def test_tiles_are_the_processor_s(kind: Any, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(size[0]).integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)
    side = {"height": SIDE, "width": SIDE}
    processor = kind(size=side, crop_size=side, image_grid_pinpoints=PINPOINTS)
    expected = torch.as_tensor(processor([Image.fromarray(pixels)], return_tensors="pt")["pixel_values"])[0]
    torch.testing.assert_close(torch.from_numpy(normalise(cut_tiles(pixels, SPEC), SPEC)), expected, atol=1e-6, rtol=0)


def test_grids_and_their_padding_are_transformers_s() -> None:
    for width in range(1, 400, 7):
        for height in range(1, 400, 11):
            grid = padded_grid(width, height, SPEC)
            assert (grid[1] * SIDE, grid[0] * SIDE) == select_best_resolution((height, width), PINPOINTS)
            medium = image_medium((width, height), grid, SPEC)
            expected = unpad_image(torch.zeros(1, 8 * grid[1], 8 * grid[0]), (height, width)).shape[1:]
            assert unpadded_grid(medium, 64) == tuple(expected)
