"""Streamed equals offline: units of `ctc_units` and waves of `unit_hifigan`, whatever the chunks."""

import copy
import random
from fractions import Fraction
from itertools import pairwise
from math import prod

import pytest
import torch
from omnikit_llama_omni.config import CTCUnits, UnitHiFiGAN
from omnikit_llama_omni.model import CTCUnitHead
from omnikit_llama_omni.state import UnitState
from omnikit_llama_omni.streaming import MOST, VocoderState
from omnikit_llama_omni.vocoder import UnitVocoder
from torch import Tensor

from omnikit.contracts.codes import Code
from omnikit.contracts.streaming import StreamingCodec, StreamingHead
from omnikit.contracts.types import Features
from omnikit.errors import DataError
from omnikit.ops.kv_cache import FIRST

COUNTS = (23, 9, 30)
PLAIN = CTCUnits(dim=32, layers=2, heads=2, ffn=48, factor=25)
WITH_POSITIONS = CTCUnits(dim=32, layers=2, heads=2, ffn=48, factor=7, repeat_position=True, rope_factor=8.0, rope_original=64)
VOCODERS = {
    "320 samples a unit": UnitHiFiGAN(units=12, dim=4, channels=32, duration_dim=4),
    "blocks of their own": UnitHiFiGAN(units=12, dim=4, channels=8, rates=(4, 2), kernels=(8, 4), block_kernels=(3, 5),
                                       block_dilations=((1, 6), (2,)), duration_dim=4),
    "other kernels": UnitHiFiGAN(units=12, dim=4, channels=8, rates=(3, 2), kernels=(9, 2), block_kernels=(5,),
                                 dilations=(2,), duration_dim=4),
}


def head(config: CTCUnits) -> CTCUnitHead:
    """A head whose attention matters: with sharp queries its labels change with everything before."""
    torch.manual_seed(3)
    module = CTCUnitHead(config, 8, 6).eval()
    for name, weight in module.named_parameters():
        if "q_proj" in name or "output_proj" in name:
            weight.data *= 6
    return module


def states(source: int = 8) -> Features:
    data = torch.randn(len(COUNTS), max(COUNTS), source, generator=torch.Generator().manual_seed(1))
    return Features(data, torch.tensor(COUNTS), Fraction(1))


def streamed(module: CTCUnitHead, given: Features, sizes: list[list[int]]) -> list[list[int]]:
    """Feed row i its states in pieces of sizes[i], all rows in the same steps."""
    state, units = module.init_state(len(sizes)), [[] for _ in sizes]
    done = [0] * len(sizes)
    for step in range(max(map(len, sizes))):
        counts = [row[step] if step < len(row) else 0 for row in sizes]
        data = torch.full((len(sizes), max(counts), given.data.shape[-1]), 7.0)  # what is padding must not matter
        for row, count in enumerate(counts):
            data[row, :count] = given.data[row, done[row]:done[row] + count]
            done[row] += count
        new, state = module.step(Features(data, torch.tensor(counts)), state)
        units = [old + more for old, more in zip(units, new, strict=True)]
    assert done == given.lengths.tolist()
    return units


def pieces(total: int, size: int) -> list[int]:
    return [min(size, total - start) for start in range(0, total, size)]


def at_random(total: int, draw: random.Random) -> list[int]:
    cuts = sorted(draw.choices(range(total + 1), k=draw.randrange(total)))
    return [b - a for a, b in pairwise([0, *cuts, total])]  # empty pieces among them


@pytest.mark.parametrize("config", [PLAIN, WITH_POSITIONS], ids=["plain", "positions, llama3"])
@pytest.mark.parametrize("size", [1, 2, 5, 30])
def test_units_in_pieces_are_those_of_decode(config: CTCUnits, size: int) -> None:
    module, given = head(config), states()
    expected = module.decode(given)
    assert min(map(len, expected)) > 2
    assert streamed(module, given, [pieces(count, size) for count in COUNTS]) == expected


@pytest.mark.parametrize("config", [PLAIN, WITH_POSITIONS], ids=["plain", "positions, llama3"])
@pytest.mark.parametrize("seed", range(5))
def test_rows_may_go_on_at_random(config: CTCUnits, seed: int) -> None:
    module, given, draw = head(config), states(), random.Random(seed)
    assert streamed(module, given, [at_random(count, draw) for count in COUNTS]) == module.decode(given)


def test_cached_frames_attend_to_what_a_whole_pass_attends_to() -> None:
    module, given = head(PLAIN), states()
    logits: list[Tensor] = []
    module.output_proj.register_forward_hook(lambda *call: logits.append(call[2]))
    module.decode(Features(given.data[:1, :COUNTS[0]], given.lengths[:1]))
    streamed(module, Features(given.data[:1], given.lengths[:1]), [[1] * COUNTS[0]])
    torch.testing.assert_close(torch.cat(logits[1:], 1), logits[0], atol=2e-4, rtol=1e-4)  # float32, sums in another order


def test_one_head_serves_conversations_that_take_turns() -> None:
    module, given = head(PLAIN), states()
    talks = [module.init_state(1) for _ in COUNTS]
    units: list[list[Code]] = [[] for _ in COUNTS]
    for place in range(max(COUNTS)):
        for row, talk in enumerate(talks):
            if place < COUNTS[row]:
                new, talks[row] = module.step(Features(given.data[row:row + 1, place:place + 1], torch.tensor([1])), talk)
                units[row] += new[0]
    assert units == module.decode(given)


def test_buffers_double_instead_of_growing_each_step() -> None:
    module, state, rooms = head(PLAIN), UnitState.empty(1, 2), []
    for _ in range(5 * FIRST // PLAIN.factor):
        _, state = module.step(Features(torch.randn(1, 1, 8), torch.tensor([1])), state)
        assert state.layers[0].keys is not None
        rooms.append((state.layers[0].keys.shape[2], state.layers[0].keys.data_ptr()))
    assert list(dict.fromkeys(room for room, _ in rooms)) == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]
    assert len(set(rooms)) == 4, "a buffer stays where it is until it is full"


def test_protocols_are_met() -> None:
    assert isinstance(head(PLAIN), StreamingHead)
    assert isinstance(vocoder("other kernels"), StreamingCodec)


# ---- the vocoder -----------------------------------------------------------------------------------------------------


def vocoder(name: str) -> UnitVocoder:
    torch.manual_seed(4)
    module = VOCODERS[name].build().eval()
    assert isinstance(module, UnitVocoder)
    module.dur_predictor.proj.weight.data *= 4  # durations differ, and with their neighbours
    module.dur_predictor.proj.bias.data += 1.2
    return module


def spoken(module: UnitVocoder, codes: Tensor, sizes: list[int]) -> Tensor:
    state, waves, start = module.init_state(1), [], 0
    for size in sizes:
        wave, state = module.step(codes[start:start + size], state)
        waves.append(wave)
        start += size
    return torch.cat([*waves, module.step(codes[start:], state, last=True)[0]])


def units(count: int) -> Tensor:
    return torch.randint(12, (count, 1), generator=torch.Generator().manual_seed(6))


@pytest.mark.parametrize("name", VOCODERS)
@pytest.mark.parametrize("size", [1, 7, 10, 35])
def test_wave_in_pieces_is_that_of_decode(name: str, size: int) -> None:
    module, codes = vocoder(name), units(40)
    expected = module.decode(codes)
    assert len(set(module.durations(codes[:, 0]).tolist())) > 2
    torch.testing.assert_close(spoken(module, codes, pieces(40, size)), expected, atol=1e-5, rtol=0)  # float32


@pytest.mark.parametrize("seed", range(5))
def test_wave_in_random_pieces_is_that_of_decode(seed: int) -> None:
    module, codes, draw = vocoder("other kernels"), units(60), random.Random(seed)
    codes[draw.sample(range(60), 4)] = -1  # dropped, as decode does
    torch.testing.assert_close(spoken(module, codes, at_random(55, draw)), module.decode(codes), atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
def test_short_waves_end_where_they_end(count: int) -> None:
    module, codes = vocoder("320 samples a unit"), units(count)
    torch.testing.assert_close(spoken(module, codes, [1] * count), module.decode(codes), atol=1e-5, rtol=0)


def test_without_durations_a_unit_is_a_frame() -> None:
    module = UnitHiFiGAN(units=12, dim=4, channels=8, rates=(3, 2), kernels=(9, 2), duration_dim=None).build().eval()
    assert isinstance(module, UnitVocoder)
    codes = units(30)
    torch.testing.assert_close(spoken(module, codes, pieces(30, 4)), module.decode(codes), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", VOCODERS)
def test_what_is_stored_does_not_grow(name: str) -> None:
    module, state, sizes = vocoder(name), vocoder(name).init_state(1), []
    for piece in units(200).split(10):
        _, state = module.step(piece, state)
        sizes.append(memory(state))
    assert max(sizes[10:]) <= 1.2 * max(sizes[:10])  # durations differ, and with them what layers wait for


def memory(state: VocoderState) -> int:
    """Give the bytes of all storages that a state keeps."""
    stack, found = [state.predictor, state.generator], state.units.untyped_storage().nbytes()
    while stack:
        layer = stack.pop()
        assert layer is not None
        found += 0 if layer.inputs is None else layer.inputs.untyped_storage().nbytes()
        stack += layer.inner
    return found


@pytest.mark.parametrize("name", VOCODERS)
def test_audio_comes_as_soon_as_no_later_unit_can_change_it(name: str) -> None:
    module, codes, hop = vocoder(name).double(), units(40), prod(VOCODERS[name].rates)
    sent = len(module.step(codes, module.init_state(1))[0])
    others = [module.decode(torch.cat([codes, torch.tensor([[unit]])])) for unit in range(12)]
    shortest = min(map(len, others))
    certain = min(int((others[0][:shortest] == other[:shortest]).long().cumprod(0).sum()) for other in others)
    longest = int(module.durations(codes[:, 0]).max())
    # the last unit has no duration until two more are there, so none of its frames is in the generator
    assert 0 < sent <= certain and certain - sent <= (2 * longest + 1) * hop


def test_nothing_is_computed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    module, codes, plain, work = vocoder("320 samples a unit").double(), units(MOST), torch.conv2d, [0]
    with torch.no_grad():
        module.dur_predictor.proj.weight.zero_()
        module.dur_predictor.proj.bias.zero_()  # a frame each

    def conv(x: Tensor, weight: Tensor, *rest: object, **named: object) -> Tensor:
        y = plain(x, weight, *rest, **named)
        work[0] += y.shape[-1] * weight.numel()
        return y

    monkeypatch.setattr(torch.nn.functional, "conv2d", conv)
    module.step(codes, module.init_state(1), last=True)
    one_pass, work[0] = work[0], 0
    spoken(module, codes, [1] * MOST)
    assert work[0] == one_pass > 0


def test_a_copied_state_continues_as_the_original() -> None:
    module, codes = vocoder("other kernels"), units(30)
    _, state = module.step(codes[:17], module.init_state(1))
    other = copy.deepcopy(state)
    first, again = (module.step(codes[17:], one, last=True)[0] for one in (state, other))
    assert torch.equal(first, again) and len(first)


def test_state_is_as_new_after_the_last_units() -> None:
    module, codes = vocoder("other kernels"), units(20)
    state: VocoderState = module.init_state(1)
    first, state = module.step(codes, state, last=True)
    second, _ = module.step(codes, state, last=True)
    assert torch.equal(first, second)


def test_foreign_unit_is_refused_in_a_segment() -> None:
    module = vocoder("other kernels")
    with pytest.raises(DataError, match="unit 12 cannot be spoken"):
        module.step(torch.tensor([[3], [12]]), module.init_state(1))
