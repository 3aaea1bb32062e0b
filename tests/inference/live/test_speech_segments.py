"""Beginnings and ends of speech against silero-vad's own, on its own probabilities, and by hand."""

import importlib.util
from itertools import pairwise

import numpy as np
import pytest
import torch
from omnikit_espeak.config import Espeak
from omnikit_silero.config import Silero

from omnikit.inference.live.speech_segments import Change, SpeechSegments
from omnikit.recipe.live import TurnPolicy

FRAME = 512
PLAIN = TurnPolicy(min_speech_ms=0, min_silence_ms=320, prefix_padding_ms=0)


def changes(probabilities: list[float], policy: TurnPolicy) -> list[tuple[Change, int]]:
    """Give what changes, with where speech begins or ends, in frames."""
    segments, found = SpeechSegments(), list[tuple[Change, int]]()
    for index, probability in enumerate(probabilities):
        change = segments.push(probability, index * FRAME, (index + 1) * FRAME, policy)
        if change:
            place = segments.silent_since if change in ("paused", "stopped") else segments.start
            found.append((change, (place or 0) // FRAME))
        if change == "stopped":
            segments.end()
    return found


@pytest.fixture(scope="module")
def probabilities() -> list[float]:
    """Of three sentences with silence and noise between them."""
    espeak, noise = Espeak().build(), np.random.default_rng(0)
    sentences = [espeak.speak(text, voice)[0] for text, voice in (
        ("what is two plus one", "en-us+f3"), ("a red ball is on the left", "en-us+m3"), ("yes", "en-us+m1"))]
    parts = [np.zeros(8000), sentences[0], 0.002 * noise.normal(size=12000), sentences[1], np.zeros(9000), sentences[2],
             0.05 * noise.normal(size=16000)]
    joined = np.concatenate(parts).astype(np.float32)
    vad = Silero().build()
    state, found = vad.init_state(), []
    for frame in joined[: len(joined) // FRAME * FRAME].reshape(-1, FRAME):
        probability, state = vad.step(frame, state)
        found.append(probability)
    return found


class Replayed(torch.nn.Module):
    """A model for silero's functions that gives known probabilities."""

    def __init__(self, probabilities: list[float]) -> None:
        super().__init__()
        self.probabilities, self.index = probabilities, 0

    def forward(self, audio: torch.Tensor, sampling_rate: int) -> torch.Tensor:
        self.index += 1
        return torch.tensor(self.probabilities[self.index - 1])

    def reset_states(self) -> None:
        self.index = 0


def silero_utilities() -> object:
    """Import the package's functions without its __init__, which sets the number of threads."""
    package = importlib.util.find_spec("silero_vad")
    assert package and package.submodule_search_locations
    spec = importlib.util.spec_from_file_location("silero_utilities", f"{package.submodule_search_locations[0]}/utils_vad.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_positions_are_those_of_silero_s_iterator(probabilities: list[float]) -> None:
    iterator = silero_utilities().VADIterator(Replayed(probabilities), min_silence_duration_ms=288, speech_pad_ms=0)
    expected = [event for _ in probabilities if (event := iterator(torch.zeros(FRAME)))]
    found = changes(probabilities, PLAIN)  # counts silence to the end of a frame, the iterator to its beginning: 32 ms more
    assert [{"started": "start", "stopped": "end"}[kind] for kind, _ in found] == [next(iter(event)) for event in expected]
    assert [place * FRAME for _, place in found] == [next(iter(event.values())) for event in expected]
    assert len(found) == 6


def test_segments_are_those_of_silero_s_offline_function(probabilities: list[float]) -> None:
    expected = silero_utilities().get_speech_timestamps(
        torch.zeros(FRAME * len(probabilities)), Replayed(probabilities), min_speech_duration_ms=0,
        min_silence_duration_ms=288, speech_pad_ms=0)
    found = changes(probabilities, PLAIN)
    assert [(start * FRAME, end * FRAME) for (_, start), (_, end) in list(pairwise(found))[::2]] == [
        (segment["start"], segment["end"]) for segment in expected]


def test_what_is_between_the_thresholds_changes_nothing() -> None:
    policy = TurnPolicy(min_speech_ms=64, min_silence_ms=64)
    assert changes([0.9, 0.4, 0.9, 0.4, 0.4, 0.4, 0.4], policy) == [("started", 0)]  # 0.4 is above 0.5 - 0.15


def test_silence_counts_from_its_first_frame() -> None:
    policy = TurnPolicy(min_speech_ms=32, min_silence_ms=128)
    assert changes([0.9, 0.1, 0.4, 0.4, 0.1, 0.9], policy) == [("started", 0), ("stopped", 1), ("started", 5)]


def test_a_pause_ends_with_speech() -> None:
    policy = TurnPolicy(min_speech_ms=32, min_silence_ms=160, speculative_ms=64)
    found = changes([0.9, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1], policy)
    assert found == [("started", 0), ("paused", 1), ("continued", 0), ("paused", 4), ("stopped", 4)]
