"""The cached unit head and the vocoder in segments replay what the original gave after each token (case.json: streaming)."""

import json
import random
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from omnikit_llama_omni.config import CTCUnits, UnitHiFiGAN
from omnikit_llama_omni.model import CTCUnitHead
from omnikit_llama_omni.vocoder import UnitVocoder
from safetensors.torch import load_file
from torch import Tensor

from omnikit.contracts.codes import to_file
from omnikit.contracts.types import Features

GOLDENS = Path(__file__).parent / "goldens"
OMNI, VOCODER = GOLDENS / "llama_omni_full", GOLDENS / "unit_hifigan"


def tensors(case: Path, name: str) -> dict[str, Tensor]:
    return {k: v.float() if v.is_floating_point() else v for k, v in load_file(case / f"{name}.safetensors").items()}


@pytest.fixture(scope="module")
def head() -> CTCUnitHead:
    module = CTCUnitHead(CTCUnits(dim=48, layers=2, heads=4, ffn=96, factor=25, rope_theta=500000.0), 64, 60).eval()
    start = "speech_generator."
    module.load_state_dict({k.removeprefix(start): v for k, v in tensors(OMNI, "weights").items() if k.startswith(start)})
    return module


@pytest.fixture(scope="module")
def states() -> Tensor:
    return tensors(OMNI, "outputs")["d_hidden_states_for_units"]  # [12, 64]


@pytest.fixture(scope="module")
def news() -> list[list[int]]:
    found: list[list[int]] = json.loads((OMNI / "outputs.json").read_text())["streaming"]["new_units_after_each_token"]
    return found


def fed(head: CTCUnitHead, rows: list[list[Tensor]]) -> list[list[list[int]]]:
    """Give each row's new units after each of its pieces [N, 64]."""
    state, found = head.init_state(len(rows)), [[] for _ in rows]
    for pieces in zip(*rows, strict=True):
        padded = torch.nn.utils.rnn.pad_sequence(list(pieces), batch_first=True)
        new, state = head.step(Features(padded, torch.tensor([len(piece) for piece in pieces])), state)
        found = [[*old, to_file(more)] for old, more in zip(found, new, strict=True)]
    return found


def test_new_units_after_each_token_are_the_originals(head: CTCUnitHead, states: Tensor, news: list[list[int]]) -> None:
    assert fed(head, [list(states.split(1))]) == [news]


def test_rows_of_a_batch_are_the_originals(head: CTCUnitHead, states: Tensor, news: list[list[int]]) -> None:
    late = [states[:0], states[:0], *states.split(1)[:10]]  # begins two steps later
    assert fed(head, [list(states.split(1)), late]) == [news, [[], [], *news[:10]]]


@pytest.mark.parametrize("seed", range(4))
def test_any_chunks_of_states_give_the_originals_units(head: CTCUnitHead, states: Tensor, news: list[list[int]],
                                                       seed: int) -> None:
    cuts = [0, *sorted(random.Random(seed).choices(range(13), k=5)), 12]
    found = fed(head, [[states[a:b] for a, b in pairwise(cuts)]])
    assert found == [[[unit for new in news[a:b] for unit in new] for a, b in pairwise(cuts)]]


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("size", [1, 4, 10])
def test_segments_join_to_the_originals_wave(index: int, size: int) -> None:
    module = UnitVocoder(UnitHiFiGAN(units=60, dim=16, channels=32, duration_dim=24)).eval()
    module.load_state_dict(tensors(VOCODER, "weights"))
    codes, state, waves = tensors(VOCODER, "inputs")[f"seq{index}_code"][0, :, None], module.init_state(1), []
    for piece in codes.split(size):
        wave, state = module.step(piece, state)
        waves.append(wave)
    waves.append(module.step(codes[:0], state, last=True)[0])
    expected = tensors(VOCODER, "outputs")[f"seq{index}_wav_dur"]
    torch.testing.assert_close(torch.cat(waves), expected, atol=2e-5, rtol=0)  # case.json
