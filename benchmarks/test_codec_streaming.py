"""Streamed codes of both vocoders, at the published sizes on one thread, against one pass of torch's own convolutions.

Segments of 10 and of 35 codes are what an answer is cut into. A segment of one code is listed without a limit: all weights are
read for each, and a layer is called for a few frames. Beside it stand the bound of reading the weights once a code, the same
for several waveforms that advance together, and the original's way with TiCodec (overlapping chunks).
"""

from collections.abc import Callable

import pytest
import torch
from bench_table import Measures, Ratio, processor_time
from omnikit_llama_omni.streaming import StreamingVocoder
from omnikit_vita.ticodec import TiCodec
from omnikit_vita.ticodec_model import TiCodecModel
from omnikit_vita.ticodec_streaming import StreamingGenerator
from test_time_to_first_audio import FRAMES, published_vocoder
from torch import Tensor, nn

from omnikit.contracts.streaming import StreamingCodec
from omnikit.ops.streaming_conv import StreamingSequence, channels_last

CODES, SEGMENTS, ROUNDS = 105, (1, 10, 35), 3
MOST = 1.05  # times the work of one pass
LIMITED = (10, 35)
SHORT, TOGETHER = 35, (4, 16)  # codes, and waveforms at once


@pytest.mark.parametrize("name", ["unit_hifigan", "ticodec"])
def test_streamed_codes_cost_what_one_pass_costs(measures: Measures, name: str) -> None:
    codec, codes = CODECS[name](), torch.randint(0, 1000, (CODES, 1), generator=torch.Generator().manual_seed(0))
    ways = {"one pass": lambda: codec.decode(codes)} | {
        f"segments of {size}": lambda size=size: streamed(codec, codes, size) for size in SEGMENTS}
    for way in ways.values():  # which compiles convolutions and prepares weights
        torch.testing.assert_close(way(), codec.decode(codes), atol=1e-5, rtol=0)  # float32: sums in another order
    costs = measures.compare({way: processor_time(call) for way, call in ways.items()}, *(
        Ratio(f"{name}, segments of {size} / one pass", f"segments of {size}", "one pass",
              most=MOST if size in LIMITED else None) for size in SEGMENTS), rounds=ROUNDS)
    seconds = len(codec.decode(codes)) / codec.config.sample_rate
    for way, found in costs.items():
        measures.number(f"{name}, real-time factor, {way}", min(found) / seconds, "")


@pytest.mark.parametrize("name", ["unit_hifigan", "ticodec"])
def test_segments_of_one_code_against_their_bound_and_in_company(measures: Measures, name: str) -> None:
    codec = CODECS[name]()
    codes = torch.randint(0, 1000, (SHORT, 1), generator=torch.Generator().manual_seed(0))
    layers, frames, one_pass = streaming_layers(codec, codes)
    weights = torch.zeros(sum(weight.numel() for weight in parts(codec).parameters()))
    other = weights.clone()
    ways: dict[str, Callable[[], object]] = {
        "one pass": one_pass, "reading": lambda: [weights.sum() for _ in range(SHORT)],
        "copying": lambda: [other.copy_(weights) for _ in range(SHORT)]}
    ways |= {f"{count} at once": lambda count=count: advance(layers, frames, count) for count in (1, *TOGETHER)}
    with torch.inference_mode():
        for way in ways.values():
            way()
    costs: dict[str, Callable[[], float]] = {way: processor_time(call) for way, call in ways.items()}
    for count in TOGETHER:
        costs[f"{count} at once"] = lambda count=count: processor_time(ways[f"{count} at once"])() / count
    ratios = [Ratio(f"{name}, {way} the weights once a code / one pass", way, "one pass") for way in ("reading", "copying")]
    ratios += [Ratio(f"{name}, segments of 1, each of {count} waveforms / one pass", f"{count} at once", "one pass")
               for count in (1, *TOGETHER)]
    with torch.inference_mode():
        measures.compare(costs, *ratios, rounds=ROUNDS)


def parts(codec: StreamingCodec) -> nn.Module:
    """Give what holds the weights that a code reads."""
    return codec.generator if isinstance(codec, TiCodecModel) else codec


def streaming_layers(codec: StreamingCodec, codes: Tensor) -> tuple[StreamingSequence, Tensor, Callable[[], Tensor]]:
    """Give the generator's layers, its frames, equally many a code, and one pass of torch's convolutions over them."""
    if isinstance(codec, TiCodecModel):
        frames = channels_last(codec.quantizer.embed_frames(codes[None]))
        return StreamingSequence(StreamingGenerator(codec.generator).layers), frames, lambda: codec.decode(codes)
    units = codes[:, 0].repeat_interleave(round(FRAMES))
    frames = channels_last(codec.dict.weight[units][None].transpose(1, 2))
    return StreamingVocoder(codec).generator, frames, lambda: codec.waveform(units)


@torch.inference_mode()
def advance(layers: StreamingSequence, frames: Tensor, count: int) -> None:
    """Make so many waveforms together, code by code."""
    frames, state = frames.expand(count, -1, -1, -1).contiguous(memory_format=torch.channels_last), layers.init_state(count)
    size = frames.shape[3] // SHORT
    for number in range(SHORT):
        layers.step(frames[..., number * size:(number + 1) * size], state, last=number == SHORT - 1)


def test_the_originals_overlapping_chunks(measures: Measures) -> None:
    exact, overlapped = ticodec(), ticodec("overlap")
    overlapped.load_state_dict(exact.state_dict())
    codes = torch.randint(0, 1024, (CODES, 1), generator=torch.Generator().manual_seed(0))
    measures.compare({"one pass": processor_time(lambda: exact.decode(codes)),
                      "overlap": processor_time(lambda: streamed(overlapped, codes, 40))},
                     Ratio("ticodec, overlapping chunks of the original / one pass", "overlap", "one pass"), rounds=3)


@torch.inference_mode()
def streamed(codec: StreamingCodec, codes: Tensor, size: int) -> Tensor:
    state, pieces = codec.init_state(1), []
    for start in range(0, CODES, size):
        waveform, state = codec.step(codes[start:start + size], state, last=start + size >= CODES)
        pieces.append(waveform)
    return torch.cat(pieces, -1)


def ticodec(stream: str = "exact") -> TiCodecModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return TiCodecModel(TiCodec(voice=(0,) * 8, stream=stream)).eval()


CODECS: dict[str, Callable[[], StreamingCodec]] = {"unit_hifigan": published_vocoder, "ticodec": ticodec}
