"""A live session between a microphone and a loudspeaker."""

from __future__ import annotations

from collections.abc import Iterator

from omnikit.inference.live.audio_device import AudioDevice
from omnikit.inference.live.events import AudioDelta, Interrupted, LiveEvent, Paused, Truncated
from omnikit.inference.live.session import LiveSession


def converse(live: LiveSession, device: AudioDevice) -> Iterator[LiveEvent]:
    """Give what happens, until the device has no more audio; steps the engine between two pieces of audio.

    Args:
        live: without a pace.
    """
    busy = False
    while (samples := device.read(wait=not busy)) is not None:
        events = live.push(samples, device.sample_rate) if len(samples) else []
        busy = live.engine.step()
        for event in [*events, *live.advance()]:
            _play(event, device)
            yield event


def _play(event: LiveEvent, device: AudioDevice) -> None:
    if isinstance(event, AudioDelta):
        device.write(event.waveform, event.sample_rate)
    elif isinstance(event, Paused | Interrupted | Truncated):
        device.clear()
