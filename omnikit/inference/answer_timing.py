"""When an answer's first text and first sound were there, and how long it sounds: read off its events. Knows no model."""

from dataclasses import dataclass

from omnikit.inference.answer import Event


@dataclass
class AnswerTiming:
    """Seconds since the question; None where nothing of the kind came."""

    text: float | None = None
    sound: float | None = None
    last_sound: float = 0.0
    said: float = 0.0  # seconds of sound

    def notice(self, event: Event) -> None:
        """Take one event into account."""
        if event.text and self.text is None:
            self.text = event.seconds
        if event.waveform is not None and len(event.waveform):
            self.sound = event.seconds if self.sound is None else self.sound
            self.last_sound = event.seconds
            self.said += len(event.waveform) / event.sample_rate

    def __str__(self) -> str:
        found = [f"first text {self.text:.3f} s"] if self.text is not None else []
        if self.sound is not None:
            found.append(f"first sound {self.sound:.3f} s")
            found.append(f"real-time factor {self.last_sound / self.said:.2f} ({self.last_sound:.2f} s for {self.said:.2f} s)")
        return ", ".join(found) or "neither text nor sound"
