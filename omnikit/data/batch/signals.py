"""Media parts of a sample become signals: what an encoder reads, one padded batch of each kind. Knows no token."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from omnikit.contracts.specs import ImageSpec
from omnikit.contracts.types import ContentPart, Sample, Signal
from omnikit.data.media.audio import load_audio
from omnikit.data.media.image import Pixels, checked, coloured, fitted, image_size, load_image, tile_count, tiles
from omnikit.data.media.video import VideoFile, chosen, load_frames, open_video
from omnikit.errors import DataError
from omnikit.plan.graph import InputBranch

Wave = NDArray[np.float32]
Item = NDArray[np.float32]  # one signal: a wave [N], a tile [3, S, S], or [1] where a branch takes no signal


def questions(sample: Sample) -> list[ContentPart]:
    """Give the media parts of what the model is asked, in order."""
    return [part for message in sample.messages if message.role != "assistant" for part in message.content
            if part.type != "text"]


def spoken(sample: Sample) -> list[ContentPart]:
    """Give the audio parts of the answers, in order."""
    return [part for message in sample.messages if message.role == "assistant" for part in message.content
            if part.type == "audio"]


def signals(part: ContentPart, input_branch: InputBranch, row: str) -> list[Item]:
    """Give the signals of a part for the branch that takes it: one wave, or an image's tiles, or a video's frames.

    Raises:
        DataError: the part cannot be used; names the row.
    """
    if input_branch.image_spec is None or part.type not in input_branch.media:
        if input_branch.encoder.input.modality == "prompt":
            return [np.zeros(1, dtype=np.float32)]
        return [waveform(part, int(input_branch.encoder.input.rate or 0), row)]
    try:
        return list(coloured(seen(part, input_branch.image_spec), input_branch.image_spec))
    except DataError as error:
        raise DataError(f"Row {row}: {error}", kind=error.kind) from error


def seen(part: ContentPart, spec: ImageSpec) -> Pixels:
    """Give the tiles of an image, or the frames of a video, [T, S, S, 3]; raises DataError."""
    if part.type == "image":
        if part.pixels is None and part.path is None:
            raise DataError("a part of type image has neither a path nor data; give it one.", kind="no media")
        return tiles(load_image(part.path) if part.pixels is None and part.path else _pixels(part), spec)
    if part.pixels is not None:
        pixels = _pixels(part)
        frames = pixels[chosen(VideoFile(len(pixels), part.frame_rate), spec)]
    elif part.path is not None:
        frames = load_frames(part.path, spec)
    else:
        raise DataError("a part of type video has neither a path nor data; give it one.", kind="no media")
    return np.stack([fitted(frame, spec) for frame in frames])


def seen_count(part: ContentPart, spec: ImageSpec) -> int:
    """Give the number of tiles or frames that `seen` gives; of a file only the header is read. Raises DataError."""
    if part.type == "image":
        width, height = image_size(part.path or "") if part.pixels is None else part.pixels.shape[1::-1]
        return tile_count(width, height, spec)
    video = open_video(part.path or "") if part.pixels is None else VideoFile(len(part.pixels), part.frame_rate)
    return len(chosen(video, spec))


def waveform(part: ContentPart, rate: int, row: str) -> Wave:
    """Give an audio part as [N] float32 at `rate`; raises DataError naming the row."""
    if part.audio is not None:
        wave = np.asarray(part.audio, dtype=np.float32)
        if part.sample_rate != rate:
            import soxr

            wave = np.asarray(soxr.resample(wave, part.sample_rate, rate), dtype=np.float32)
    elif part.path is not None:
        try:
            wave = load_audio(part.path, rate)
        except DataError as error:
            raise DataError(f"Row {row}: {error}", kind=error.kind) from error
    else:
        raise DataError(f"Row {row} has a part of type {part.type} with neither a path nor data; give it one.",
                        kind="no media")
    if not len(wave):
        raise DataError(f"Row {row} has empty {part.type}, but at least one sample is needed.", kind=f"empty {part.type}")
    return wave


def items_of(item: Item) -> int:
    """Give the length of a signal as a contract counts it: samples of a wave; a tile is one."""
    return len(item) if item.ndim == 1 else 1


def signal(items: Sequence[Item]) -> Signal:
    """Give waveforms as one padded signal, or tiles as a stack of them."""
    lengths = torch.tensor([items_of(item) for item in items], dtype=torch.int64)
    if items[0].ndim > 1:
        return Signal(torch.from_numpy(np.stack(items)), lengths)
    data = torch.zeros(len(items), int(lengths.max()))
    for row, wave in zip(data, items, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    return Signal(data, lengths)


def _pixels(part: ContentPart) -> Pixels:
    assert part.pixels is not None, "asked for after a check"
    return checked(part.pixels, f"a part of type {part.type}", axes=3 if part.type == "image" else 4)
