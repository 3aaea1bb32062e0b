"""Media that clients send become parts of messages: decoded in memory, within limits, never a path and never fetched."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from omnikit.contracts.specs import ImageSpec
from omnikit.contracts.types import ContentPart
from omnikit.data.media.audio import decode_audio
from omnikit.data.media.image import Pixels, decode_image
from omnikit.data.media.video import decode_frames
from omnikit.errors import DataError
from omnikit.plan.plan import Plan
from omnikit.serving.protocol.fields import ProtocolError
from omnikit.serving.settings import Limits

Waveform = NDArray[np.float32]
SAMPLE_RATE = 16000  # of audio parts
MAX_FRAMES = 64  # of a video that comes as images


@dataclass
class MediaReader:
    """Decodes the media of one request and counts them; `place` names the field that a medium stands in.

    Raises (each of its methods):
        ProtocolError: the medium cannot be used, or the model takes none of its kind.
    """

    plan: Plan
    limits: Limits
    count: int = field(default=0)

    def audio(self, data: str, place: str) -> ContentPart:
        """Give an audio file in base64."""
        self._admit("audio", place)
        return self.waveform_part(self._decoded_audio(_base64(data, place), place))

    def audio_url(self, url: str, place: str) -> ContentPart:
        """Give an audio file in a data URL."""
        self._admit("audio", place)
        return self.waveform_part(self._decoded_audio(data_of_url(url, place), place))

    def _decoded_audio(self, data: bytes, place: str) -> Waveform:
        try:
            return decode_audio(data, SAMPLE_RATE, name=place, seconds=self.limits.audio_seconds)
        except DataError as error:
            raise ProtocolError(str(error), "invalid_audio", place) from None

    @staticmethod
    def waveform_part(waveform: Waveform) -> ContentPart:
        """Give samples [N] at 16 kHz."""
        return ContentPart("audio", audio=waveform, sample_rate=SAMPLE_RATE)

    def image(self, url: str, place: str) -> ContentPart:
        """Give the image of a data URL."""
        self._admit("image", place)
        return ContentPart("image", pixels=self._pixels(url, place))

    def video(self, url: str, place: str) -> ContentPart:
        """Give the frames of a video in a data URL that the model takes."""
        spec = self._admit("video", place)
        try:
            frames = decode_frames(data_of_url(url, place), spec, name=place, seconds=self.limits.video_seconds,
                                   most=self.limits.image_pixels)
        except DataError as error:
            raise ProtocolError(str(error), "invalid_video", place) from None
        return _video_part(frames, spec)

    def frames(self, urls: Sequence[str], place: str) -> ContentPart:
        """Give a video whose frames are images in data URLs."""
        spec = self._admit("video", place)
        if not 1 <= len(urls) <= MAX_FRAMES:
            raise ProtocolError(f"{place} has {len(urls)} frames, but must have from 1 to {MAX_FRAMES}.", "invalid_video",
                                place)
        frames = [self._pixels(url, f"{place}[{number}]") for number, url in enumerate(urls)]
        if len({frame.shape for frame in frames}) > 1:
            raise ProtocolError(f"{place} has frames of different sizes, but all must have one.", "invalid_video", place)
        return _video_part(np.stack(frames), spec)

    def _pixels(self, url: str, place: str) -> Pixels:
        try:
            return decode_image(data_of_url(url, place), name=place, most=self.limits.image_pixels)
        except DataError as error:
            raise ProtocolError(str(error), "invalid_image_format", place) from None

    def _admit(self, kind: str, place: str) -> ImageSpec:
        """Count a medium; gives how the model cuts images."""
        self.count += 1
        if self.count > self.limits.media:
            raise ProtocolError(f"The request has more than {self.limits.media} audio, images and videos; send fewer.",
                                "too_many_media", place)
        branches = [one for one in self.plan.inputs.values() if kind in one.media]
        if not branches:
            raise ProtocolError(f"{place} is {'an' if kind[0] in 'ai' else 'a'} {kind}, but {self.plan.recipe.name} takes"
                                " none.", "unsupported_content_type", place)
        return branches[0].image_spec or ImageSpec(size=1)


def data_of_url(url: str, place: str) -> bytes:
    """Give the bytes of a data URL in base64; any other URL is refused, because this server fetches nothing."""
    head, comma, data = url.partition(",")
    if not (head.startswith("data:") and head.endswith(";base64") and comma):
        raise ProtocolError(f"{place} must be a data URL in base64 (data:TYPE;base64,…); this server fetches nothing.",
                            "invalid_image_url", place)
    return _base64(data, place)


def _base64(data: str, place: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError(f"{place} is not base64.", "invalid_base64", place) from None


def _video_part(frames: Pixels, spec: ImageSpec) -> ContentPart:
    """Give frames that an encoder takes all: at a second each, or as many a second as it takes."""
    return ContentPart("video", pixels=frames, frame_rate=spec.frame_rate or 1.0)
