"""Checks of components that are called: voice activity, text to speech, normalisers of text, readers of datasets."""

from __future__ import annotations

from typing import Any

import numpy as np

from omnikit.contracts.types import Sample
from omnikit.errors import OmnikitError
from omnikit.testing.check import Check
from omnikit.testing.results import CheckFailure, NotApplicable
from omnikit.testing.service_probe import ServiceProbe

FRAMES = 20  # that voice activity is found in
TEXT = "Two plus one is three."
ROWS = 8  # of a dataset that are read


def called(probe: ServiceProbe) -> None:
    """`build` gives what can be called; a component whose files are not there is left out."""
    _built(probe)


def voice_activity(probe: ServiceProbe) -> None:
    """Each frame has a probability, the same at each pass, and the given state stays as it was."""
    vad = _built(probe)
    generator = np.random.default_rng(0)
    frames = [generator.normal(0, 0.1, probe.config.frame).astype(np.float32) for _ in range(FRAMES)]
    passes = []
    for _ in range(2):
        state, found = vad.init_state(), []
        for frame in frames:
            before = {name: np.array(value) for name, value in state.items()}
            probability, after = vad.step(frame, state)
            if any(not np.array_equal(state[name], value) for name, value in before.items()):
                raise CheckFailure("`step` changes the state that it is given; give a new one")
            if not 0 <= probability <= 1:
                raise CheckFailure(f"it gives a probability of {probability}, but must give 0 to 1")
            state = after
            found.append(probability)
        passes.append(found)
    if passes[0] != passes[1]:
        raise CheckFailure("a second conversation with the same frames gets other probabilities; keep all in the state")


def spoken_text(probe: ServiceProbe) -> None:
    """A sentence is spoken as float32 audio [N] in [-1, 1], the same each time, by a voice that it lists."""
    tts = _built(probe)
    voice = next(iter(tts.voices()), None)
    if voice is None or not str(tts.version):
        raise CheckFailure("it lists no voice, or its `version` is empty")
    (wave, rate), (again, _) = (tts.speak(TEXT, voice, 160, 50) for _ in range(2))
    if wave.dtype != np.float32 or wave.ndim != 1 or not len(wave) or float(np.abs(wave).max()) > 1 or rate < 1:
        raise CheckFailure(f"it gives {wave.dtype} of shape {list(wave.shape)} at {rate} Hz, but must give float32 [N] in"
                           " [-1, 1]")
    if not np.array_equal(wave, again):
        raise CheckFailure("it speaks a sentence otherwise the second time")


def normalised_text(probe: ServiceProbe) -> None:
    """Text becomes text, the same each time."""
    normalise = _built(probe)
    for text in (TEXT, "", "3 + 4"):
        found = normalise(text)
        if not isinstance(found, str) or found != normalise(text):
            raise CheckFailure(f"of {text!r} it makes {found!r}, and must make a text, the same each time")


def rows_read(probe: ServiceProbe) -> None:
    """The first rows are Samples with messages, and hold what `provides` states."""
    reader = _built(probe)
    if len(reader) < 1:
        raise NotApplicable("its dataset has no rows")
    samples = [reader[index] for index in range(min(ROWS, len(reader)))]
    for index, sample in enumerate(samples):
        if not isinstance(sample, Sample) or not sample.messages:
            raise CheckFailure(f"row {index} is {type(sample).__name__}, but must be a Sample with messages")
    found = {word for sample in samples for word in held_by(sample)}
    if missing := [word for word in probe.config.provides if word not in found]:
        raise CheckFailure(f"its `provides` states {', '.join(missing)}, but none of its first {len(samples)} rows holds that")


def held_by(sample: Sample) -> set[str]:
    """Give what a row holds, in the words of `provides`."""
    found: set[str] = set()
    for message in sample.messages:
        for part in message.content:
            answer = message.role == "assistant"
            if part.type == "text" or (part.type == "audio" and part.text):
                found.add("answer" if answer else "text" if part.type == "text" else "transcript")
            if part.type != "text":
                found.add("speech" if answer and part.type == "audio" else part.type)
            if part.codes is not None:
                found.add("codes")
    return found


def _built(probe: ServiceProbe) -> Any:
    try:
        return probe.make()
    except OmnikitError as error:
        raise NotApplicable(f"what it reads is not there: {error}") from error


CHECKS = (
    Check("builds", called, ("vad", "tts", "normaliser", "reader", "builder")),
    Check("voice_activity", voice_activity, ("vad",), ("builds",)),
    Check("spoken_text", spoken_text, ("tts",), ("builds",)),
    Check("normalised_text", normalised_text, ("normaliser",), ("builds",)),
    Check("rows_read", rows_read, ("reader",), ("builds",)),
)
