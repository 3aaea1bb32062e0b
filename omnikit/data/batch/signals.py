"""Media parts of a sample become signals: what an encoder reads, one padded batch of each kind. Reads no token."""

import io
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from omnikit.contracts.media import Medium, image_medium
from omnikit.contracts.specs import ImageSpec
from omnikit.contracts.types import ContentPart, Sample, Signal
from omnikit.data.media.audio import audio_length, check_audio, decode_audio, load_audio
from omnikit.data.media.audio_arrays import as_waveform
from omnikit.data.media.containers import DEFAULTS
from omnikit.data.media.image import (
    Pixels,
    check_pixels,
    cut_tiles,
    decode_image,
    fit_square,
    image_size,
    load_image,
    tile_count,
    tile_grid,
)
from omnikit.data.media.video import VideoFile, frame_indices, open_video, read_frames
from omnikit.errors import DataError
from omnikit.plan.branches import InputBranch
from omnikit.recipe.media import MediaLimits

RATE = 16000  # at which seconds are counted
EMBEDDED = "its embedded file"  # in sentences, behind the row
Waveform = NDArray[np.float32]
SignalArray = NDArray[np.float32] | NDArray[np.uint8]  # a waveform [N], a tile [3, S, S] of bytes, or [1] for no signal


def question_media(sample: Sample) -> list[ContentPart]:
    """Give the media parts of the questions, in order."""
    return [part for message in sample.messages if message.role != "assistant" for part in message.content
            if part.type != "text"]


def media_texts(sample: Sample) -> dict[int, str]:
    """Give the id of each medium's part → the text of its message, pieces joined by a space."""
    texts = [(message, " ".join(part.text.strip() for part in message.content if part.type == "text" and part.text))
             for message in sample.messages]
    return {id(part): text for message, text in texts for part in message.content if part.type != "text"}


def answer_audio(sample: Sample) -> list[ContentPart]:
    """Give the audio parts of the answers, in order."""
    return [part for message in sample.messages if message.role == "assistant" for part in message.content
            if part.type == "audio"]


def load_signals(part: ContentPart, input_branch: InputBranch, row: str, limits: MediaLimits = DEFAULTS) -> list[SignalArray]:
    """Give the signals of a part for the branch that takes it: one waveform, or an image's tiles, or a video's frames.

    Raises:
        DataError: the part cannot be used; names the row.
    """
    if input_branch.image_spec is None or part.type not in input_branch.media:
        if input_branch.encoder.input.modality == "prompt":
            return [np.zeros(1, dtype=np.float32)]
        return [load_waveform(part, int(input_branch.encoder.input.rate or 0), row, limits, input_branch.clip)]
    try:
        return list(load_tiles(part, input_branch.image_spec, limits).transpose(0, 3, 1, 2))
    except DataError as error:
        raise DataError(f"Row {row}: {error}", kind=error.kind) from error


def load_tiles(part: ContentPart, spec: ImageSpec, limits: MediaLimits = DEFAULTS) -> Pixels:
    """Give the tiles of an image, or the frames of a video, [T, S, S, 3]; raises DataError."""
    if part.type == "image":
        if part.pixels is None and part.path is None and part.data is None:
            raise DataError("a part of type image has neither a path nor data; give it one.", kind="no media")
        if part.data is not None:
            return cut_tiles(decode_image(part.data, name=EMBEDDED, most=limits.max_pixels, formats=None), spec)
        return cut_tiles(load_image(part.path, limits) if part.pixels is None and part.path else _pixels(part), spec)
    if part.pixels is not None:
        pixels = _pixels(part)
        indices = frame_indices(VideoFile(len(pixels), part.frame_rate), spec)
        return np.stack([fit_square(frame, spec) for frame in pixels[indices]])
    if (source := part.path if part.data is None else part.data) is None:
        raise DataError("a part of type video has neither a path nor data; give it one.", kind="no media")
    return np.stack([fit_square(frame, spec) for frame in read_frames(source, spec, limits)])


def as_medium(part: ContentPart, spec: ImageSpec | None, signals: int, limits: MediaLimits = DEFAULTS) -> Medium:
    """Give what a part is beside its signals; of an image file the header is read. Raises DataError."""
    if part.type != "image" or spec is None:
        return Medium(part.type, signals)
    width, height = image_size(_source(part), limits) if part.pixels is None else part.pixels.shape[1::-1]
    if not spec.cuts:
        return Medium(part.type, signals, (width, height))
    return image_medium((width, height), tile_grid(width, height, spec), spec)


def count_tiles(part: ContentPart, spec: ImageSpec, limits: MediaLimits = DEFAULTS) -> int:
    """Give the number of tiles or frames that `load_tiles` gives; of a file only the header is read. Raises DataError."""
    if part.type == "image":
        width, height = image_size(_source(part), limits) if part.pixels is None else part.pixels.shape[1::-1]
        return tile_count(width, height, spec)
    video = (open_video(part.data or part.path or "", limits) if part.pixels is None
             else VideoFile(len(part.pixels), part.frame_rate))
    return len(frame_indices(video, spec))


def load_waveform(part: ContentPart, rate: int, row: str, limits: MediaLimits = DEFAULTS,
                  clip: float | None = None) -> Waveform:
    """Give an audio part as [N] float32 at `rate`, of a file the first `clip` seconds; raises DataError naming the row."""
    if part.audio is not None:
        waveform = as_waveform(part.audio, f"Row {row}: a part of type {part.type}") if len(part.audio) else part.audio
        if part.sample_rate != rate:
            import soxr

            waveform = np.asarray(soxr.resample(waveform, part.sample_rate, rate), dtype=np.float32)
    elif part.data is not None or part.path is not None:
        try:
            waveform = (load_audio(part.path or "", rate, seconds=clip, limits=limits) if part.data is None else
                        decode_audio(part.data, rate, name=EMBEDDED, seconds=limits.max_seconds, first=clip))
        except DataError as error:
            raise DataError(f"Row {row}: {error}", kind=error.kind) from error
    else:
        raise DataError(f"Row {row} has a part of type {part.type} with neither a path nor data; give it one.",
                        kind="no media")
    if not len(waveform):
        raise DataError(f"Row {row} has empty {part.type}, but at least one sample is needed.", kind=f"empty {part.type}")
    return waveform


def recorded_samples(part: ContentPart, rate: int, clip: float | None = None, *, limits: MediaLimits = DEFAULTS) -> int:
    """Give the samples that `load_waveform` gives; of a file only the header is read. 0 where it is not audio."""
    if part.audio is None:
        source = part.path if part.data is None else part.data
        return audio_length(source, rate, clip, limits=limits) if source else 0
    frames, own = max(np.shape(part.audio)), part.sample_rate
    return int((2 * frames * rate + own) // (2 * own))  # soxr rounds half up


def audio_seconds(part: ContentPart, limits: MediaLimits = DEFAULTS) -> float | None:
    """Give the seconds of a part's audio, of a file from its header; None where they cannot be read."""
    if part.audio is not None:
        return len(part.audio) / part.sample_rate
    return audio_length(part.data or part.path or "", RATE, limits=limits) / RATE or None


def check_header(part: ContentPart, limits: MediaLimits = DEFAULTS) -> None:
    """Raise DataError where a part's media file cannot be opened; only its header is read."""
    if part.type == "image" and part.pixels is None:
        image_size(_source(part), limits)
    elif part.type == "video" and part.pixels is None:
        open_video(part.data or part.path or "", limits)
    elif part.type == "audio" and part.audio is None and not (part.path is None and part.codes is not None):
        check_audio(part.data or part.path or "", part.path or EMBEDDED, limits)


def signal_length(item: SignalArray) -> int:
    """Give the length of a signal as a contract counts it: samples of a waveform; a tile is one."""
    return len(item) if item.ndim == 1 else 1


def pad_signals(items: Sequence[SignalArray]) -> Signal:
    """Give waveforms as one padded signal, or tiles as a stack of them, colours last in memory as images have them."""
    lengths = torch.tensor([signal_length(item) for item in items], dtype=torch.int64)
    if items[0].ndim > 1:
        return Signal(torch.from_numpy(np.stack([item.transpose(1, 2, 0) for item in items])).permute(0, 3, 1, 2), lengths)
    data = torch.zeros(len(items), int(lengths.max()))
    for row, waveform in zip(data.numpy(), items, strict=True):
        row[: len(waveform)] = waveform
    return Signal(data, lengths)


def _source(part: ContentPart) -> str | BinaryIO:
    """Give the file of a part, embedded or not; "" where it has none."""
    return io.BytesIO(part.data) if part.data is not None else part.path or ""


def _pixels(part: ContentPart) -> Pixels:
    assert part.pixels is not None, "called after a check"
    return check_pixels(part.pixels, f"a part of type {part.type}", axes=3 if part.type == "image" else 4)
