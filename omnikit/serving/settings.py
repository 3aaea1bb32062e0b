"""What whoever runs the server decides: limits, keys, and which web pages may use it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from omnikit.recipe.media import MediaLimits

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What clients may ask for; every one has a refusal of its own.

    Args:
        sessions: Realtime sessions at the same time.
        requests: requests at the same time.
        jobs: that wait for the model at the same time.
        body_bytes: of a request.
        message_bytes: of a Realtime message.
        media: audio, images and videos of a request.
        audio_seconds: of one audio, and of a user's turn.
        video_seconds: of one video.
        image_pixels: of one image, or of one frame of a video.
        session_seconds: of a Realtime session.
        requests_per_minute: of one client, known by its key or address; Realtime sessions count once.
        messages_per_second: of one Realtime session; more of them wait.
        pending_bytes: of events that a Realtime client has not read; with more its session ends.
        send_seconds: until a client has read what is sent to it; then its connection ends.
        choices: answers to one request.
        drain_seconds: that running answers have to end when the server is stopped.
    """

    sessions: int = 16
    requests: int = 64
    jobs: int = 256
    body_bytes: int = 32 * MEBIBYTE
    message_bytes: int = 8 * MEBIBYTE
    media: int = 32
    audio_seconds: float = 120.0
    video_seconds: float = 120.0
    image_pixels: int = 24_000_000
    session_seconds: float = 3600.0
    requests_per_minute: int = 600
    messages_per_second: int = 400
    pending_bytes: int = 16 * MEBIBYTE
    send_seconds: float = 20.0
    choices: int = 8
    drain_seconds: float = 30.0

    def within(self, media: MediaLimits) -> Limits:
        """Give these limits, those of media no larger than the recipe's."""
        return replace(self, audio_seconds=min(self.audio_seconds, media.max_seconds),
                       video_seconds=min(self.video_seconds, media.max_seconds),
                       image_pixels=min(self.image_pixels, media.max_pixels))


@dataclass(frozen=True)
class Settings:
    """How a server serves.

    Args:
        name: of the model, as clients see it in lists and answers.
        keys: API keys, any of which opens the routes; none: no key is needed.
        origins: web pages (scheme, host and port) that may use the server beside its own.
    """

    name: str
    keys: tuple[str, ...] = field(default=(), repr=False)
    origins: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
