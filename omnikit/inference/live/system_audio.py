"""The machine's microphone and loudspeaker, by the package sounddevice, which is imported when a device is opened."""

from __future__ import annotations

from importlib import import_module
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import Any

import numpy as np

from omnikit.errors import RunError
from omnikit.inference.live.audio_device import PlayQueue
from omnikit.inference.live.resampler import Samples

WITHOUT = "use --audio FILE for a recording instead"


class SystemAudio:
    """Owns a stream of each; the loudspeaker's begins with the first audio, at its sample rate. See AudioDevice.

    Raises:
        RunError: the package or its library is not installed, or there is no such device.
    """

    def __init__(self) -> None:
        self._module = sounddevice()
        self._pieces: SimpleQueue[Samples] = SimpleQueue()
        self._queue = PlayQueue()
        self._output: Any = None
        try:
            self.sample_rate = int(self._module.query_devices(kind="input")["default_samplerate"])
            self._input = self._open("InputStream", self.sample_rate, self._on_input)
        except (self._module.PortAudioError, ValueError) as error:
            raise RunError(f"No microphone can be opened ({error}); connect one, or {WITHOUT}.") from None

    def read(self, *, wait: bool) -> Samples | None:
        """See AudioDevice."""
        found = [self._pieces.get()] if wait else []
        try:
            while True:
                found.append(self._pieces.get_nowait())
        except Empty:
            return np.concatenate([np.zeros(0, dtype=np.float32), *found])

    def write(self, waveform: Samples, sample_rate: int) -> None:
        """See AudioDevice; raises RunError where there is no loudspeaker."""
        self._queue.put(waveform)
        if self._output is None:
            try:
                self._output = self._open("OutputStream", sample_rate, self._on_output)
            except (self._module.PortAudioError, ValueError) as error:
                raise RunError(f"No loudspeaker can be opened at {sample_rate} Hz ({error}); connect one, or"
                               f" {WITHOUT}.") from None

    def clear(self) -> None:
        """See AudioDevice."""
        self._queue.clear()

    def close(self) -> None:
        """See AudioDevice."""
        for stream in (self._input, self._output):
            if stream is not None:
                stream.close()

    def _open(self, kind: str, sample_rate: int, callback: Any) -> Any:
        stream = getattr(self._module, kind)(samplerate=sample_rate, channels=1, dtype="float32", callback=callback)
        stream.start()
        return stream

    def _on_input(self, data: Samples, frames: int, times: object, status: object) -> None:
        """Take audio [N, 1] of the microphone, in the library's thread."""
        self._pieces.put(data[:, 0].copy())

    def _on_output(self, data: Samples, frames: int, times: object, status: object) -> None:
        """Give audio [N, 1] to the loudspeaker, in the library's thread."""
        data[:, 0] = self._queue.take(frames)


def sounddevice() -> ModuleType:
    """Give the package; raises RunError where it or its library is not installed."""
    try:
        return import_module("sounddevice")
    except ImportError:
        raise RunError(f"A microphone needs the package sounddevice, which is not installed; pip install 'omnikit[live]', or"
                       f" {WITHOUT}.") from None
    except OSError as error:  # the wheel for Linux does not bring its library
        raise RunError(f"A microphone needs the library PortAudio ({error}); install it (Debian: libportaudio2), or"
                       f" {WITHOUT}.") from None
