"""Images of every mode as red, green and blue of 8 bits, upright; and how they are opened. Cuts and resizes nothing."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from omnikit.data.media.png_chunks import exif_chunk, has_all_rows
from omnikit.errors import DataError
from omnikit.recipe.media import MediaLimits

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000", "QOI", "TGA")
"""Pillow's names of the formats that are read; none of them names another file or runs a program."""
READABLE = "PNG, JPEG, WebP, GIF, BMP, TIFF, PPM, AVIF, JPEG 2000, QOI or TGA"
ORIENTATION = 0x0112  # EXIF's tag for how a camera was held
SWAPPED_SIDES = (5, 6, 7, 8)  # its values for images whose width and height change places
WIDTH, HEIGHT, BITS, PHOTOMETRIC, SAMPLE_FORMAT = 256, 257, 258, 262, 339  # TIFF's tags
WHITE_IS_ZERO, SIGNED = 0, 2  # values of the last two
SIXTEEN_BITS = 65535
READER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, LookupError, TypeError, ArithmeticError,
                 AttributeError, MemoryError, RuntimeError)  # all of them in Pillow's readers, for damaged files


@contextmanager
def opened(file: BinaryIO, name: str, formats: tuple[str, ...], limits: MediaLimits) -> Iterator[Image]:
    """Open an image and read its header.

    Raises:
        DataError: it has none of the formats, is damaged (also where the caller decodes it), or too large.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images, whose limit is ours, and of odd metadata
            with Image.open(file, formats=formats) as image:
                width, height = header_size(image)
                if width * height > limits.max_pixels:
                    raise DataError(f"{name} has {width} x {height} pixels, but at most {limits.max_pixels:,} are allowed"
                                    " (media.max_pixels); make it smaller.", kind="unreadable image")
                yield image
    except UnidentifiedImageError:
        raise DataError(f"{name} is not a readable image, but must be one that Pillow reads: {READABLE}.",
                        kind="unreadable image") from None
    except Image.DecompressionBombError:
        raise DataError(f"{name} has more pixels than Pillow opens; at most {limits.max_pixels:,} are allowed"
                        " (media.max_pixels); make it smaller.", kind="unreadable image") from None
    except READER_ERRORS as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise DataError(f"{name} is a damaged image ({reason}); write or copy it again.", kind="unreadable image") from None


def header_size(image: Image) -> tuple[int, int]:
    """Give width and height of an opened image as `upright` gives it."""
    width, height = stored_size(image)
    return (height, width) if orientation(image) in SWAPPED_SIDES else (width, height)


def stored_size(image: Image) -> tuple[int, int]:
    """Give width and height as a file stores them; Pillow itself turns those of a TIFF."""
    tags = getattr(image, "tag_v2", None)
    if image.format == "TIFF" and tags is not None and WIDTH in tags and HEIGHT in tags:
        return int(tags[WIDTH]), int(tags[HEIGHT])
    return image.size


def orientation(image: Image) -> int:
    """Give how a camera was held, 1 to 8; 1 where the image does not state it, or states nonsense."""
    from PIL.Image import Image as PillowImage

    found = None
    with suppress(*READER_ERRORS):
        if image.format == "PNG" and "exif" not in image.info and (file := getattr(image, "fp", None)) is not None:
            at = file.tell()
            image.info["exif"] = exif_chunk(file)
            file.seek(at)
        found = PillowImage.getexif(image).get(ORIENTATION)  # that of a PNG itself decodes it, and hides what is damaged
    return found if isinstance(found, int) and 1 <= found <= 8 else 1  # EXIF's values


def upright(image: Image) -> Image:
    """Decode an image and turn it as its camera was held."""
    from PIL import Image

    held, stored = orientation(image), stored_size(image)
    image.load()
    if held == 1 or (image.size != stored and held in SWAPPED_SIDES) or image.format == "TIFF":
        return image  # Pillow turns TIFF while it loads
    turns = Image.Transpose
    return image.transpose({2: turns.FLIP_LEFT_RIGHT, 3: turns.ROTATE_180, 4: turns.FLIP_TOP_BOTTOM, 5: turns.TRANSPOSE,
                            6: turns.ROTATE_270, 7: turns.TRANSVERSE, 8: turns.ROTATE_90}[held])


def check_rows(image: Image, file: BinaryIO, name: str) -> None:
    """Raise DataError where rows of a decoded PNG are missing; it is read again only where its last row is black."""
    if image.format == "PNG" and not np.asarray(image)[-1].any() and not has_all_rows(file):
        raise DataError(f"{name} is a damaged image (rows at its end are missing); write or copy it again.",
                        kind="unreadable image")


def rgb(image: Image, name: str) -> Image:
    """Give an image as RGB of 8 bits: deeper grey scaled by its type, what is transparent on white.

    Raises:
        DataError: the range of its values is not known.
    """
    from PIL import Image

    clear = "transparency" in image.info
    if _tag(image, SAMPLE_FORMAT) == SIGNED and image.mode == "L":
        raise _unknown_range(np.asarray(image).view(np.int8).astype(np.float64), name, "signed integers of 8 bits")
    if image.mode.startswith("I") or image.mode == "F":
        image, clear = Image.fromarray(_eight_bits(image, name)), False
    if clear or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        shown = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown)
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Image, name: str) -> NDArray[np.uint8]:
    """Give grey of more than 8 bits, which `convert` would cut off, in 8."""
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"{name} holds values that are not finite numbers (NaN or infinite); write it again.",
                        kind="unreadable image")
    if image.mode == "F":
        largest = 1.0
    elif image.mode.startswith("I;16") or image.format in ("PNG", "PPM"):
        largest = float((1 << (_tag(image, BITS) or 16)) - 1)
        largest = SIXTEEN_BITS if largest < 256 else largest  # no such depth
    else:
        raise _unknown_range(values, name, "integers of 32 bits")
    if values.min() < 0 or values.max() > largest:
        raise _unknown_range(values, name, f"values beyond 0 to {largest:g}")
    if image.format == "TIFF" and _tag(image, PHOTOMETRIC) == WHITE_IS_ZERO:
        values = largest - values
    if isinstance(clear := image.info.get("transparency"), int):
        values = np.where(values == clear, largest, values)
    return np.rint(values * (255 / largest)).astype(np.uint8)


def _tag(image: Image, number: int) -> int | None:
    """Give a tag of a TIFF, of its first channel."""
    found = getattr(image, "tag_v2", {}).get(number)
    return found[0] if isinstance(found, tuple) else found


def _unknown_range(values: NDArray[np.float64], name: str, found: str) -> DataError:
    return DataError(f"{name} holds {found} ({values.min():g} to {values.max():g}), whose range is not stated; write it with"
                     " 8 or 16 bits, or as floats in [0, 1].", kind="unreadable image")
