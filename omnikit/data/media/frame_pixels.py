"""The pixels of a decoded frame: upright, what is transparent on white. Decodes nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

Pixels = NDArray[np.uint8]
ALPHA = ("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya8", "ya16", "pal8")  # how formats with transparency begin
DEEP = re.compile(r"p(9|10|12|14|16)(le|be)$")  # how formats of YUV with deeper planes end
UNITY = 1 << 16  # 1 in a display matrix


def frame_pixels(frame: VideoFrame) -> Pixels:
    """Give [H, W, 3] of red, green and blue."""
    shown = _eight_bits(frame)
    if not shown.format.name.startswith(ALPHA):
        return _upright(frame, shown.to_ndarray(format="rgb24").astype(np.uint8, copy=False))
    values = shown.to_ndarray(format="rgba").astype(np.uint16)
    colours, alpha = values[..., :3], values[..., 3:]
    return _upright(frame, ((colours * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8))  # on white


def _eight_bits(frame: VideoFrame) -> VideoFrame:
    """Cut deeper colours to 8 bits, without changing where they lie: PyAV's way from 10 bits to RGB blurs them."""
    deep = DEEP.search(frame.format.name)
    return frame.reformat(format=frame.format.name[:deep.start()] + "p", interpolation="POINT") if deep else frame


def _upright(frame: VideoFrame, pixels: Pixels) -> Pixels:
    """Turn or mirror a frame by its display matrix: x' = a x + c y, y' = b x + d y."""
    sides: list[Any] = list(frame.side_data)  # PyAV's own types call them texts
    matrix = next((side for side in sides if side.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return pixels
    a, b, _, c, d = (round(value / UNITY) for value in np.frombuffer(matrix, dtype=np.int32)[:5].tolist())
    if not a and not d:
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
