"""How large files of audio, images and videos may be: the section `media` of a recipe. It decides no weight."""

from dataclasses import dataclass

MOST_PIXELS = 178_956_970  # Pillow opens no larger image


@dataclass(frozen=True)
class MediaLimits:
    """Limits of one file; what exceeds one is refused, by its header where that states enough.

    Args:
        max_seconds: of audio, or of a video; where an encoder reads the first seconds of a clip only, these count.
        max_pixels: of an image, or of a frame of a video, before it is resized.
        max_frames: of a video, of which an encoder takes a few.
        max_bytes: of a file.
    """

    max_seconds: float = 3600.0
    max_pixels: int = 50_000_000
    max_frames: int = 250_000
    max_bytes: int = 4 << 30

    def __post_init__(self) -> None:
        for name in ("max_seconds", "max_frames", "max_bytes"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}, but must be a number above 0")
        if not 0 < self.max_pixels <= MOST_PIXELS:
            raise ValueError(f"max_pixels is {self.max_pixels}, but must be from 1 to {MOST_PIXELS:,}, the largest image that"
                             " Pillow opens")
