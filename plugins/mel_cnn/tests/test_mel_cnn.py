"""The mel_cnn encoder: its filter bank against torchaudio's, exact lengths, rows that do not see their padding."""

import pytest
import torch
from omnikit_mel_cnn.config import MelCnn
from omnikit_mel_cnn.fbank import log_fbank
from omnikit_mel_cnn.model import MelCnnEncoder
from torch.nn import functional as F
from torch.testing import assert_close
from torchaudio.compliance.kaldi import fbank

from omnikit.contracts.configs import EncoderConfig
from omnikit.contracts.types import Signal
from omnikit.errors import DataError

TINY = {"dim": 16, "layers": 2, "heads": 2, "ffn": 24, "channels": 4, "mel_bins": 20}


def waves(*lengths: int) -> Signal:
    """Random rows; what lies beyond a row's end is loud, so that a leak shows."""
    data = 0.1 * torch.randn(len(lengths), max(lengths), generator=torch.Generator().manual_seed(0))
    for row, length in enumerate(lengths):
        data[row, length:] = 1.0
    return Signal(data, torch.tensor(lengths))


def tiny(**fields: object) -> MelCnnEncoder:
    torch.manual_seed(0)
    return MelCnn(**{**TINY, **fields}).build().eval()


@pytest.mark.parametrize(("bins", "length_ms", "shift_ms"), [(80, 25, 10), (40, 32, 8)])
def test_filter_bank_equals_torchaudio(bins: int, length_ms: int, shift_ms: int) -> None:
    wave = waves(8000, 8000).data * 32768
    ours = log_fbank(wave, bins, length_ms * 16, shift_ms * 16)
    for row in range(2):
        theirs = fbank(wave[row : row + 1], num_mel_bins=bins, frame_length=length_ms, frame_shift=shift_ms, dither=0.0)
        assert_close(ours[row], theirs, atol=1e-3, rtol=0)  # float32, energies of 1e10


@pytest.mark.parametrize("samples", [1360, 1361, 3999, 8000, 16000])
def test_length_is_exact(samples: int) -> None:
    encoder = tiny()
    out = encoder(waves(samples))
    assert out.lengths.tolist() == [encoder.config.length(samples)] == [out.data.shape[1]]
    assert (out.rate, out.data.shape[2]) == (encoder.config.output.rate, encoder.config.output.dim)


@pytest.mark.parametrize(("seconds", "count"), [(0.5, 11), (1, 23), (2, 48), (5, 123), (10, 248), (30, 748)])
def test_length_is_that_of_vita_s_encoder(seconds: float, count: int) -> None:
    assert MelCnn().length(int(seconds * 16000)) == count  # column T2 of its table of token counts


@pytest.mark.parametrize("normalisation", ["clip", "fixed"])
def test_row_alone_equals_row_in_batch(normalisation: str) -> None:
    encoder, lengths = tiny(normalisation=normalisation), (16000, 7777, 1400)
    together = encoder(waves(*lengths))
    for row, length in enumerate(lengths):
        alone = encoder(Signal(waves(*lengths).data[row : row + 1, :length], torch.tensor([length])))
        assert_close(together.data[row, : alone.lengths[0]], alone.data[0], atol=1e-5, rtol=1e-5)  # float32 noise
        assert together.lengths[row] == alone.lengths[0]


def test_row_too_short_for_a_vector_stays_finite() -> None:
    out = tiny()(Signal(torch.zeros(3, 4000), torch.tensor([4000, 500, 0])))
    assert out.data.isfinite().all() and out.lengths.tolist()[1:] == [0, 0]


def test_clip_normalisation_gives_mean_0_and_deviation_1() -> None:
    mel, frames = tiny().mel_frames(waves(16000, 9000))
    for row in range(2):
        valid = mel[row, : frames[row]]
        assert_close(valid.mean(dim=0), torch.zeros(20), atol=1e-5, rtol=0)
        assert_close(valid.std(dim=0, correction=0), torch.ones(20), atol=2e-2, rtol=0)  # 1e-3 is added to the variance
        assert not mel[row, frames[row] :].any()


def test_clip_normalisation_ignores_loudness() -> None:
    quiet = Signal(waves(16000).data / 4, torch.tensor([16000]))
    assert_close(tiny().mel_frames(quiet)[0], tiny().mel_frames(waves(16000))[0], atol=1e-3, rtol=0)  # the floor of the log


def test_fixed_normalisation_uses_its_saved_numbers() -> None:
    encoder = tiny(normalisation="fixed", scale=32768.0)
    encoder.normalisation.mean.fill_(10.0)
    encoder.normalisation.istd.fill_(0.5)
    plain = log_fbank(waves(4000).data * 32768, 20, 400, 160)
    assert_close(encoder.mel_frames(waves(4000))[0], (plain - 10) / 2, atol=1e-3, rtol=0)
    assert {"normalisation.mean", "normalisation.istd"} <= set(encoder.state_dict())


def test_augmentation_happens_in_training_only() -> None:
    encoder = tiny(time_masks=1, frequency_masks=1, gain_db=6.0, dither=1e-3)
    assert torch.equal(encoder.mel_frames(waves(8000))[0], encoder.mel_frames(waves(8000))[0])
    encoder.train()
    assert not torch.equal(encoder.mel_frames(waves(8000))[0], encoder.mel_frames(waves(8000))[0])


def test_every_parameter_learns() -> None:
    encoder = tiny(dropout=0.1, time_masks=1, frequency_masks=1, gain_db=6.0).train()
    out = encoder(waves(9000, 5000)).data
    (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_it_learns_to_separate_two_tones_in_time() -> None:
    time = torch.arange(16000) / 16000
    tones = torch.stack([torch.sin(2 * torch.pi * hertz * time) for hertz in (500.0, 2000.0)])
    order = torch.tensor([[0, 1], [1, 0]])
    data = 0.3 * tones[order].flatten(1) + 0.01 * torch.randn(2, 32000, generator=torch.Generator().manual_seed(0))
    signal = Signal(data, torch.tensor([32000, 32000]))
    encoder, output = tiny(), torch.nn.Linear(16, 2)
    labels = order.repeat_interleave(24, dim=1)  # 48 vectors
    optimiser = torch.optim.Adam([*encoder.parameters(), *output.parameters()], lr=3e-3)
    for _ in range(40):
        optimiser.zero_grad()
        F.cross_entropy(output(encoder.train()(signal).data).flatten(0, 1), labels.flatten()).backward()
        optimiser.step()
    right = (output(encoder.eval()(signal).data).argmax(-1) == labels).float().mean()
    assert right > 0.9


def test_bfloat16_encoder_makes_mel_frames_in_float32() -> None:
    mel = tiny().mel_frames(waves(8000))[0]
    half = tiny().to(torch.bfloat16)
    assert torch.equal(half.mel_frames(waves(8000))[0], mel)
    assert half(waves(8000)).data.dtype == torch.bfloat16


def test_config_keeps_the_contract() -> None:
    assert isinstance(MelCnn(), EncoderConfig)
    assert (MelCnn().input.rate, MelCnn().output.rate, MelCnn().output.dim) == (16000, 25, 128)


def test_clip_that_is_too_short_is_a_sentence() -> None:
    with pytest.raises(DataError, match=r"A clip is 0\.050 s long, but mel_cnn needs at least 0\.085 s"):
        MelCnn().length(800)
    assert MelCnn().length(1360) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layers": 0}, "layers is 0, but must be at least 1"),
        ({"heads": 3}, "heads is 3, but must divide dim, which is 128"),
        ({"dim": 5, "heads": 1}, "dim is 5, but must be even"),
        ({"mel_bins": 6}, "mel_bins is 6, but must be at least 7"),
        ({"scale": 0.0}, "scale is 0.0, but must be above 0"),
        ({"dropout": 1.5}, "dropout is 1.5, but must be"),
        ({"dither": -1.0}, "dither is -1.0, but must be at least 0"),
    ],
)
def test_impossible_value_is_a_sentence(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MelCnn(**fields)
