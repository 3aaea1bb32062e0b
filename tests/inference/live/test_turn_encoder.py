"""A turn that is encoded while it is spoken gives the features and answers of one that is encoded at its end."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from live_doubles import POLICY, Amplitude, audio, silence, speech
from numpy.typing import NDArray
from small_recipe import write_recipe

from omnikit.contracts.types import Batch, ContentPart, Features, Message, Sample
from omnikit.data.batch.collate import to_device
from omnikit.inference.encoded_signals import EncodedSignals, joined
from omnikit.inference.live.events import LiveEvent, SpeculationDiscarded, TextDelta
from omnikit.inference.live.session import LiveSession
from omnikit.inference.live.turn_encoder import TurnEncoder, streaming_branches
from omnikit.inference.scheduler.single import SingleEngine
from omnikit.inference.session import Session, build
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose
from omnikit.recipe.live import TurnPolicy
from omnikit.taps import Taps

SMALLER = ["speech.codec.dim=4", "speech.codec.channels=32", "speech.codec.duration_dim=4", "speech.head.layers=1",
           "generate.max_new_tokens=6", "backbone.layers=1", "backbone.context=512"]
STREAMING = ["audio/encoder=mel_cnn_tiny_relative_random", "audio/projector=strided_conv", "audio.encoder.chunk_size=4",
             "audio.encoder.left_chunks=8", "audio.encoder.normalisation=fixed"]


def made(folder: Path, *overrides: str) -> Session:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (folder / "rows.jsonl").write_text(json.dumps({"messages": turns}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return build(make(compose(str(write_recipe(folder)), [*SMALLER, *overrides])), device="cpu")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return made(tmp_path_factory.mktemp("streaming"), *STREAMING)


@pytest.fixture(scope="module")
def recording() -> NDArray[np.float32]:
    """Frames of noise whose first sample is the probability of speech."""
    frames = audio(silence(6), speech(40), silence(6), speech(20), silence(30)).reshape(-1, 512)
    noisy = 0.1 * np.random.default_rng(0).normal(size=frames.shape).astype(np.float32)
    noisy[:, 0] = frames[:, 0]
    return noisy.flatten()


def batch(session: Session, waveform: NDArray[np.float32]) -> Batch:
    message = Message("user", (ContentPart("audio", audio=waveform),))
    return to_device(session.prompt([Sample("turn", (message,))]).batch, session.device)


@pytest.mark.parametrize("sizes", [[512] * 30, [100, 5000, 1, 9000, 1259]])
def test_features_are_those_of_the_complete_turn(sizes: list[int], session: Session) -> None:
    waveform = np.random.default_rng(0).normal(0, 0.1, sum(sizes)).astype(np.float32)
    encoded = EncodedSignals()
    encoder, end = TurnEncoder(session, encoded), 0
    for size in sizes:
        end += size
        encoder.follow(7000, waveform[:end])
    encoder.finish(7000, waveform)
    asked = batch(session, waveform)
    found = encoded.given(asked)["audio.projector"]
    with torch.no_grad():
        expected = Taps(session.model, asked).point("audio.projector")
    assert found.lengths.tolist() == expected.lengths.tolist() and found.data.shape[1] > 5
    torch.testing.assert_close(found.data, expected.data, atol=1e-4, rtol=1e-4)  # float32, other kernels


def test_a_turn_may_go_on_behind_an_end(session: Session) -> None:
    waveform, encoded = np.random.default_rng(0).normal(0, 0.1, 20000).astype(np.float32), EncodedSignals()
    encoder = TurnEncoder(session, encoded)
    encoder.finish(0, waveform[:9000])
    encoder.finish(0, waveform)
    for end in (9000, 20000):
        asked = batch(session, waveform[:end])
        with torch.no_grad():
            expected = Taps(session.model, asked).point("audio.projector")
        torch.testing.assert_close(encoded.given(asked)["audio.projector"].data, expected.data, atol=1e-4, rtol=1e-4)


def test_features_of_another_turn_are_not_given(session: Session) -> None:
    waveform, encoded = np.random.default_rng(0).normal(0, 0.1, 9000).astype(np.float32), EncodedSignals()
    TurnEncoder(session, encoded).finish(0, waveform)
    assert encoded.given(batch(session, waveform + 1e-3)) == {}


def test_features_of_several_signals_are_padded() -> None:
    one, two = (Features(torch.full((1, count, 2), float(count)), torch.tensor([count])) for count in (1, 3))
    found = joined([one, two])
    assert found.lengths.tolist() == [1, 3] and found.data[:, :, 0].tolist() == [[1, 0, 0], [3, 3, 3]]


def test_encoders_that_need_the_clip_do_not_stream(tmp_path: Path) -> None:
    assert streaming_branches(made(tmp_path).model) == {}


def events_of(session: Session, recording: NDArray[np.float32], policy: TurnPolicy) -> list[LiveEvent]:
    return LiveSession(session, SingleEngine(session), policy, vad=Amplitude(), pace=1).push(recording)


@pytest.mark.parametrize("speculative", [None, 128])
def test_a_session_encodes_no_turn_at_its_end_and_answers_alike(
    speculative: int | None, session: Session, recording: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = TurnPolicy(min_speech_ms=POLICY.min_speech_ms, min_silence_ms=POLICY.min_silence_ms, prefix_padding_ms=64,
                        speculative_ms=speculative)
    with monkeypatch.context() as patch:
        patch.setattr("omnikit.inference.live.turn_encoder.streaming_branches", lambda model: {})
        expected = events_of(session, recording, policy)
    with monkeypatch.context() as patch:
        patch.setattr(type(session.model.get_submodule("audio.encoder")), "forward", None)  # fails if it is called
        found = events_of(session, recording, policy)
    texts = [[(event.at, event.text) for event in events if isinstance(event, TextDelta)] for events in (found, expected)]
    assert texts[0] == texts[1] and len(texts[0]) >= 1
    assert any(isinstance(event, SpeculationDiscarded) for event in found) == (speculative is not None)
