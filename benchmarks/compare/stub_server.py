"""omnikit's server with a stub for its model: a text and a second of audio that take no time.

    python benchmarks/compare/stub_server.py PORT
"""

import sys

import numpy as np
import torch

import omnikit
from omnikit.contracts.types import Sample
from omnikit.errors import OmnikitError
from omnikit.inference.answer import Event
from omnikit.inference.answer_usage import AnswerUsage
from omnikit.inference.engine import AnswerOptions, FinishReason
from omnikit.inference.prefix_cache import PrefixCache
from omnikit.serving.address import Address
from omnikit.serving.app import create_app
from omnikit.serving.server import Server, bind
from omnikit.serving.service import Service
from omnikit.serving.settings import Limits, Settings

RATE, BLOCK, TEXT = 16000, 512, "This is the answer."


class StubAnswer:
    """An answer that is complete at once."""

    error: OmnikitError | None = None
    finish_reason: FinishReason | None = "stop"
    prompt_tokens = cached_tokens = answer_tokens = 1
    usage = AnswerUsage()

    def __init__(self) -> None:
        audio = np.full(BLOCK, 0.03, np.float32)
        self._ready = [Event(0.0, text=TEXT), *(Event(0.0, waveform=audio, sample_rate=RATE) for _ in range(RATE // BLOCK))]

    @property
    def done(self) -> bool:
        """Whether its events were taken."""
        return not self._ready

    def take(self) -> list[Event]:
        """Give its events."""
        ready, self._ready = self._ready, []
        return ready

    def cancel(self) -> None:
        """Drop what was not taken."""
        self._ready = []


class StubEngine:
    """Answers whatever is asked with one sentence."""

    def begin(self, sample: Sample, options: AnswerOptions, prefix: PrefixCache | None = None) -> StubAnswer:
        """Give the answer."""
        return StubAnswer()

    def step(self) -> bool:
        """Do nothing."""
        return False


def main(port: int) -> None:
    """Serve until the process ends."""
    torch.set_num_threads(1)
    limits = Limits(requests_per_minute=100_000)
    session = omnikit.build("llama_omni/tiny", device="cpu")  # for its voice activity detection and its sample rate
    service = Service(session, StubEngine(), Settings("stub", limits=limits))
    address = Address(port=port)
    Server(create_app(service), service, address).run([bind(address, limits.send_seconds)])


if __name__ == "__main__":
    main(int(sys.argv[1]))
