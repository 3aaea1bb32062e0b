"""Media parts of a sample become signals: what an encoder reads, one padded batch of each kind. Knows no plan and no token."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from omnikit.data.media import load_audio
from omnikit.errors import DataError
from omnikit.types import Part, Sample, Signal

Wave = NDArray[np.float32]


def questions(sample: Sample) -> list[Part]:
    """Give the media parts of what the model is asked, in order."""
    return [part for message in sample.messages if message.role != "assistant" for part in message.content
            if part.type != "text"]


def spoken(sample: Sample) -> list[Part]:
    """Give the audio parts of the answers, in order."""
    return [part for message in sample.messages if message.role == "assistant" for part in message.content
            if part.type == "audio"]


def waveform(part: Part, rate: int, row: str) -> Wave:
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


def signal(waves: Sequence[Wave]) -> Signal:
    """Give waveforms as one padded signal."""
    lengths = [len(wave) for wave in waves]
    data = torch.zeros(len(waves), max(lengths))
    for row, wave in zip(data, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    return Signal(data, torch.tensor(lengths, dtype=torch.int64))
