"""What the routes share: the model and its thread, settings, access, metrics, and whether the server is being stopped."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from omnikit.inference.answer import Event
from omnikit.inference.answer_usage import AnswerUsage
from omnikit.inference.engine import AnswerEngine, AnswerStream
from omnikit.inference.session import Session
from omnikit.serving.access import Access
from omnikit.serving.metrics import Metrics
from omnikit.serving.model_thread import ModelThread
from omnikit.serving.protocol.fields import ProtocolError
from omnikit.serving.settings import Settings


class Service:
    """Owns what the routes share."""

    def __init__(self, session: Session, engine: AnswerEngine, settings: Settings) -> None:
        self.session, self.settings = session, settings
        self.limits = settings.limits.within(session.plan.recipe.media)
        self.model = ModelThread(engine, settings.limits.jobs)
        self.access, self.metrics = Access(settings), Metrics()
        self.metrics.jobs.set_function(lambda: self.model.waiting)
        self.created, self.draining = int(time.time()), False
        self.requests = self.sessions = 0  # that are open

    @property
    def can_speak(self) -> bool:
        """Whether answers may be spoken."""
        return self.session.speech is not None

    @property
    def can_transcribe(self) -> bool:
        """Whether a head gives transcripts."""
        return any(output.head.target == "transcript" for output in self.session.plan.outputs.values())

    @property
    def ready(self) -> bool:
        """Whether requests are accepted."""
        return self.model.alive and not self.draining

    @property
    def idle(self) -> bool:
        """Whether nothing is being answered."""
        return not (self.requests or self.sessions)

    def admit(self) -> None:
        """Refuse a request while the server is being stopped, or where too many run; raises ProtocolError (503)."""
        if self.draining:
            raise ProtocolError("The server is being stopped; try another one.", "server_draining", kind="server_error",
                                status=503)
        if self.requests >= self.limits.requests:
            raise ProtocolError(f"{self.limits.requests} requests are being answered, which is as many as this server takes;"
                                " try again in a moment.", "server_overloaded", kind="server_error", status=503)

    def observe(self, streams: list[AnswerStream]) -> None:
        """Count answers that have ended."""
        for stream in streams:
            self.metrics.answers.labels(stream.finish_reason or "error").inc()
            self.metrics.tokens.labels("answer").inc(stream.answer_tokens)
        self.metrics.tokens.labels("prompt").inc(max((stream.prompt_tokens for stream in streams), default=0))

    def observe_live(self, reason: str, usage: AnswerUsage | None) -> None:
        """Count an answer of a Realtime conversation that has ended."""
        self.metrics.answers.labels(reason).inc()
        if usage:
            self.metrics.tokens.labels("answer").inc(usage.answer.text)
            self.metrics.tokens.labels("prompt").inc(usage.prompt.total)


@dataclass
class FirstTimes:
    """Measures from a question to its answer's first token and audio."""

    metrics: Metrics
    start: float = field(default_factory=time.perf_counter)
    _text: bool = False
    _audio: bool = False

    def take(self, event: Event) -> None:
        """Take an event of the answer."""
        if event.text and not self._text:
            self._text = True
            self.metrics.first_token.observe(time.perf_counter() - self.start)
        if event.waveform is not None and not self._audio:
            self._audio = True
            self.metrics.first_audio.observe(time.perf_counter() - self.start)
