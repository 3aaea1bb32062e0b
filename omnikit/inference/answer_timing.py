"""Time to first token, time to first audio and real-time factor of an answer, measured on its events."""

from dataclasses import dataclass

from omnikit.inference.answer import Event


@dataclass
class AnswerTiming:
    """Seconds since the question; None where nothing of the kind came."""

    ttft: float | None = None
    time_to_first_audio: float | None = None
    last_audio: float = 0.0
    audio_seconds: float = 0.0

    def add(self, event: Event) -> None:
        """Take one event into account."""
        if event.text and self.ttft is None:
            self.ttft = event.seconds
        if event.waveform is not None and len(event.waveform):
            if self.time_to_first_audio is None:
                self.time_to_first_audio = event.seconds
            self.last_audio = event.seconds
            self.audio_seconds += len(event.waveform) / event.sample_rate

    def __str__(self) -> str:
        found = [f"time to first token {self.ttft:.3f} s"] if self.ttft is not None else []
        if self.time_to_first_audio is not None:
            factor = self.last_audio / self.audio_seconds
            found.append(f"time to first audio {self.time_to_first_audio:.3f} s")
            found.append(f"real-time factor {factor:.2f} ({self.last_audio:.2f} s for {self.audio_seconds:.2f} s)")
        return ", ".join(found) or "neither text nor audio"
