"""Speech of `ticodec` piece by piece: exactly the wave of all codes, or cut where it is quiet as the original does."""

import copy
import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from omnikit_vita.ticodec import TiCodec
from omnikit_vita.ticodec_model import TiCodecModel
from omnikit_vita.ticodec_overlap import Overlapped, quiet
from omnikit_vita.ticodec_streaming import MOST, ExactState
from torch import Tensor

from omnikit.contracts.streaming import StreamingCodec
from omnikit.errors import DataError

SMALL = TiCodec(codes=16, dim=32, channels=32, rates=(4, 3), kernels=(8, 5), block_kernels=(3, 5),
                block_dilations=((1, 2), (1, 3)), encoder_channels=8, global_dim=16, global_groups=2, global_codes=8,
                global_hidden=4, sample_rate=1200)
CODECS = {
    "pairs": SMALL,
    "no pairs": replace(SMALL, paired=False),
    "kernels as wide as rates": replace(SMALL, kernels=(4, 3), block_kernels=(1,), block_dilations=((1,),)),
    "groups and levels": replace(SMALL, groups=2, levels=2),
}


def build(config: TiCodec) -> TiCodecModel:
    torch.manual_seed(4)
    module = TiCodecModel(config).eval().double()  # so that only the order of sums is left of rounding
    for name, weight in module.named_parameters():  # of a size at which every layer changes the waveform
        weight.data.normal_(std=1.0 if "embedding" in name else 0.3)
        if name.endswith("original0"):
            weight.data.uniform_(0.8, 2.0)
    return module


def codes(count: int, config: TiCodec = SMALL) -> Tensor:
    return torch.randint(16, (count, config.groups * config.levels), generator=torch.Generator().manual_seed(1))


def spoken(module: TiCodecModel, given: Tensor, sizes: list[int], *, end_apart: bool = False) -> list[Tensor]:
    state, pieces, done = module.init_state(), [], 0
    for index, size in enumerate(sizes):
        last = index == len(sizes) - 1 and not end_apart
        piece, state = module.step(given[done:done + size], state, last=last)
        pieces.append(piece)
        done += size
    if end_apart:
        pieces.append(module.step(given[:0], state, last=True)[0])
    return pieces


def at_random(total: int, seed: int) -> list[int]:
    draw = random.Random(seed)
    cuts = sorted(draw.choices(range(total + 1), k=draw.randrange(total)))
    return [b - a for a, b in pairwise([0, *cuts, total])]  # empty pieces among them


@pytest.mark.parametrize("config", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("size", [1, 7, 10, 35])
def test_segments_of_any_length_joined_are_the_wave_of_all_codes(config: TiCodec, size: int) -> None:
    module, given = build(config), codes(71, config)
    sizes = [min(size, 71 - start) for start in range(0, 71, size)]
    torch.testing.assert_close(torch.cat(spoken(module, given, sizes)), module.decode(given), atol=1e-12, rtol=0)


@pytest.mark.parametrize("size", [1, 7, 10, 35])
def test_segments_in_float32_are_the_wave_to_rounding(size: int) -> None:
    module, given = build(SMALL).float(), codes(71)
    sizes = [min(size, 71 - start) for start in range(0, 71, size)]
    assert module.decode(given).abs().max() > 0.1
    torch.testing.assert_close(torch.cat(spoken(module, given, sizes)), module.decode(given), atol=1e-5, rtol=0)  # sums' order


def test_a_copied_state_continues_as_the_original() -> None:
    module, given = build(SMALL), codes(30)
    _, state = module.step(given[:11], module.init_state())
    other = copy.deepcopy(state)
    first, again = (module.step(given[11:], one, last=True)[0] for one in (state, other))
    assert torch.equal(first, again) and len(first) > 19 * 12


def test_a_copied_codec_speaks_as_the_original() -> None:
    module = build(SMALL).float()
    expected = torch.cat(spoken(module, codes(9), [4, 5]))
    assert torch.equal(torch.cat(spoken(copy.deepcopy(module), codes(9), [4, 5])), expected)


def test_a_new_wave_is_decoded_with_the_weights_that_there_are_then() -> None:
    module = build(SMALL)
    before = torch.cat(spoken(module, codes(9), [9]))
    with torch.no_grad():
        module.generator.conv_pre.bias.add_(1.0)
    after = torch.cat(spoken(module, codes(9), [9]))
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, module.decode(codes(9)), atol=1e-12, rtol=0)


@pytest.mark.parametrize("config", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("seed", [0, 1])
def test_pieces_joined_are_the_wave_of_all_codes(config: TiCodec, seed: int) -> None:
    module, given = build(config), codes(23, config)
    expected = module.decode(given)
    assert expected.abs().max() > 0.1
    wave = torch.cat(spoken(module, given, at_random(23, seed), end_apart=bool(seed)))
    torch.testing.assert_close(wave, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_codes_are_the_wave_of_all_codes(count: int) -> None:
    module = build(SMALL)
    wave = torch.cat(spoken(module, codes(count), [1] * count))
    torch.testing.assert_close(wave, module.decode(codes(count)), atol=1e-12, rtol=0)


def test_audio_comes_as_soon_as_no_later_code_can_change_it() -> None:
    module, given = build(SMALL), codes(20)
    sent = len(torch.cat(spoken(module, given, [20], end_apart=True)[:1]))
    one, two = (module.decode(torch.cat([given, torch.tensor([[next_code]])])) for next_code in (3, 4))
    certain = int((one == two).long().cumprod(0).sum())
    assert 0 < sent <= certain and certain - sent <= 12  # a frame: the sum over upsamplings' kernels reaches a little less


def test_nothing_is_computed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    module, given, plain, work = build(SMALL), codes(40), torch.conv2d, [0]

    def conv(x: Tensor, weight: Tensor, *rest: object, **named: object) -> Tensor:
        y = plain(x, weight, *rest, **named)
        work[0] += y.shape[-1] * weight.numel()
        return y

    monkeypatch.setattr(torch.nn.functional, "conv2d", conv)
    spoken(module, given[:MOST], [MOST])
    one_pass, work[0] = work[0], 0
    spoken(module, given[:MOST], [1] * MOST)
    assert work[0] == one_pass > 0


def test_a_new_wave_begins_after_the_last_codes() -> None:
    module, state = build(SMALL), build(SMALL).init_state()
    first = module.step(codes(7), state, last=True)[0]
    again = module.step(codes(7), state, last=True)[0]
    assert torch.equal(first, again) and len(first) == 84
    assert len(module.step(codes(0), state, last=True)[0]) == 0


def test_state_speaks_with_the_voice_it_began_with() -> None:
    module = build(SMALL)
    expected, state = module.decode(codes(5)), module.init_state()
    module.voice.copy_(torch.tensor([5, 2]))
    torch.testing.assert_close(module.step(codes(5), state, last=True)[0], expected, atol=1e-12, rtol=0)


def test_codec_is_a_streaming_one_and_refuses_foreign_codes() -> None:
    module = build(SMALL)
    assert isinstance(module, StreamingCodec) and isinstance(module.init_state(), ExactState)
    with pytest.raises(DataError, match="code 99 cannot be spoken"):
        module.step(torch.tensor([[99]]), module.init_state())


# ---- the original's way; its own numbers: golden vita_speech_streaming ----


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 14, 30, 31, 57])
def test_overlapping_chunks_speak_each_code_once(count: int) -> None:
    config = replace(SMALL, chunk=8, first_chunk=8, padding=3)
    state = Overlapped(config, lambda given: given[:, 0].repeat_interleave(config.hop).float() + 1)
    given = torch.arange(count)[:, None]
    pieces = [state.step(given[i:i + 1], last=False) for i in range(count)]
    wave = torch.cat([*pieces, state.step(given[:0], last=True)])
    assert torch.equal(wave, torch.arange(count).repeat_interleave(12).float() + 1)


def test_first_sentence_has_chunks_of_its_own() -> None:
    calls: list[int] = []
    config = replace(SMALL, chunk=8, first_chunk=4, padding=2)

    def decode(given: Tensor) -> Tensor:
        calls.append(len(given))
        return torch.zeros(len(given) * config.hop)

    state = Overlapped(config, decode)
    for _ in range(2):
        state.step(torch.zeros(11, 1, dtype=torch.int64), last=True)
    assert calls == [6, 8, 5, 10, 5]  # 4 + 2, 2 + 4 + 2, what is left behind; then 8 + 2


def test_option_makes_the_codec_stream_so() -> None:
    module = build(replace(SMALL, stream="overlap", chunk=8, first_chunk=8, padding=6, quiet_window=9))
    wave = torch.cat(spoken(module, codes(30), [7, 7, 7, 9]))
    assert isinstance(module.init_state(), Overlapped) and wave.shape == (360,)
    assert (wave - module.decode(codes(30))).abs().max() < 0.5  # borders of chunks differ


def test_a_wave_is_cut_at_its_quietest_place_if_that_is_quiet() -> None:
    wave = torch.ones(100)
    wave[70:80] = torch.tensor([0.2, 0.2, 0.2, 0.01, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2])
    wave[20:30] = 0.0  # the first half is not looked at
    assert quiet(wave, 9, 0.5) == 73
    assert quiet(wave, 9, 0.1) is None
    assert quiet(wave[:4], 9, 2.0) == 2  # shorter than the window
    assert quiet(torch.zeros(0), 9, 1.0) is None


def test_what_is_not_cut_waits_for_the_next_chunk() -> None:
    config = replace(SMALL, chunk=4, first_chunk=4, padding=0, quiet_window=4, first_threshold=0.5)
    state = Overlapped(config, lambda given: given[:, 0].repeat_interleave(12).float())
    loud, still = torch.ones(4, 1, dtype=torch.int64), torch.zeros(4, 1, dtype=torch.int64)
    assert len(state.step(loud, last=False)) == 0
    assert len(state.step(still, last=False)) == 48 + 24  # the first place of the second half
    assert len(state.step(still[:0], last=True)) == 24
