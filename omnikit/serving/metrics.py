"""Counts and times of a server for Prometheus; no text, no audio, no client."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Owns the metrics of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("omnikit_requests", "Requests by route and status.", ("route", "status"),
                                registry=self.registry)
        self.seconds = Histogram("omnikit_request_seconds", "Seconds of requests, until their last byte.", ("route",),
                                 buckets=SECONDS, registry=self.registry)
        self.running = Gauge("omnikit_requests_running", "Requests that are being answered.", registry=self.registry)
        self.sessions = Gauge("omnikit_realtime_sessions", "Realtime sessions that are open.", registry=self.registry)
        self.first_token = Histogram("omnikit_time_to_first_token_seconds", "From a question to its answer's text.",
                                     buckets=SECONDS, registry=self.registry)
        self.first_audio = Histogram("omnikit_time_to_first_audio_seconds", "From a question to its answer's audio.",
                                     buckets=SECONDS, registry=self.registry)
        self.tokens = Counter("omnikit_tokens", "Tokens of prompts and answers.", ("of",), registry=self.registry)
        self.answers = Counter("omnikit_answers", "Answers by how they ended.", ("reason",), registry=self.registry)
        self.errors = Counter("omnikit_errors", "Errors that clients got, by code.", ("code",), registry=self.registry)
        self.jobs = Gauge("omnikit_model_jobs", "Jobs that wait for the model.", registry=self.registry)

    def text(self) -> bytes:
        """Give all of them in Prometheus' text format."""
        return generate_latest(self.registry)
