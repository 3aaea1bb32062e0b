"""What flows between components, described before any tensor exists.

Independent of torch, Hydra or files: only numbers and names.
"""

from dataclasses import MISSING, dataclass, field, fields
from fractions import Fraction
from math import isqrt
from typing import Any

LATER = {"later": True}  # metadata of a field that came after there were runs: at its default it leaves their hashes alone
STATES = ("audio", "noise", "text")  # what an answer takes its question for
FITS = ("crop", "pad", "stretch", "corner")  # how an image becomes a square, see ImageSpec
RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # in the order of Pillow's numbers
KINDS = ("encoder", "projector", "backbone", "head", "codec", "tts", "vad", "reader", "importer", "builder", "normaliser")


def later_defaults(settings: Any) -> set[str]:  # of any dataclass: typeshed's name for that is private
    """Give the fields of a dataclass that are LATER and stand at their default."""
    return {name for name, default in later_values(type(settings)).items() if getattr(settings, name) == default}


def later_values(cls: type[Any]) -> dict[str, Any]:
    """Give the fields of a dataclass that are LATER, with their defaults."""
    return {f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in fields(cls)
            if f.metadata == LATER}


@dataclass(frozen=True)
class SignalSpec:
    """Raw input of an encoder.

    Args:
        modality: "audio", "image" (images, and the frames of videos) or "prompt" (a place for learned vectors).
        rate: samples per second; None for a signal without time.
        shape: shape of one item without its time axis; () for mono audio, (3, 448, 448) for an image.
    """

    modality: str
    rate: Fraction | None = None
    shape: tuple[int, ...] = ()

    def __str__(self) -> str:
        if self.rate:
            return f"{self.modality}, {float(self.rate):g} Hz"
        return f"{self.modality}, {self.shape}" if self.shape else self.modality


@dataclass(frozen=True)
class FeatureSpec:
    """Vectors: exactly one of `rate` (Hz) and `count` (vectors per item) is given.

    Args:
        dim: width of a vector.
        rate: vectors per second.
        count: vectors per item, whatever its length (an image tile, the queries of a Q-Former).
        lookahead: seconds of future that a vector depends on; infinite when the whole clip is needed.
    """

    dim: int
    rate: Fraction | None = None
    count: int | None = None
    lookahead: float = 0.0

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.count is None):
            raise ValueError(f"a feature has either a rate or a count, but got rate={self.rate} and count={self.count}")

    def __str__(self) -> str:
        pace = f"{float(self.rate):g} Hz" if self.rate is not None else f"{self.count} positions"
        return f"hidden size {self.dim}, {pace}"


@dataclass(frozen=True)
class ImageSpec:
    """How images and videos are cut and normalised for an encoder of images; it takes tiles (3, size, size).

    Args:
        size: side of a tile in pixels.
        mean: of red, green and blue, in [0, 1].
        deviation: of red, green and blue, in [0, 1].
        fit: how a whole image or frame becomes a square: "crop": shortest edge resized and the centre cut out; "pad": padded to
            a square; "stretch": resized to the square, whatever its shape; "corner": longest edge resized, put into the upper
            left corner. Padding has the mean colour.
        edge: what "crop" resizes the shortest edge to; None: `size`.
        resample: Pillow's filter, one of RESAMPLING.
        least_tiles: that an image is cut into (a thumbnail is not counted).
        most_tiles: that an image is cut into; 0 cuts none and fits the image by `fit`.
        thumbnail: whether an image of several tiles is followed by all of it, small.
        frame_rate: frames of a video per second; None: four of a video under 4 s, one a second up to 16 s, sixteen of a longer
            one (arXiv:2501.01957).
        least_frames: of a video; a shorter one repeats some.
        most_frames: of a video.
        pooled: (every, slow, fast): in a video every so many frames keep `slow` vectors, the others `fast`; None keeps all.
        grids: (columns, rows) of tiles that an image may be cut into, instead of `least_tiles` to `most_tiles`: the one that
            keeps most of its pixels. The image keeps its shape and is padded with black; its thumbnail, stretched, comes first
            (LLaVA-NeXT's any resolution).
    """

    size: int
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)  # ImageNet's
    deviation: tuple[float, float, float] = (0.229, 0.224, 0.225)
    fit: str = "crop"
    least_tiles: int = 1
    most_tiles: int = 12
    thumbnail: bool = True
    frame_rate: float | None = None
    least_frames: int = 4
    most_frames: int = 16
    pooled: tuple[int, int, int] | None = None
    edge: int | None = None
    resample: str = "bicubic"
    grids: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        for name, known in (("fit", FITS), ("resample", RESAMPLING)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}, but must be one of {', '.join(known)}")
        if self.edge is not None and (self.fit != "crop" or self.edge < self.size):
            raise ValueError(f"edge is {self.edge} and fit is {self.fit}, but edge is the shortest edge of an image whose"
                             f" centre is cut out: set fit=crop and edge to at least {self.size}, the size of that centre")
        if self.size < 1 or self.least_tiles < 1 or (self.most_tiles and self.most_tiles < self.least_tiles):
            raise ValueError(f"images of {self.least_tiles} to {self.most_tiles} tiles of {self.size} pixels are asked for,"
                             " but there must be at least 1 of each and at least as many at most (0 cuts none)")
        if not 1 <= self.least_frames <= self.most_frames or (self.frame_rate is not None and self.frame_rate <= 0):
            raise ValueError(f"videos of {self.least_frames} to {self.most_frames} frames at {self.frame_rate} a second are"
                             " asked for, but there must be at least 1, at least as many at most, and a rate above 0")
        if self.pooled and (self.pooled[0] < 1 or any(isqrt(count) ** 2 != count or not count for count in self.pooled[1:])):
            raise ValueError(f"pooled is {list(self.pooled)}, but must be a number of frames and two squares: 4, 144, 49")
        if any(len(grid) != 2 or min(grid) < 1 for grid in self.grids):
            raise ValueError(f"grids is {[list(grid) for grid in self.grids]}, but each must be columns and rows of tiles, such"
                             " as 2, 1")

    @property
    def cuts(self) -> bool:
        """Whether images are cut into tiles."""
        return bool(self.grids or self.most_tiles)

    @property
    def largest_grid(self) -> tuple[int, int]:
        """The grid (columns, rows) of most tiles."""
        if self.grids:
            return max(self.grids, key=lambda grid: grid[0] * grid[1])
        return (max(1, self.most_tiles), 1)

    def tiles(self, grid: tuple[int, int]) -> int:
        """Give the tiles of an image that is cut into a grid, its thumbnail among them."""
        count = grid[0] * grid[1]
        return count + int(bool(self.grids) or (self.cuts and self.thumbnail and count > 1))

    def frame_count(self, frame: int, count: int) -> int:
        """Give the vectors that stay of a video's frame (from 0), which has `count`."""
        if self.pooled is None:
            return count
        every, slow, fast = self.pooled
        return fast if frame % every else slow


@dataclass(frozen=True)
class CodecSpec:
    """A codec's handshake.

    Args:
        sample_rate: samples per second of the wave.
        rate: codes per second and codebook, before runs are merged.
        codebooks: parallel codes per frame.
        cardinality: how many different codes a codebook has.
        merged: True if runs of one code are merged and a duration model puts them back (unit vocoders).
    """

    sample_rate: int
    rate: Fraction
    codebooks: int
    cardinality: int
    merged: bool = False

    def __str__(self) -> str:
        books = f"{self.codebooks} x {self.cardinality} codes"
        return f"{self.sample_rate} Hz, {float(self.rate):g} frames/s, {books}{', runs merged' if self.merged else ''}"


@dataclass(frozen=True)
class Template:
    """How a conversation becomes text for one family of language models.

    Each pattern holds `{content}` once. `assistant` + answer + `end` is one answer; the answer and `end` are supervised.
    What a template of LLaVA's family needs beyond that is off by default: see docs/explanation/exactness.md.

    Args:
        specials: tokens that the tokenizer must know as single ids.
        default_system: system prompt used when a conversation brings none; empty for none.
        behind_audio: text behind each audio of a question.
        instruction: text behind `behind_audio` in a question that brings audio but no text.
        strip: drop the space around each message.
        pieces: tokenise the whole run of text between two media at once, header and answer together, as LLaVA's code does:
            if the first run begins with the id of `bos`, one is kept and the first id of every run is dropped. False
            tokenises each answer alone, as it is generated, and drops nothing.
            Where `bos` is empty, the id that the tokenizer adds by itself takes its part, if there is one.
        adds_bos: with `pieces`, whether the tokenizer puts `bos` before each run; None: as the tokenizer itself does.
        first: pattern of a question right behind the system prompt; empty: as `user`.
        systems: default system prompts by what a conversation shows, instead of `default_system`: of the keys "video", "image"
            and "text" (neither of both); where it shows both, the last one counts.
        states: what stands before an answer, supervised, by its state: of the keys "audio", "noise" and "text".
        bare_text: a conversation without any medium has no states, and the last id before each of its answers is trained too,
            as the code of VITA 1.0 has it.
        behind_image: text behind each image of a question, whatever its number of tiles.
        behind_video: text behind each video of a question.
        chat: source of a tokenizer's own chat template (Jinja), which then renders whole conversations instead of the patterns.
        chat_tokens: what that source calls bos_token, eos_token, …
        chat_specials: tokens of the tokenizer that can end an answer.
        tidy: drop newlines beside images and videos and the one behind audio, make one of two in a question that shows
            something, and move images that end a question to its front, as VITA's data code does.
    """

    bos: str
    system: str
    user: str
    assistant: str
    end: str
    specials: tuple[str, ...]
    default_system: str = ""
    behind_audio: str = field(default="", metadata=LATER)
    instruction: str = field(default="", metadata=LATER)
    strip: bool = field(default=False, metadata=LATER)
    pieces: bool = field(default=False, metadata=LATER)
    adds_bos: bool | None = field(default=None, metadata=LATER)
    first: str = field(default="", metadata=LATER)
    systems: dict[str, str] = field(default_factory=dict, metadata=LATER)
    states: dict[str, str] = field(default_factory=dict, metadata=LATER)
    bare_text: bool = field(default=False, metadata=LATER)
    behind_image: str = field(default="", metadata=LATER)
    behind_video: str = field(default="", metadata=LATER)
    tidy: bool = field(default=False, metadata=LATER)
    chat: str = field(default="", metadata=LATER)
    chat_tokens: dict[str, str] = field(default_factory=dict, metadata=LATER)
    chat_specials: tuple[str, ...] = field(default=(), metadata=LATER)

    def __post_init__(self) -> None:
        _check_keys("systems", self.systems, ("text", "image", "video"))
        _check_keys("states", self.states, STATES)
        if len(set(self.states.values())) < len(self.states) or "" in self.states.values():
            raise ValueError(f"states is {self.states}, but each state must have a text of its own")
        if self.bare_text and not self.pieces:
            raise ValueError("bare_text is true, but only templates with `pieces: true` read it")
        if self.adds_bos is not None and not self.bos:
            raise ValueError("adds_bos is set, but bos is empty, and it is what would be added")
        if self.adds_bos is not None and not self.pieces:
            raise ValueError(f"adds_bos is {str(self.adds_bos).lower()}, but only templates with `pieces: true` read it")


def _check_keys(name: str, values: dict[str, str], known: tuple[str, ...]) -> None:
    for key in values:
        if key not in known:
            raise ValueError(f"{name} has the key {key!r}, but takes only {', '.join(known)}")
