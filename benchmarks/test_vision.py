"""Cutting an image and encoding its tiles through the pipeline's own functions against Pillow and the bare modules by hand.

Both get the same image and the same weights, on one thread; rounds of processor time alternate, so that what else the machine
does falls out of the ratio.
"""

import numpy as np
import torch
from bench_table import Measures, Ratio, processor_time
from omnikit_internvit.config import InternVit
from omnikit_internvit.model import InternVitEncoder
from PIL import Image
from torch import Tensor

from omnikit.contracts.types import ContentPart
from omnikit.data.batch.signals import load_signals, pad_signals
from omnikit.plan.branches import InputBranch
from omnikit.splice import normalised

SIZE, PATCH, GRID, ROUNDS, LIMIT = 448, 14, (4, 2), 7, 1.05  # 1280 x 720 pixels: 8 tiles and a thumbnail (vita.md, section 2.4)
MEAN, DEVIATION = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))


def test_images_cost_what_the_bare_modules_cost(measures: Measures) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    encoder = InternVit(size=SIZE, patch=PATCH, dim=192, layers=2, heads=3, ffn=768).build().eval()
    image = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    input_branch = InputBranch("vision", encoder.config, encoder.config.output, None, None)

    def ours() -> Tensor:
        tiles = pad_signals(load_signals(ContentPart("image", pixels=image), input_branch, "one"))
        found: Tensor = encoder(normalised(tiles, input_branch.image_spec)).data
        return found

    ways = {"ours": processor_time(ours), "bare": processor_time(lambda: encoded(encoder, cut(image)))}
    with torch.no_grad():
        torch.testing.assert_close(ours(), encoded(encoder, cut(image)), atol=1e-4, rtol=1e-4)  # the same features
        costs = measures.compare(ways, Ratio("an image cut and encoded / Pillow and bare modules", "ours", "bare", LIMIT),
                                 rounds=ROUNDS)
    measures.number("images of 9 tiles", 1 / min(costs["ours"]), "a second")


def cut(image: np.ndarray) -> Tensor:
    """Cut with Pillow, colour with torch: [9, 3, 448, 448]."""
    image, (columns, rows) = Image.fromarray(image), GRID
    whole = image.resize((columns * SIZE, rows * SIZE))
    corners = [(SIZE * column, SIZE * row) for row in range(rows) for column in range(columns)]
    pieces = [*(whole.crop((x, y, x + SIZE, y + SIZE)) for x, y in corners), image.resize((SIZE, SIZE))]
    tiles = [torch.from_numpy(np.array(piece)).permute(2, 0, 1).float() / 255 for piece in pieces]
    return (torch.stack(tiles) - MEAN[:, None, None]) / DEVIATION[:, None, None]


def encoded(encoder: InternVitEncoder, tiles: Tensor) -> Tensor:
    """Call the modules one after another and shuffle as vita.md, section 2.2, has it: [9, 256, 768]."""
    x = encoder.embeddings(tiles)
    for layer in encoder.encoder.layers:
        x = layer(x)
    count, side = len(x), SIZE // PATCH
    x = (x[:, 1:] * encoder.config.gain).reshape(count, side, side // 2, -1).permute(0, 2, 1, 3)
    x = x.reshape(count, side // 2, side // 2, -1).permute(0, 2, 1, 3)
    return x.reshape(count, (side // 2) ** 2, -1)
