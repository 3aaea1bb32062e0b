"""The streaming audio encoder: what a chunk costs late in a long clip against early ones, and against hearing all of it again.

Structure and chunks of Freeze-Omni's encoder (160 ms a chunk, 16 chunks before it), half its width and a quarter of its layers,
so that two minutes are encoded in seconds. Early are the first chunks whose layers hold their full context. Time is
processor time of one thread; a round counts with the median of its chunks.
"""

import statistics
import time

import torch
from bench_table import Measures
from omnikit_mel_cnn.config import MelCnn
from omnikit_mel_cnn.model import MelCnnEncoder
from torch import Tensor

from omnikit.contracts.types import Signal

CONFIG = MelCnn(dim=512, layers=6, heads=8, ffn=2048, channels=256, scale=32768.0, normalisation="fixed", embed=True,
                positions="relative", lead=True, chunk_size=4, left_chunks=16)
SECONDS, ROUNDS, LIMIT = 120, 3, 1.1
COMPARED = 100  # chunks: 16 s
CHUNK = 2560  # samples of four frames
SO_FAR = (10, 30, 60, 120)  # seconds so far


def test_late_chunk_costs_what_an_early_one_costs(measures: Measures) -> None:
    torch.set_num_threads(1)
    encoder = CONFIG.build().eval()
    waveform = 0.1 * torch.randn(1, SECONDS * 16000, generator=torch.Generator().manual_seed(0))
    rounds = [chunks(encoder, waveform) for _ in range(ROUNDS)]
    full = (CONFIG.left_chunks or 0) + 1
    early, late = ([statistics.median(times[part]) for times in rounds]
                   for part in (slice(full, full + COMPARED), slice(-COMPARED, None)))
    measures.ratio("a chunk after 120 s / one after 3 s", late, early, most=LIMIT)
    measures.number("a late chunk", 1000 * min(late), "ms")
    measures.number("real-time factor", min(map(sum, rounds)) / SECONDS, "")
    for seconds in SO_FAR:
        measures.number(f"all audio encoded again, {seconds} s", 1000 * one_pass(encoder, waveform[:, :seconds * 16000]), "ms")


@torch.no_grad()
def chunks(encoder: MelCnnEncoder, waveform: Tensor) -> list[float]:
    """Give the seconds of each chunk."""
    state, seconds = encoder.init_state(1), []
    for piece in waveform.split(CHUNK, dim=1):
        begun = time.process_time()
        features, state = encoder.step(Signal(piece, torch.tensor([piece.shape[1]])), state)
        seconds.append(time.process_time() - begun)
        assert features.data.shape[1] == CONFIG.chunk_size
    return seconds


@torch.no_grad()
def one_pass(encoder: MelCnnEncoder, waveform: Tensor) -> float:
    """Give the seconds of one pass over all audio so far, which an encoder without a state would pay for each chunk."""
    begun = time.process_time()
    encoder(Signal(waveform, torch.tensor([waveform.shape[1]])))
    return time.process_time() - begun
