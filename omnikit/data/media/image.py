"""Images from files, and cut into the tiles that an encoder reads. Reads no sample and no model."""

import base64
import io
import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from omnikit.contracts.specs import ImageSpec
from omnikit.data.media.containers import DEFAULTS, Source, open_file
from omnikit.data.media.image_modes import FORMATS, check_rows, header_size, opened, rgb, upright
from omnikit.errors import DataError, RunError
from omnikit.recipe.media import MOST_PIXELS, MediaLimits
from omnikit.store.files import atomic_file

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.uint8]
LONG_ASPECT = 8  # of the long side to the short one; such an image is cropped before it is resized
LONGEST_SIDE = 2048  # pixels of the square that a long image is padded to
SAFE_FORMATS = ("PNG", "JPEG", "WEBP")  # of images that come over a network


@cache
def tile_grids(least: int, most: int) -> tuple[tuple[int, int], ...]:
    """Give the grids (columns, rows) of `least` to `most` tiles in the order in which they are tried: by number of tiles.

    Grids of equally many tiles stand in the order that CPython gives a set of pairs, as the released code of InternVL's
    family has them; on an exact tie it decides. Pairs of small integers hash alike in every 64-bit CPython since 3.8, and the
    order in which pairs enter the set is the original's too: it counts where their hashes collide.
    """
    found = {(columns, rows) for side in range(least, most + 1) for columns in range(1, side + 1)
             for rows in range(1, side + 1) if least <= columns * rows <= most}
    return tuple(sorted(found, key=lambda tile_grid: tile_grid[0] * tile_grid[1]))


def tile_grid(width: int, height: int, spec: ImageSpec) -> tuple[int, int]:
    """Give the grid (columns, rows) whose shape is nearest to an image's, or of `spec.grids` as padded_grid does.

    On an exact tie the larger grid is taken where the image has more than half of its pixels. Source: arXiv:2404.16821.
    """
    if spec.grids:
        return padded_grid(width, height, spec)
    best, nearest = (1, 1), float("inf")
    for columns, rows in tile_grids(spec.least_tiles, spec.most_tiles):
        distance = abs(width / height - columns / rows)
        if distance < nearest:
            best, nearest = (columns, rows), distance
        elif distance == nearest and width * height > 0.5 * spec.size**2 * columns * rows:
            best = (columns, rows)
    return best


def padded_grid(width: int, height: int, spec: ImageSpec) -> tuple[int, int]:
    """Give the grid of `spec.grids` that keeps most pixels of an image, and of those the one that wastes least.

    Source: select_best_resolution of LLaVA-NeXT.
    """
    def fitting_pixels(grid: tuple[int, int]) -> tuple[int, int]:
        wide, high = grid[0] * spec.size, grid[1] * spec.size
        scale = min(wide / width, high / height)
        pixels = min(int(width * scale) * int(height * scale), width * height)
        return pixels, pixels - wide * high

    return max(spec.grids, key=fitting_pixels)


def tile_count(width: int, height: int, spec: ImageSpec) -> int:
    """Give the number of tiles of an image, its thumbnail included."""
    return spec.tiles(tile_grid(width, height, spec)) if spec.cuts else 1


def cut_tiles(pixels: Pixels, spec: ImageSpec) -> Pixels:
    """Cut an image [H, W, 3] into tiles [T, size, size, 3]: row by row, the thumbnail last, or first with `spec.grids`.

    The image is stretched to the size of its grid, or padded with `spec.grids`.
    """
    if not spec.cuts:
        return fit_square(pixels, spec)[None]
    size, (columns, rows) = spec.size, tile_grid(pixels.shape[1], pixels.shape[0], spec)
    whole = (_pad_to_grid if spec.grids else _resize)(pixels, columns * size, rows * size, spec.resample)
    cut = whole.reshape(rows, size, columns, size, 3).swapaxes(1, 2).reshape(-1, size, size, 3)
    if spec.grids:
        return np.concatenate([_resize(pixels, size, size, spec.resample)[None], cut])
    if spec.thumbnail and len(cut) > 1:
        cut = np.concatenate([cut, _resize(pixels, size, size, spec.resample)[None]])
    return cut


def _pad_to_grid(pixels: Pixels, width: int, height: int, resample: str) -> Pixels:
    """Resize an image [H, W, 3] to the middle of a larger one, black where it does not reach."""
    high, wide, _ = pixels.shape
    if width / wide < height / high:
        wide, high = width, min(math.ceil(high * (width / wide)), height)
    else:
        wide, high = min(math.ceil(wide * (height / high)), width), height
    found, left, top = np.zeros((height, width, 3), dtype=np.uint8), (width - wide) // 2, (height - high) // 2
    found[top:top + high, left:left + wide] = _resize(pixels, wide, high, resample)
    return found


def fit_square(pixels: Pixels, spec: ImageSpec) -> Pixels:
    """Make one square [size, size, 3] of an image or frame [H, W, 3], by `spec.fit`."""
    if spec.fit in ("pad", "stretch"):
        pixels = pad_to_square(pixels, spec) if spec.fit == "pad" else pixels
        return _resize(pixels, spec.size, spec.size, spec.resample)
    if spec.fit == "corner":
        return _fit_corner(pixels, spec)
    height, width, _ = pixels.shape
    size, edge, shortest = spec.size, spec.edge or spec.size, min(height, width)
    wide, high = edge * width // shortest, edge * height // shortest
    top, left = (high - size) // 2, (wide - size) // 2
    if max(wide, high) > LONG_ASPECT * edge:
        return _resize_middle(pixels, spec, left * width / wide, top * height / high, shortest / edge)
    image = _resize(pixels, wide, high, spec.resample)
    return image[top:top + size, left:left + size]


def _resize_middle(pixels: Pixels, spec: ImageSpec, left: float, top: float, scale: float) -> Pixels:
    """Resize the square of a long image that stays, and nothing beside it."""
    from PIL import Image

    height, width, _ = pixels.shape
    box = (left, top, min(left + spec.size * scale, width), min(top + spec.size * scale, height))
    return np.asarray(_image(pixels).resize((spec.size, spec.size), Image.Resampling[spec.resample.upper()], box=box))


def _fit_corner(pixels: Pixels, spec: ImageSpec) -> Pixels:
    """Resize the longest edge to the side of the square; the other one is rounded to the nearest pixel, at least one."""
    height, width, _ = pixels.shape
    scale = spec.size / max(height, width)
    fitted = [max(1, int(side * scale + 0.5)) for side in (width, height)]
    square = np.empty((spec.size, spec.size, 3), dtype=np.uint8)
    square[:] = [round(255 * mean) for mean in spec.mean]
    square[:fitted[1], :fitted[0]] = _resize(pixels, fitted[0], fitted[1], spec.resample)
    return square


def pad_to_square(pixels: Pixels, spec: ImageSpec) -> Pixels:
    """Put an image [H, W, 3] in the middle of a square of the mean colour; a very long image is resized before."""
    height, width, _ = pixels.shape
    if max(height, width) > max(LONGEST_SIDE, LONG_ASPECT * min(height, width)):
        scale = LONGEST_SIDE / max(height, width)
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        pixels = _resize(pixels, width, height, spec.resample)
    side = max(height, width)
    square = np.empty((side, side, 3), dtype=np.uint8)
    square[:] = [int(255 * mean) for mean in spec.mean]
    top, left = (side - height) // 2, (side - width) // 2
    square[top:top + height, left:left + width] = pixels
    return square


def normalise(cut: Pixels, spec: ImageSpec) -> NDArray[np.float32]:
    """Give tiles [T, S, S, 3] as an encoder reads them: [T, 3, S, S], in [0, 1], less the mean, by the deviation."""
    found = np.empty((len(cut), 3, *cut.shape[1:3]), dtype=np.float32)
    for channel, (mean, deviation) in enumerate(zip(spec.mean, spec.deviation, strict=True)):  # 5 x faster than all at once
        np.multiply(cut[..., channel], np.float32(1 / (255 * deviation)), out=found[:, channel])
        found[:, channel] -= np.float32(mean / deviation)
    return found


def thumbnail(tile: NDArray[np.generic], side: int = 48) -> str:
    """Give a tile [3, S, S] as the data URL of a small PNG."""
    buffer = io.BytesIO()
    _image(_resize(np.asarray(tile.transpose(1, 2, 0), dtype=np.uint8), side, side)).save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def load_image(path: str | Path, limits: MediaLimits = DEFAULTS) -> Pixels:
    """Read an image as [H, W, 3] of red, green and blue, turned as its camera was held.

    What is transparent becomes white, 16 bits become 8, and of a moving image the first frame is taken.
    Formats: image_modes.FORMATS.

    Raises:
        DataError: the file is missing, not an image, damaged, or larger than the limits.
    """
    return _load(path, str(path), FORMATS, limits)


def decode_image(data: bytes, *, name: str, most: int, formats: tuple[str, ...] | None = SAFE_FORMATS) -> Pixels:
    """Read the bytes of an image, in memory, as load_image reads a file.

    Args:
        name: of the image in messages.
        most: pixels at most; the header is read before anything is decoded.
        formats: Pillow's names of formats that are read; None for all that load_image reads.

    Raises:
        DataError: as load_image, or the image is larger, or of another format.
    """
    return _load(data, name, formats or FORMATS, MediaLimits(max_pixels=min(most, MOST_PIXELS)))


def image_size(path: Source, limits: MediaLimits = DEFAULTS) -> tuple[int, int]:
    """Give width and height of an image as load_image would give it, from its header; raises as it does."""
    name = str(path) if isinstance(path, str | Path) else "its embedded file"
    with open_file(path, name, "image", limits) as file, opened(file, name, FORMATS, limits) as image:
        return header_size(image)


def save_image(path: str | Path, pixels: Pixels) -> None:
    """Write an image [H, W, 3]; the file appears whole or not at all.

    Raises:
        DataError: the pixels are not an image.
        RunError: the name's ending is not an image format, or the file cannot be written.
    """
    path, buffer = Path(path), io.BytesIO()
    check_pixels(pixels, str(path))
    try:
        from PIL import Image

        kind = Image.registered_extensions().get(path.suffix.lower(), "none")
        _image(pixels).save(buffer, format=kind)
    except (KeyError, ValueError, OSError):
        raise RunError(f"{path} cannot be written as an image; let its name end in .png or .jpg.") from None
    with atomic_file(path) as part:
        part.write_bytes(buffer.getbuffer())


def resized(pixels: Pixels, width: int, height: int) -> Pixels:
    """Give an image [H, W, 3] stretched to another size (bicubic)."""
    return _resize(pixels, width, height)


def check_pixels(pixels: Pixels, where: str, axes: int = 3) -> Pixels:
    """Give pixels that are an image [H, W, 3] (or frames [F, H, W, 3], `axes` 4); raises DataError for others."""
    shape = "[height, width, 3]" if axes == 3 else "[frames, height, width, 3]"
    if pixels.dtype != np.uint8 or pixels.ndim != axes or pixels.shape[-1] != 3 or not pixels.size:
        raise DataError(f"{where} has pixels of shape {list(pixels.shape)} and type {pixels.dtype}, but must be {shape} uint8.")
    return pixels


def _load(source: Source, name: str, formats: tuple[str, ...], limits: MediaLimits) -> Pixels:
    with open_file(source, name, "image", limits) as file, opened(file, name, formats, limits) as image:
        width, height = header_size(image)
        whole = upright(image)
        check_rows(image, file, name)
        pixels = np.asarray(rgb(whole, name))
    if pixels.shape != (height, width, 3):  # token counts are made from headers
        raise DataError(f"{name} is a damaged image (its header states {width} x {height} pixels, but it has"
                        f" {pixels.shape[1]} x {pixels.shape[0]}); write or copy it again.", kind="unreadable image")
    return pixels


def _image(pixels: Pixels) -> "Image":
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(pixels))


def _resize(pixels: Pixels, width: int, height: int, resample: str = "bicubic") -> Pixels:
    """Stretch an image [H, W, 3]; one that has the size is given as it is."""
    from PIL import Image

    if pixels.shape[1::-1] == (width, height):
        return pixels
    return np.asarray(_image(pixels).resize((width, height), Image.Resampling[resample.upper()]))
