"""Audio that a program passes, as an array or a tensor: one channel of float32. Reads no file."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from omnikit.errors import DataError

Waveform = NDArray[np.float32]
MOST_CHANNELS = 64  # of an array; a longer axis is time
LOUDEST = 100.0  # of floats; 40 dB beyond full scale are integers that nobody scaled


@runtime_checkable
class _Tensor(Protocol):
    """What is asked of a torch tensor; torch itself is not imported here."""

    def detach(self) -> _Tensor: ...
    def cpu(self) -> _Tensor: ...
    def float(self) -> _Tensor: ...
    def is_floating_point(self) -> bool: ...
    def numpy(self) -> NDArray[np.generic]: ...


def as_waveform(audio: object, where: str) -> Waveform:
    """Give samples that a program passes as [N] float32: integers are scaled by their type, channels averaged.

    Args:
        audio: an array or tensor, [N], [N, channels] or [channels, N]; of floats in [-1, 1] or integers.
        where: of the audio, in messages.

    Raises:
        DataError: they are not numbers, of another shape, none, or not finite.
    """
    array = _array(audio, where)
    if array.dtype.kind not in "fiu":
        raise DataError(f"{where} has samples of type {array.dtype}, but must have floats in [-1, 1] or integers.",
                        kind="unreadable audio")
    if not array.size:
        raise DataError(f"{where} holds no samples, but must hold some audio.", kind="empty audio")
    if array.ndim == 2 and min(array.shape) <= MOST_CHANNELS:
        array = scaled(array).mean(axis=int(np.argmin(array.shape)), dtype=np.float32)
    if array.ndim != 1:
        raise DataError(f"{where} has shape {list(array.shape)}, but must be [samples], or that with one axis of channels.",
                        kind="unreadable audio")
    waveform = scaled(array)
    check_values(waveform, where)
    return waveform


def _array(audio: object, where: str) -> NDArray[np.generic]:
    """Give an array of an array, a tensor of any type or device, or a list of numbers."""
    moved = audio
    try:
        if isinstance(audio, _Tensor):
            moved = (audio.detach().cpu().float() if audio.is_floating_point() else audio.detach().cpu()).numpy()
        return np.asarray(moved)
    except (ValueError, TypeError, RuntimeError, NotImplementedError):  # rows of several lengths; meta and sparse tensors
        raise DataError(f"{where} is a {type(audio).__name__} that no array can be made of, but must be an array or tensor of"
                        " samples.", kind="unreadable audio") from None


def scaled(array: NDArray[np.generic]) -> Waveform:
    """Give floats as they are and integers as fractions of their type's range."""
    if array.dtype.kind == "f":
        return np.asarray(array, dtype=np.float32)
    facts = np.iinfo(array.dtype.name)
    middle = 0.0 if facts.min else (facts.max + 1) / 2
    return np.asarray((array.astype(np.float64) - middle) / (facts.max + 1 - middle), dtype=np.float32)


def check_values(waveform: Waveform, name: str) -> None:
    """Raise DataError where a waveform is empty or holds values that are not finite."""
    if not len(waveform):
        raise DataError(f"{name} holds no samples, but must hold some audio.", kind="empty audio")
    if not np.isfinite(waveform).all():
        raise DataError(f"{name} holds values that are not finite numbers (NaN or infinite); write it again.",
                        kind="unreadable audio")
    if (loudest := float(np.abs(waveform).max())) > LOUDEST:
        raise DataError(f"{name} holds values up to {loudest:g}, but floats of audio lie in [-1, 1]; divide them, by 32768 if"
                        " they were 16-bit integers.", kind="unreadable audio")
