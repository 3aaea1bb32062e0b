"""Streamed convolutions against torch's own on the whole signal, in float64, and prepared ones in float32."""

import copy
import random
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnikit.ops.packed_conv import PackedConv
from omnikit.ops.streaming_conv import (
    LayerState,
    StreamingConv,
    StreamingConvTranspose,
    StreamingLayer,
    StreamingMean,
    StreamingResidual,
    StreamingSequence,
    channels_last,
    in_pieces,
)

LENGTH = 80
CUTS = {"1": [1] * LENGTH, "7": [7] * 11 + [3], "10": [10] * 8, "35": [35, 35, 10], "all": [LENGTH]} | {
    f"random {seed}": [b - a for a, b in pairwise([0, *sorted(random.Random(seed).choices(range(LENGTH), k=9)), LENGTH])]
    for seed in range(3)}


class Network(nn.Module):
    """Convolutions as vocoders have them: different kernels beside each other, two upsamplings."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv1d(6, 16, 7, padding=3)
        self.ups = nn.ModuleList([nn.ConvTranspose1d(16, 16, 7, 3, padding=2), nn.ConvTranspose1d(16, 8, 4, 2, padding=1)])
        self.blocks = nn.ModuleList(
            nn.ModuleList(nn.Conv1d(width, width, kernel, dilation=d, padding=d * (kernel - 1) // 2) for d in dilations)
            for width in (16, 8) for kernel, dilations in ((3, (1, 1)), (5, (3,)), (7, (5, 1, 1))))
        self.last = nn.Conv1d(8, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, T] to [B, 1, 6 T], layer by layer as torch has it."""
        x = self.first(x)
        for step, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, 0.1))
            x = torch.stack([residual(block, x) for block in self.blocks[3 * step:3 * step + 3]]).mean(0)
        return self.last(F.relu(x))

    def streaming(self) -> StreamingSequence:
        blocks = [StreamingSequence([StreamingResidual(list(block), 0.1)]) for block in self.blocks]
        layers: list[StreamingLayer] = [StreamingConv.of(self.first)]
        for step, up in enumerate(self.ups):
            layers += [StreamingConvTranspose(up, before=0.1), StreamingMean(blocks[3 * step:3 * step + 3])]
        return StreamingSequence([*layers, StreamingConv.of(self.last, before=0.0)])


def residual(block: nn.ModuleList, x: Tensor) -> Tensor:
    y = x
    for layer in block:
        y = layer(F.leaky_relu(y, 0.1))
    return x + y


def signal(batch: int = 1, length: int = LENGTH) -> Tensor:
    return torch.randn(batch, 6, length, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def streamed(network: Network, x: Tensor, sizes: list[int]) -> Tensor:
    layers = network.streaming()
    state, ends = layers.init_state(len(x)), len(sizes) - 1
    pieces = [layers.step(channels_last(piece), state, last=index == ends) for index, piece in enumerate(x.split(sizes, 2))]
    return torch.cat(pieces, 3)[:, :, 0]


@pytest.mark.parametrize("sizes", CUTS.values(), ids=CUTS)
def test_pieces_joined_are_the_output_for_the_whole_signal(sizes: list[int]) -> None:
    network = Network().double()
    torch.testing.assert_close(streamed(network, signal(), sizes), network(signal()), atol=1e-12, rtol=0)


@pytest.mark.parametrize("sizes", CUTS.values(), ids=CUTS)
def test_prepared_weights_give_the_same_to_rounding(sizes: list[int]) -> None:
    network = Network()
    torch.testing.assert_close(streamed(network, signal().float(), sizes), network(signal().float()), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_rows_of_a_batch_do_not_depend_on_each_other(dtype: torch.dtype) -> None:
    network, x = Network().to(dtype), signal(3).to(dtype)
    together = streamed(network, x, [1, 30, 49])
    torch.testing.assert_close(together, network(x), atol=1e-5, rtol=0)
    torch.testing.assert_close(together[1:2], streamed(network, x[1:2], [1, 30, 49]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("length", [1, 2, 3, 9])
def test_signals_shorter_than_the_kernels_end_where_they_end(length: int) -> None:
    network = Network().double()
    expected = network(signal(length=length))
    torch.testing.assert_close(streamed(network, signal(length=length), [1] * length), expected, atol=1e-12, rtol=0)


@torch.no_grad()
def test_outputs_come_as_soon_as_no_later_input_can_change_them() -> None:
    network = Network().double()
    layers, x = network.streaming(), signal()
    sent = layers.step(channels_last(x[..., :50]), layers.init_state(1), last=False).shape[3]
    changed = x.clone()
    changed[..., 50:] += 1.0
    certain = int((network(x) == network(changed))[0, 0].long().cumprod(0).sum())
    assert 0 < sent <= certain < sent + 6  # whole inputs: a transposed kernel reaches a little less than its padding allows


@torch.no_grad()
def test_a_state_can_be_copied_and_saved() -> None:
    layers, x = Network().streaming(), channels_last(signal().float())
    state = layers.init_state(1)
    with torch.inference_mode():
        layers.step(x[..., :30], state, last=False)
    other = copy.deepcopy(state)
    first, again = (layers.step(x[..., 30:], one, last=True) for one in (state, other))
    assert torch.equal(first, again)


@torch.no_grad()
def test_a_long_piece_leaves_no_more_memory_than_a_short_one() -> None:
    layers = Network().streaming()
    sizes = []
    for count in (20, 2000):
        state = layers.init_state(1)
        layers.step(channels_last(signal(length=count).float()), state, last=False)
        sizes.append(memory(state))
    assert sizes[1] <= sizes[0]


def memory(state: LayerState) -> int:
    own = 0 if state.inputs is None else state.inputs.untyped_storage().nbytes()
    return own + sum(map(memory, state.inner))


def test_prepared_convolutions_are_compiled_for_few_lengths() -> None:
    conv = StreamingConv(torch.randn(8, 8, 3), torch.zeros(8), (1, 1))
    windows = [conv.window(torch.zeros(1, 8, 1, length), conv.init_state(1), last=True) for length in range(1, 129)]
    assert [count for _, count in windows] == list(range(1, 129))
    assert len({window.shape[3] for window, _ in windows}) <= 40
    assert all(count <= window.shape[3] - conv.conv.reach <= 9 / 8 * count for window, count in windows)


def test_pieces_of_a_piece_are_nearly_equal() -> None:
    seen: list[tuple[int, bool]] = []

    def step(x: Tensor, last: bool) -> Tensor:
        seen.append((x.shape[3], last))
        return x

    x = channels_last(signal(length=35))
    assert torch.equal(in_pieces(step, x, 18, last=True), x)
    assert torch.equal(in_pieces(step, x[..., :0], 18, last=False), x[..., :0])
    assert seen == [(18, False), (17, True), (0, False)]


@pytest.mark.parametrize("frames", [1, 2, 60, 700])
@pytest.mark.parametrize(("width", "kernel", "dilation"), [(16, 3, 1), (24, 11, 5), (96, 2, 1), (8, 1, 1)])
def test_a_prepared_convolution_is_torchs(frames: int, width: int, kernel: int, dilation: int) -> None:
    draw = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(width, width, kernel, generator=draw) / 10, torch.randn(width, generator=draw)
    x = torch.randn(1, width, frames + (kernel - 1) * dilation, generator=draw)
    expected = F.conv1d(x, weight, bias, dilation=dilation)
    conv, sloped = (PackedConv(weight, bias, dilation=dilation, slope=slope) for slope in (None, 0.1))
    given = channels_last(x)
    torch.testing.assert_close(conv(given)[:, :, 0], expected, atol=1e-4, rtol=0)  # sums in another order
    torch.testing.assert_close(sloped(given)[:, :, 0], F.leaky_relu(expected, 0.1), atol=1e-4, rtol=0)
