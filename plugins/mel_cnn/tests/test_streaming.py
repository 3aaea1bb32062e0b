"""The streaming encoder: whatever the cutting, it gives what the encoder gives for the whole clip."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from omnikit_mel_cnn.config import MelCnn
from omnikit_mel_cnn.model import MelCnnEncoder
from torch import Tensor
from torch.testing import assert_close

from omnikit.contracts.streaming import StreamingEncoder
from omnikit.contracts.types import Signal
from omnikit.errors import ConfigError, DataError

TINY = MelCnn(dim=16, layers=2, heads=2, ffn=24, channels=4, mel_bins=20, scale=32768.0, normalisation="fixed", embed=True,
              positions="relative", chunk_size=4, left_chunks=2)
CUTS = {"at once": (), "40 ms": tuple(range(640, 16000, 640)), "uneven": (0, 1, 399, 400, 5000, 5001, 15999)}
CONFIGS = {"vita": TINY, "freeze_omni": replace(TINY, lead=True, concat=True), "absolute": replace(TINY, positions="absolute"),
           "own chunk": replace(TINY, left_chunks=0), "all before": replace(TINY, left_chunks=None, chunk_size=3),
           "drawn in training": replace(TINY, dynamic="training", chunk_size=1)}


def built(config: MelCnn) -> MelCnnEncoder:
    torch.manual_seed(0)
    return config.build().eval()


def clips() -> Tensor:
    return 0.1 * torch.randn(2, 16000, generator=torch.Generator().manual_seed(0))


def signal(wave: Tensor) -> Signal:
    return Signal(wave, torch.full((len(wave),), wave.shape[1]))


def streamed(encoder: MelCnnEncoder, wave: Tensor, cuts: tuple[int, ...]) -> Tensor:
    state, found = encoder.init_state(len(wave)), []
    for first, behind in pairwise((0, *cuts, wave.shape[1])):
        features, state = encoder.step(signal(wave[:, first:behind]), state, last=behind == wave.shape[1])
        assert features.lengths.tolist() == [features.data.shape[1]] * len(wave)
        found.append(features.data)
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("cuts", list(CUTS.values()), ids=list(CUTS))
@pytest.mark.parametrize("config", list(CONFIGS.values()), ids=list(CONFIGS))
def test_streamed_equals_offline(config: MelCnn, cuts: tuple[int, ...]) -> None:
    encoder = built(config)
    assert_close(streamed(encoder, clips(), cuts), encoder(signal(clips())).data, atol=1e-5, rtol=1e-5)  # float32 noise


def test_it_keeps_the_contract() -> None:
    assert isinstance(built(TINY), StreamingEncoder)


def test_vector_comes_as_soon_as_its_lookahead_is_over() -> None:
    encoder = built(TINY)
    needed = round(TINY.output.lookahead * 16000)  # of the first vector, which begins at 0
    before, state = encoder.step(signal(clips()[:, : needed - 1]), encoder.init_state(2))
    after, _ = encoder.step(signal(clips()[:, needed - 1 : needed]), state)
    assert (before.data.shape[1], after.data.shape[1]) == (0, 4)


def test_state_is_bounded_and_not_changed_by_a_step() -> None:
    encoder = built(TINY)
    _, state = encoder.step(signal(clips()), encoder.init_state(2))
    assert state.caches[0][0].shape == (2, 2, 8, 8)  # left_chunks * chunk_size positions
    once, again = (encoder.step(signal(clips()), state)[0].data for _ in range(2))
    assert torch.equal(once, again)


def test_restart_differs_from_offline_only_after_the_cached_chunks() -> None:
    encoder = built(replace(TINY, restart=True))
    ours, offline = streamed(encoder, clips(), ()), encoder(signal(clips())).data
    assert_close(ours[:, :12], offline[:, :12], atol=1e-5, rtol=1e-5)  # three chunks; float32 noise
    assert not torch.allclose(ours[:, 12:16], offline[:, 12:16], atol=1e-4, rtol=0)  # ten times the noise


@pytest.mark.parametrize(("fields", "reason"), [
    ({"chunk_size": None, "left_chunks": None}, "chunk_size is null"), ({"normalisation": "clip"}, "normalisation is clip"),
    ({"dynamic": "always"}, "dynamic is always")])
def test_encoder_of_whole_clips_states_why_it_cannot_stream(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=f"This mel_cnn cannot stream: {reason}, so it needs the whole clip; set"):
        built(replace(TINY, **fields)).init_state(1)


def test_rows_of_unequal_chunks_are_refused() -> None:
    encoder = built(TINY)
    with pytest.raises(DataError, match=r"A chunk has rows of \[640, 600\] samples, but rows that stream together"):
        encoder.step(Signal(clips()[:, :640], torch.tensor([640, 600])), encoder.init_state(2))


def test_stream_beyond_the_positions_is_refused() -> None:
    encoder = built(TINY)
    _, state = encoder.step(signal(clips()), encoder.init_state(2))
    with pytest.raises(DataError, match="A stream is longer than the 200 s that mel_cnn with relative positions takes"):
        encoder.step(signal(clips()), replace(state, count=4996))
