"""Codec `encodec`, held against the package's own encode and decode, and its handshake with heads of one codebook."""

import copy
import re
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from encodec.model import EncodecModel
from omnikit_encodec.config import Encodec
from omnikit_encodec.model import EncodecCodec, network
from torch import Tensor

from omnikit import registry
from omnikit.contracts.configs import CodecConfig
from omnikit.contracts.streaming import StreamingCodec
from omnikit.errors import ConfigError, DataError

CLOSE = {"atol": 1e-5, "rtol": 1e-4}  # the package computes weight norm at each call, we once; sums in another order


def pair(sample_rate: int, bandwidth: float, file: Path) -> tuple[EncodecCodec, EncodecModel]:
    """Give our codec, and the package's model whose weights it has read from a file."""
    torch.manual_seed(3)
    theirs = network(Encodec(sample_rate, bandwidth, width=4, dim=16)).eval()
    with torch.no_grad():  # random encoders give nearly one vector always: put the codebooks around it, so that codes differ
        vectors = theirs.encoder(0.1 * torch.randn(1, theirs.channels, sample_rate))[0].T
        for layer in theirs.quantizer.vq.layers:
            layer._codebook.embed.copy_(vectors.mean(0) + 2 * vectors.std(0) * torch.randn(1024, 16))
            vectors = vectors - layer.decode(layer.encode(vectors.T[None]))[0].T
    torch.save(theirs.state_dict(), file)
    ours = Encodec(sample_rate, bandwidth, width=4, dim=16, weights=str(file)).build()
    assert isinstance(ours, EncodecCodec)
    return ours, theirs


@torch.no_grad()
def test_codes_differ_so_that_equality_means_something(tmp_path: Path) -> None:
    for rate, bandwidth in ((24000, 0.75), (48000, 3.0)):
        codes = pair(rate, bandwidth, tmp_path / "weights.th")[0].encode(noise(rate))
        assert len(codes.reshape(len(codes), -1)[:, 0].unique()) > 5


def noise(samples: int) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))


@pytest.mark.parametrize("samples", [1, 319, 4000, 24001])
@pytest.mark.parametrize("bandwidth", [0.75, 1.5, 24.0])
@torch.no_grad()
def test_24_khz_equals_the_package(samples: int, bandwidth: float, tmp_path: Path) -> None:
    ours, theirs = pair(24000, bandwidth, tmp_path / "weights.th")
    wave = noise(samples)
    [(wanted, _)] = theirs.encode(wave[None, None])
    codes = ours.encode(wave)
    assert codes.shape == (wanted.shape[2], ours.config.spec.codebooks)
    assert torch.equal(codes.T, wanted[0])
    made = theirs.decode([(wanted, None)])[0, 0]
    assert made.std() > 2e-3, "tolerances, below 1e-4, would hide everything"
    torch.testing.assert_close(ours.decode(codes), made, **CLOSE)


# 47620: two segments of 149 and 1 frames; 48000: 150 and 2; 143000: 150, 150, 150 and 2
@pytest.mark.parametrize("samples", [1, 1000, 47520, 47620, 48000, 60000, 143000])
@torch.no_grad()
def test_48_khz_equals_the_package_with_its_loudness(samples: int, tmp_path: Path) -> None:
    ours, theirs = pair(48000, 3.0, tmp_path / "weights.th")
    wave = noise(samples)
    segments = theirs.encode(wave.expand(1, 2, -1))
    codes = ours.encode(wave)
    assert torch.equal(codes, torch.cat([c[0].T for c, _ in segments]))
    wanted = theirs.decode(segments)[0].mean(0).clamp(-1, 1)
    torch.testing.assert_close(ours.decode(codes, ours.loudness(wave)), wanted, **CLOSE)


@torch.no_grad()
def test_48_khz_codes_alone_are_as_loud_as_configured(tmp_path: Path) -> None:
    ours, theirs = pair(48000, 3.0, tmp_path / "weights.th")
    codes = ours.encode(noise(9000))
    wanted = theirs.decode([(codes.T[None], torch.tensor([[0.1]]))])[0].mean(0)
    torch.testing.assert_close(ours.decode(codes), wanted.clamp(-1, 1), **CLOSE)


@pytest.mark.parametrize("pace", [1, 4, 7, 50])
@pytest.mark.parametrize("frames", [0, 1, 3, 7, 30])
def test_24_khz_streams_the_wave_of_all_codes(pace: int, frames: int, tmp_path: Path) -> None:
    ours, _ = pair(24000, 1.5, tmp_path / "weights.th")
    assert isinstance(ours, StreamingCodec)
    codes = torch.randint(1024, (frames, 2), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(streamed(ours, codes, pace), one_pass(ours, codes), **CLOSE)


@torch.no_grad()
def test_24_khz_speaks_each_code_at_once_behind_the_first_seven(tmp_path: Path) -> None:
    ours, _ = pair(24000, 0.75, tmp_path / "weights.th")
    state, given = ours.init_state(1), []
    for code in range(10):
        wave, state = ours.step(torch.tensor([[code]]), state)
        given.append(len(wave))
    assert given == [0, 0, 0, 0, 0, 0, 7 * 320, 320, 320, 320]


@pytest.mark.parametrize("frames", [149, 150, 151, 310])
def test_48_khz_streams_whole_segments(frames: int, tmp_path: Path) -> None:
    ours, _ = pair(48000, 3.0, tmp_path / "weights.th")
    codes = torch.randint(1024, (frames, 2), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(streamed(ours, codes, 40), ours.decode(codes), **CLOSE)


def test_48_khz_speaks_a_segment_when_the_next_begins(tmp_path: Path) -> None:
    ours, _ = pair(48000, 3.0, tmp_path / "weights.th")
    state = ours.init_state(1)
    assert [len(ours.step(torch.ones(n, 2, dtype=torch.int64), state)[0]) for n in (150, 1, 100)] == [0, 47520, 0]


def one_pass(codec: EncodecCodec, codes: Tensor) -> Tensor:
    """The package's own decoder, at once."""
    if not len(codes):
        return torch.zeros(0)
    with torch.no_grad():
        wave: Tensor = codec.model.decode([(codes.T[None], None)])[0, 0].clamp(-1, 1)
    return wave


def streamed(codec: EncodecCodec, codes: Tensor, pace: int) -> Tensor:
    state, waves = codec.init_state(1), []
    for piece in codes.split(pace):
        wave, state = codec.step(piece, state)
        waves.append(wave)
    return torch.cat([*waves, codec.step(codes[:0], state, last=True)[0]])


def test_published_sizes_have_the_packages_tensors() -> None:
    for rate, theirs in ((24000, EncodecModel.encodec_model_24khz), (48000, EncodecModel.encodec_model_48khz)):
        with torch.device("meta"):
            wanted = {name: tensor.shape for name, tensor in theirs(pretrained=False).state_dict().items()}
            found = {name: tensor.shape for name, tensor in network(Encodec(rate, 3.0)).state_dict().items()}
        assert found == wanted


@pytest.mark.parametrize(("rate", "bandwidth", "books"), [(24000, 0.75, 1), (24000, 1.5, 2), (24000, 24.0, 32),
                                                         (48000, 1.5, 1), (48000, 3.0, 2), (48000, 24.0, 16)])
def test_bandwidth_decides_the_codebooks(rate: int, bandwidth: float, books: int) -> None:
    config = Encodec(rate, bandwidth)
    assert (config.spec.codebooks, config.spec.cardinality, config.spec.sample_rate) == (books, 1024, rate)
    assert network(Encodec(rate, bandwidth, width=4, dim=16)).quantizer.get_num_quantizers_for_bandwidth(
        config.frame_rate, bandwidth) == books


def test_rate_counts_the_overlap_of_segments(tmp_path: Path) -> None:
    ours, _ = pair(48000, 3.0, tmp_path / "weights.th")
    assert ours.config.spec.rate == Fraction(5000, 33)
    assert len(ours.encode(noise(10 * 47520))) == 10 * 150 - 1  # the last segment is without what overlaps
    assert Encodec().spec.rate == 75


def test_codec_keeps_its_contract_and_its_mode() -> None:
    assert isinstance(Encodec(), CodecConfig)
    module = Encodec(width=4, dim=16).build().train()
    assert not any(part.training for part in module.modules())
    assert copy.deepcopy(module).state_dict().keys() == module.state_dict().keys()
    assert len(set(module.state_dict()["model.quantizer.vq.layers.0._codebook.embed"].flatten().tolist())) > 1000


def test_codes_that_it_lacks_are_refused(tmp_path: Path) -> None:
    module = pair(24000, 1.5, tmp_path / "weights.th")[0]
    with pytest.raises(DataError, match=re.escape("codes of shape [4] cannot be spoken: codec encodec has 2 codebooks at 1.5")):
        module.decode(torch.zeros(4, dtype=torch.int64))
    with pytest.raises(DataError, match="code 1024 or 0 cannot be spoken: codec encodec has codes 0 to 1023"):
        module.decode(torch.tensor([[0, 1024]]))


def test_wrong_settings_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sample_rate is 16000, but must be 24000 or 48000"):
        Encodec(16000)
    with pytest.raises(ValueError, match=re.escape("bandwidth is 0.75, but at 48000 Hz must be one of 1.5, 3, 6, 12, 24")):
        Encodec(48000, 0.75)
    with pytest.raises(ValueError, match="loudness is 0, but must be above 0"):
        Encodec(loudness=0.0)
    with pytest.raises(ValueError, match="width is 1, but must be at least 2"):
        Encodec(width=1)
    file = tmp_path / "weights.th"
    with pytest.raises(ConfigError, match=r"encodec\.weights: .*weights\.th is missing"):
        Encodec(weights=str(file)).build()
    torch.save(network(Encodec(width=4, dim=16)).state_dict(), file)
    with pytest.raises(ConfigError, match=r"do not fit encodec of 24000 Hz with width"):
        Encodec(width=8, dim=16, weights=str(file)).build()


@pytest.mark.parametrize(("rate", "bandwidth", "reason"), [
    (24000, 0.75, None), (24000, 1.5, "it emits one codebook, but the codec has 2"),
    (48000, 1.5, None), (48000, 24.0, "it emits one codebook, but the codec has 16")])
def test_head_of_one_codebook_takes_one_codebook_only(rate: int, bandwidth: float, reason: str | None) -> None:
    head = registry.component("head", "nar_ar")()
    assert head.codes(Encodec(rate, bandwidth).spec) == reason
