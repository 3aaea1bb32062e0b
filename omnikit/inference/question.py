"""A question made into a sample; what cannot be one is refused before a model runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.media.audio_arrays import as_waveform
from omnikit.data.media.image import Pixels
from omnikit.errors import DataError

Audio = str | Path | NDArray[np.float32] | NDArray[np.integer[Any]] | Tensor  # [N], or with an axis of channels
Images = str | Path | Pixels | Sequence[str | Path | Pixels]  # one, or several in a list


def question(audio: Audio | None = None, text: str | None = None, system: str | None = None, *,
             image: Images | None = None, video: Images | None = None, history: Sequence[Message] = (),
             name: str = "question") -> Sample:
    """Make a sample of one question: audio (a file, or samples at 16 kHz), a text, or both in this order.

    Args:
        image: files or pixels [H, W, 3] that stand before them; then the audio is the last, as VITA was trained.
        video: files or pixels [F, H, W, 3] at 25 frames a second, behind the images.

    Raises:
        DataError: nothing is asked, or a value is of another type.
    """
    _check(audio, {"text": text, "system": system}, {"image": image, "video": video})
    visual = [*_parts("image", image), *_parts("video", video)]
    spoken = [ContentPart("audio", path=str(audio)) if isinstance(audio, str | Path)
              else ContentPart("audio", audio=as_waveform(audio, "audio"))] if audio is not None else []
    written = [ContentPart("text", text=text)] if text else []
    content = [*visual, *written, *spoken] if visual else [*spoken, *written]
    if not content:
        raise DataError("A question has neither audio nor text, image or video; give one of them.")
    start = [Message("system", (ContentPart("text", text=system),))] if system is not None else []
    return Sample(name, (*start, *history, Message("user", tuple(content))))


def _parts(kind: str, media: Images | None) -> list[ContentPart]:
    if media is None:
        return []
    several = [media] if isinstance(media, str | Path | np.ndarray) else media
    return [ContentPart(kind, pixels=one) if isinstance(one, np.ndarray) else ContentPart(kind, path=str(one))
            for one in several]


def _check(audio: object, texts: dict[str, object], media: dict[str, object]) -> None:
    """Refuse values of types that no question has."""
    if audio is not None and not isinstance(audio, str | Path | np.ndarray) and not hasattr(audio, "detach"):
        raise DataError(f"audio is {_shown(audio)}, but must be a file, or samples [N] at 16 kHz in an array or tensor.")
    for name, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise DataError(f"{name} is {_shown(text)}, but must be a text.")
        if text and any("\ud800" <= one <= "\udfff" for one in text):
            raise DataError(f"{name} is {text!r}, which holds bytes or half of a character instead of text; write it in UTF-8.")
    for name, found in media.items():
        several = found if isinstance(found, list | tuple) else [] if found is None else [found]
        if strange := [one for one in several if not isinstance(one, str | Path | np.ndarray)]:
            raise DataError(f"{name} is {_shown(strange[0])}, but must be a file or pixels, or a list of them.")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 and "\n" not in text else f"a {type(value).__name__}"
