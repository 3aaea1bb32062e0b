"""Codecs `mimi` and `dac` equal transformers' own encode and decode."""

import math
import re
from pathlib import Path

import pytest
import torch
from omnikit_hf_codecs.config import Dac, Mimi
from omnikit_hf_codecs.model import DacCodec, MimiCodec, dac_config, mimi_config
from torch import Tensor
from torch.testing import assert_close
from transformers import DacModel, MimiModel

from omnikit import registry
from omnikit.contracts.configs import CodecConfig
from omnikit.errors import ConfigError, DataError
from omnikit.recipe import presets

MIMI = Mimi(8, cardinality=64, codebook_dim=8, width=4, dim=16, layers=1, heads=2, ffn=32)
DAC = Dac(16000, 4, use_codebooks=3, cardinality=64, ratios=(2, 4, 5, 8), width=2, decoder_width=32)

CLOSE = {"atol": 1e-6, "rtol": 1e-5}  # the same kernels over weights that lie elsewhere in memory


def noise(samples: int) -> Tensor:
    return 0.3 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))


@pytest.fixture(scope="module")
def mimi(tmp_path_factory: pytest.TempPathFactory) -> tuple[MimiCodec, MimiModel]:
    """Our codec, filled from a folder, and the library's model that wrote it."""
    torch.manual_seed(3)
    theirs, folder = MIMI.build().model, tmp_path_factory.mktemp("mimi")
    with torch.no_grad():  # waves inside [-1, 1], so that clamping hides nothing
        for parameter in theirs.decoder.decoder_seanet.layers[-1].parameters():
            parameter.mul_(0.01)
    theirs.save_pretrained(folder)
    return Mimi(8, 64, 8, 4, 16, 1, 2, 32, weights=str(folder)).build(), theirs


@pytest.fixture(scope="module")
def dac(tmp_path_factory: pytest.TempPathFactory) -> tuple[DacCodec, DacModel]:
    """Our codec, filled from a folder, and the library's model that wrote it."""
    torch.manual_seed(3)
    theirs, folder = DacModel(dac_config(DAC)).eval(), tmp_path_factory.mktemp("dac")
    with torch.no_grad():  # random codes are far smaller than the biases behind them
        for quantizer in theirs.quantizer.quantizers:
            quantizer.out_proj.weight.mul_(1000)
    theirs.save_pretrained(folder)
    return Dac(16000, 4, 3, 64, 8, (2, 4, 5, 8), 2, 32, weights=str(folder)).build(), theirs


@pytest.mark.parametrize("samples", [1, 1919, 1920, 20001])
@torch.no_grad()
def test_mimi_equals_the_library(mimi: tuple[MimiCodec, MimiModel], samples: int) -> None:
    ours, theirs = mimi
    expected = theirs.encode(noise(samples)[None, None], num_quantizers=8).audio_codes
    codes = ours.encode(noise(samples))
    assert codes.shape == (math.ceil(samples / 1920), 8)
    assert torch.equal(codes.T, expected[0])
    wave = theirs.decode(expected).audio_values[0, 0]
    assert len(wave) == 1920 * len(codes)
    assert wave.abs().max() < 1
    assert_close(ours.decode(codes), wave, **CLOSE)


@pytest.mark.parametrize("samples", [1, 320, 20001])
@torch.no_grad()
def test_dac_equals_the_library(dac: tuple[DacCodec, DacModel], samples: int) -> None:
    ours, theirs = dac
    padded = torch.nn.functional.pad(noise(samples), (0, -samples % 320))
    expected = theirs.encode(padded[None, None], n_quantizers=3).audio_codes
    codes = ours.encode(noise(samples))
    assert codes.shape == (math.ceil(samples / 320), 3)
    assert torch.equal(codes.T, expected[0])
    assert_close(ours.decode(codes), theirs.decode(audio_codes=expected).audio_values[0], **CLOSE)


def test_codes_and_waves_differ_so_that_equality_means_something(mimi: tuple[MimiCodec, MimiModel],
                                                                 dac: tuple[DacCodec, DacModel]) -> None:
    for ours in (mimi[0], dac[0]):
        codes = ours.encode(noise(60000))
        assert len(codes.unique(dim=0)) > 5
        assert (ours.decode(codes) - ours.decode(codes.flip(0))).abs().max() > 1e-4


@pytest.mark.parametrize("config", [MIMI, DAC, Mimi(), Dac(width=64, decoder_width=1536)],
                         ids=["mimi", "dac", "mimi_published", "dac_published"])
def test_footprint_counts_the_parameters(config: Mimi | Dac) -> None:
    assert isinstance(config, CodecConfig)
    with torch.device("meta"):
        module = config.build()
    assert config.footprint().parameters == sum(p.numel() for p in module.parameters())


def test_published_sizes_are_the_library_s_defaults() -> None:
    with torch.device("meta"):
        theirs = {name: value.shape for name, value in MimiModel(MimiModel.config_class()).state_dict().items()}
        ours = {name: value.shape for name, value in MimiModel(mimi_config(Mimi())).state_dict().items()}
    assert ours == theirs


@pytest.mark.parametrize(("preset", "rate", "books"), [("mimi_8", 12.5, 8), ("dac_16khz", 50, 12), ("dac_24khz", 75, 32),
                                                      ("dac_44khz", 44100 / 512, 9), ("mimi_tiny_random", 12.5, 8),
                                                      ("dac_tiny_random", 50, 4)])
def test_presets_have_the_published_rates(preset: str, rate: float, books: int) -> None:
    values = presets.preset_fields("codec", preset)
    spec = registry.component("codec", values.pop("use"))(**values).spec
    assert (float(spec.rate), spec.codebooks) == (rate, books)


def test_a_codebook_is_read_again_behind_loaded_weights(mimi: tuple[MimiCodec, MimiModel]) -> None:
    fresh, (ours, _) = MIMI.build(), mimi
    fresh.encode(noise(4000))
    fresh.load_state_dict(ours.state_dict())
    assert torch.equal(fresh.encode(noise(20000)), ours.encode(noise(20000)))


def test_no_audio_gives_no_codes_and_back(mimi: tuple[MimiCodec, MimiModel], dac: tuple[DacCodec, DacModel]) -> None:
    assert [tuple(ours.encode(torch.zeros(0)).shape) for ours in (mimi[0], dac[0])] == [(0, 8), (0, 3)]
    assert [len(ours.decode(ours.encode(torch.zeros(0)))) for ours in (mimi[0], dac[0])] == [0, 0]


def test_codes_that_it_lacks_are_refused(mimi: tuple[MimiCodec, MimiModel]) -> None:
    with pytest.raises(DataError, match=re.escape("codes of shape [4] cannot be decoded: codec mimi has 8 codebooks")):
        mimi[0].decode(torch.zeros(4, dtype=torch.int64))
    with pytest.raises(DataError, match="codes from 0 to 64 cannot be decoded: codec mimi has codes 0 to 63"):
        mimi[0].decode(torch.tensor([[0] * 7 + [64]]))


def test_wrong_settings_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="codebooks is 33, but must be 2 to 32"):
        Mimi(33)
    with pytest.raises(ValueError, match="cardinality is 63, but must be a power of two"):
        Dac(cardinality=63)
    with pytest.raises(ValueError, match="use_codebooks is 10, but must be 0"):
        Dac(use_codebooks=10)
    with pytest.raises(ConfigError, match=r"mimi\.weights: .* does not fit a mimi of these sizes"):
        Mimi(weights=str(tmp_path)).build()
    DAC.build().model.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"dac\.weights: .* does not fit a dac of these sizes"):
        Dac(16000, 4, 3, 64, 8, (2, 4, 5, 8), 4, 32, weights=str(tmp_path)).build()


@pytest.mark.parametrize("cuts", [[1] * 30, [3, 20, 1, 6], [30]], ids=["frame by frame", "unequal", "whole"])
@pytest.mark.parametrize("window", [4, 250])
def test_streaming_mimi_equals_decoding_offline(mimi: tuple[MimiCodec, MimiModel], cuts: list[int], window: int) -> None:
    """Also where the transformer attends to fewer frames than were spoken."""
    codec = Mimi(8, 64, 8, 4, 16, 1, 2, 32, window=window).build()
    codec.load_state_dict(mimi[0].state_dict())
    codes = torch.randint(0, 64, (30, 8), generator=torch.Generator().manual_seed(4))
    state, waves = codec.init_state(1), []
    for index, piece in enumerate(torch.split(codes, cuts)):
        wave, state = codec.step(piece, state, last=index == len(cuts) - 1)
        waves.append(wave)
    assert_close(torch.cat(waves), codec.decode(codes), atol=2e-6, rtol=1e-4)
    assert_close(codec.step(codes[:2], state)[0], codec.decode(codes[:2]), atol=2e-6, rtol=1e-4)  # the state is as new
