"""Codec `mel_units`: clustering against known groups, spectra against tones, one result for one seed, edges of waves."""

from math import ceil, pi

import pytest
import torch
from omnikit_mel_units.config import MelUnits
from omnikit_mel_units.durations import DurationNetwork, train_durations
from omnikit_mel_units.model import MelUnitCodec
from torch import Generator, Tensor

from omnikit.contracts.configs import CodecConfig
from omnikit.data.speech import in_memory
from omnikit.errors import DataError, RunError

CONFIG = MelUnits(units=6, mels=40, iterations=10, duration_dim=16, duration_steps=80, griffin_lim=16)
TONES = (300.0, 800.0, 1700.0, 3500.0)  # Hz


def tone(pitch: float, seconds: float = 0.2) -> Tensor:
    return 0.4 * torch.sin(2 * pi * pitch * torch.arange(int(16000 * seconds)) / 16000)


def waves() -> list[Tensor]:
    """Tones in several orders; each lasts as long every time, the highest longest."""
    orders = ((0, 1, 2, 3), (3, 1, 0, 2), (2, 0, 3, 1), (1, 3, 2, 0))
    return [torch.cat([torch.cat([tone(TONES[i], 0.1 + 0.1 * i), torch.zeros(1600)]) for i in order]) for order in orders]


def ignore(share: float) -> None:
    assert 0 <= share <= 1


def fitted(config: MelUnits = CONFIG, seed: int = 0) -> MelUnitCodec:
    codec = MelUnitCodec(config).eval()
    codec.fit(waves(), Generator().manual_seed(seed), ignore)
    return codec


@pytest.fixture(scope="module")
def codec() -> MelUnitCodec:
    return fitted()


def spectrum(wave: Tensor) -> Tensor:
    """Pitch in Hz with most energy."""
    return torch.fft.rfft(wave).abs().argmax() * 16000 / len(wave)


def test_log_mel_of_a_tone_peaks_at_its_band(codec: MelUnitCodec) -> None:
    frames = codec.mel(tone(1000.0))
    band = codec.mel.filters[round(1000 / 16000 * codec.mel.size)].argmax()
    assert frames.shape == (20, 40)
    assert (frames[2:-2].argmax(1) == band).all()


def test_inverted_tone_keeps_its_pitch(codec: MelUnitCodec) -> None:
    wave = codec.mel.invert(codec.mel(tone(1700.0)))
    assert wave.shape == (3200,)
    assert spectrum(wave).item() == pytest.approx(1700, rel=0.05)  # a band is about that wide


def test_each_tone_has_units_of_its_own(codec: MelUnitCodec) -> None:
    middles = [codec.label(tone(pitch))[3:-3] for pitch in TONES]
    assert [len(m.unique()) for m in middles] == [1, 1, 1, 1]
    assert len(torch.cat(middles).unique()) == 4


def test_encoded_runs_are_merged_and_decoding_gives_the_same_units_back(codec: MelUnitCodec) -> None:
    wave = waves()[1]
    codes = codec.encode(wave)
    assert (codes[1:] != codes[:-1]).all()
    spoken = codec.decode(codes)
    labels = codec.label(spoken)
    expected = codes.repeat_interleave(codec.durations.frames(codes[:, 0]), 0)
    assert (labels == expected).float().mean() > 0.85  # borders of tones may move by a frame
    assert spoken.abs().max() <= 1
    assert len(spoken) == pytest.approx(len(wave), rel=0.1)


def test_durations_are_learned_from_the_unit() -> None:
    generator = Generator().manual_seed(0)
    lengths = torch.tensor([2, 5, 9])
    orders = [torch.randperm(3, generator=generator) for _ in range(20)]
    network = DurationNetwork(3, 16)
    error = train_durations(network, [o.repeat_interleave(lengths[o]) for o in orders], 150, generator, ignore)
    assert error < 0.05
    assert network.frames(torch.tensor([2, 0, 1])).tolist() == [9, 2, 5]


def test_durations_of_a_row_do_not_see_padding() -> None:
    network, row = DurationNetwork(5, 8), torch.tensor([[1, 4, 2]])
    nn_row = torch.cat([row, torch.full((1, 4), 5)], 1)
    torch.testing.assert_close(network(nn_row)[:, :3], network(row))


def test_one_seed_gives_one_codec_whatever_the_global_seed(codec: MelUnitCodec) -> None:
    torch.manual_seed(123)
    again, other = fitted().state_dict(), fitted(seed=1).state_dict()
    assert all(torch.equal(again[name], value) for name, value in codec.state_dict().items())
    assert not torch.equal(other["centroids"], codec.centroids)
    assert torch.equal(codec.decode(torch.tensor([[1], [2]])), codec.decode(torch.tensor([[1], [2]])))


def test_saved_codec_speaks_the_same(codec: MelUnitCodec) -> None:
    loaded = MelUnitCodec(CONFIG).eval()
    loaded.load_state_dict(codec.state_dict())
    wave = waves()[2]
    assert torch.equal(loaded.decode(loaded.encode(wave)), codec.decode(codec.encode(wave)))


def test_fitting_works_on_frozen_parts_and_reports_all_of_its_progress() -> None:
    codec, shares = MelUnitCodec(CONFIG).requires_grad_(False), list[float]()
    facts = codec.fit(waves(), Generator().manual_seed(0), shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert facts["units"] == 6
    assert not any(p.requires_grad or p.grad is not None for p in codec.parameters())


@pytest.mark.parametrize("samples", [0, 1, 100, 319, 320, 321, 5000])
def test_any_length_of_wave_gives_one_label_per_started_frame(codec: MelUnitCodec, samples: int) -> None:
    wave = tone(800.0, 1)[:samples]
    assert len(codec.label(wave)) == ceil(samples / 320)
    assert len(codec.speak(codec.label(wave))) == 320 * ceil(samples / 320)


def test_silence_is_one_unit_and_is_spoken_as_silence(codec: MelUnitCodec) -> None:
    codes = codec.encode(torch.zeros(8000))
    assert len(codes) == 1
    assert codec.decode(codes).abs().max() < 0.01
    assert codec.decode(torch.zeros(0, 1, dtype=torch.long)).shape == (0,)


def test_codec_that_is_not_fitted_refuses() -> None:
    codec = MelUnitCodec(CONFIG)
    with pytest.raises(RunError, match="has no units yet, but is asked for some; run a stage with `objective: units`"):
        codec.encode(tone(300.0))
    with pytest.raises(RunError, match="has no units yet"):
        codec.decode(torch.tensor([[1]]))


def test_foreign_units_are_refused(codec: MelUnitCodec) -> None:
    with pytest.raises(DataError, match="units from 2 to 6 cannot be spoken: codec mel_units has units 0 to 5"):
        codec.decode(torch.tensor([[2], [6]]))


@pytest.mark.parametrize("given", [[], [torch.zeros(320)]], ids=["none", "one frame"])
def test_too_little_speech_to_fit_is_refused(given: list[Tensor]) -> None:
    with pytest.raises(DataError, match="frames of speech to fit, but needs at least 6, one for each unit"):
        MelUnitCodec(CONFIG).fit(given, Generator(), ignore)


@pytest.mark.parametrize(("field", "value", "text"), [
    ("units", 0, "units is 0, but must be at least 1"),
    ("window", 200, r"window is 200, but must be at least 2 x hop \(320\)"),
    ("floor", 0.0, "floor is 0.0, but must be positive"),
    ("frames", 10, r"frames is 10, but must be at least units \(100\)"),
    ("duration_steps", -1, "duration_steps is -1, but must be 0 or more"),
])
def test_impossible_value_is_refused(field: str, value: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        MelUnits(**{field: value})  # type: ignore[arg-type]  # wrong on purpose


def test_contract_is_50_merged_units_a_second() -> None:
    assert isinstance(CONFIG, CodecConfig)
    assert (CONFIG.encodes, CONFIG.decodes, CONFIG.objectives) == (True, True, ("units",))
    assert str(MelUnits().spec) == "16000 Hz, 50 frames/s, 1 x 100 codes, runs merged"


def test_no_more_waves_are_read_than_are_clustered() -> None:
    config = MelUnits(units=8, frames=100, iterations=2, duration_steps=2)  # 20 ms each: two waves of a second
    waves = in_memory([torch.randn(16000, generator=Generator().manual_seed(seed)) for seed in range(10)])
    config.build().fit(waves, Generator().manual_seed(0), lambda fraction: None)
    assert len(waves.used) == 2
