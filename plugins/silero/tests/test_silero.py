"""Frames and segments by our network against the package silero-vad itself, on synthetic speech, noise and silence."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from omnikit_silero.config import Silero
from omnikit_silero.model import SileroVAD

from omnikit.errors import ConfigError

FRAME = Silero.frame
Recording = NDArray[np.float32]


@pytest.fixture(scope="module")
def vad() -> SileroVAD:
    return Silero().build()


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Two sentences with silence, soft noise and loud noise around them, whole frames."""
    espeak = pytest.importorskip("omnikit_espeak.config", reason="the plugin espeak is not installed").Espeak().build()
    noise = np.random.default_rng(0)
    first, second = (espeak.speak(text, voice)[0] for text, voice in (("what is two plus one", "en-us+f3"),
                                                                      ("a red ball is on the left", "en-us+m3")))
    parts = [np.zeros(8000), first, 0.003 * noise.normal(size=12000), second, 0.1 * noise.normal(size=16000)]
    joined = np.concatenate(parts).astype(np.float32)
    return joined[: len(joined) // FRAME * FRAME]


@pytest.fixture(scope="module")
def original() -> torch.jit.ScriptModule:
    threads = torch.get_num_threads()
    from silero_vad import load_silero_vad  # sets the number of threads

    torch.set_num_threads(threads)
    found: torch.jit.ScriptModule = load_silero_vad()
    return found


def probabilities(vad: SileroVAD, recording: Recording) -> list[float]:
    state, found = vad.init_state(), []
    for frame in recording.reshape(-1, FRAME):
        probability, state = vad.step(frame, state)
        found.append(probability)
    return found


def test_probabilities_are_those_of_the_package(vad: SileroVAD, original: torch.jit.ScriptModule, recording: Recording) -> None:
    original.reset_states()
    with torch.no_grad():
        expected = [float(original(torch.from_numpy(frame), 16000)) for frame in recording.reshape(-1, FRAME)]
    found = probabilities(vad, recording)
    np.testing.assert_allclose(found, expected, atol=1e-4)  # float32, other kernels
    assert max(found) > 0.9 and min(found) < 0.05


def test_speech_is_found_and_noise_is_not(vad: SileroVAD, recording: Recording) -> None:
    speech = np.array(probabilities(vad, recording)) >= 0.5
    assert sum(now and not before for before, now in pairwise([False, *speech.tolist()])) >= 2
    assert not speech[-20:].any()  # loud noise


def test_a_step_leaves_its_state_as_it_was(vad: SileroVAD, recording: Recording) -> None:
    state = vad.init_state()
    vad.step(recording[8192 : 8192 + FRAME], state)
    assert not any(values.any() for values in state.values())


def test_conversations_that_take_turns_share_one_network(vad: SileroVAD, recording: Recording) -> None:
    alone, reverse = probabilities(vad, recording), recording[::-1].copy()
    states, found = [vad.init_state(), vad.init_state()], []
    for frame, other in zip(recording.reshape(-1, FRAME), reverse.reshape(-1, FRAME), strict=True):
        probability, states[0] = vad.step(frame, states[0])
        _, states[1] = vad.step(other, states[1])
        found.append(probability)
    assert found == alone


def test_missing_weights_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnikit_silero.model.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"silero-vad, which is not installed; install it with pip install 'silero-vad>=6.2"):
        Silero().build()


def test_other_weights_are_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("omnikit_silero.model.WEIGHTS", str(tmp_path / "none.jit"))
    with pytest.raises(ConfigError, match=r"cannot read its weights .*none.jit \(ValueError\); install"):
        Silero().build()


def test_building_does_not_import_the_package() -> None:
    import subprocess

    code = "import sys; from omnikit_silero.config import Silero; Silero().build(); assert 'silero_vad' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
