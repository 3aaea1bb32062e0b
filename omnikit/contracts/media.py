"""Media of a conversation as projectors read them which join the features of several signals. Imports no torch."""

from dataclasses import dataclass

from omnikit.contracts.specs import ImageSpec


@dataclass(frozen=True)
class Medium:
    """One image, video or clip of a conversation, as signals of an input branch.

    Args:
        type: as ContentPart's.
        signals: tiles of an image or frames of a video; else 1.
        size: width and height of an image in pixels; (0, 0) of anything else.
        grid: columns and rows of an image's tiles, which come row by row; a thumbnail is not among them.
        thumbnail: number of the tile that holds all of an image that is cut; None: there is none.
        padded: whether the image keeps its shape inside its grid, with padding on two opposite sides; else it is stretched.
    """

    type: str
    signals: int = 1
    size: tuple[int, int] = (0, 0)
    grid: tuple[int, int] = (1, 1)
    thumbnail: int | None = None
    padded: bool = False


def image_medium(size: tuple[int, int], grid: tuple[int, int], spec: ImageSpec) -> Medium:
    """Give an image of a size (width, height) that is cut into a grid (columns, rows)."""
    count, tiles = spec.tiles(grid), grid[0] * grid[1]
    thumbnail = None if count == tiles else 0 if spec.grids else tiles
    return Medium("image", count, size, grid, thumbnail, bool(spec.grids))
