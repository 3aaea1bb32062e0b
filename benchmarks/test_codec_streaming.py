"""Streamed codes of both vocoders, at the published sizes on one thread, against one pass of torch's own convolutions.

Segments of 10 and of 35 codes are what an answer is cut into. A segment of one code is listed without a limit: all weights are
read for each, so its cost depends on the machine's memory and on what else uses it. The original's way with TiCodec
(overlapping chunks) is listed beside them.
"""

from collections.abc import Callable

import pytest
import torch
from bench_table import Measures, Ratio, processor_time
from omnikit_vita.ticodec import TiCodec
from omnikit_vita.ticodec_model import TiCodecModel
from test_time_to_first_audio import published_vocoder
from torch import Tensor

from omnikit.contracts.streaming import StreamingCodec

CODES, SEGMENTS, ROUNDS = 105, (1, 10, 35), 3
MOST = 1.05  # times the work of one pass
LIMITED = (10, 35)


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
