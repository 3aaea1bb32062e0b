"""Answers that come and go beside one another get the units that each gets alone."""

import pytest
import torch
from omnikit_llama_omni.config import CTCUnits
from omnikit_llama_omni.model import CTCUnitHead

from omnikit.contracts.codes import Code
from omnikit.contracts.streaming import RowHead
from omnikit.contracts.types import Features

COUNTS = (23, 9, 30)
PLAIN = CTCUnits(dim=32, layers=2, heads=2, ffn=48, factor=25)
WITH_POSITIONS = CTCUnits(dim=32, layers=2, heads=2, ffn=48, factor=7, repeat_position=True)


@pytest.mark.parametrize("config", [PLAIN, WITH_POSITIONS], ids=["plain", "positions"])
def test_answers_beside_one_another_equal_each_alone(config: CTCUnits) -> None:
    torch.manual_seed(3)
    head = CTCUnitHead(config, 8, 6).eval()
    for name, weight in head.named_parameters():  # sharp attention and classes: labels change often
        weight.data *= 6 if "q_proj" in name or "output_proj" in name else 1
    assert isinstance(head, RowHead)
    data = torch.randn(len(COUNTS), max(COUNTS), 8)
    alone = head.decode(Features(data, torch.tensor(COUNTS)))
    rows, found, done = head.init_rows(), list[list[Code]]([[], [], []]), [0, 0, 0]

    def step(answers: dict[int, int], numbers: list[int]) -> None:
        """Give some answers their next states, so many of each."""
        given = torch.full((len(answers), max(answers.values()), 8), 7.0)  # what is padding must not matter
        for place, (answer, count) in enumerate(answers.items()):
            given[place, :count] = data[answer, done[answer]:done[answer] + count]
            done[answer] += count
        new = rows.step(Features(given, torch.tensor([*answers.values()])), numbers)
        for (answer, count), (codes, sources) in zip(answers.items(), new, strict=True):
            found[answer] += codes
            assert sources == sorted(sources or ()) and all(0 <= source < count for source in sources)

    assert [rows.add(), rows.add()] == [0, 1]
    step({0: 1, 1: 4}, [0, 1])
    step({0: 2, 1: 1}, [0, 1])
    assert rows.add() == 2
    step({0: 9, 2: 3}, [0, 2])  # not side by side
    step({0: 1, 1: 4, 2: 16}, [0, 1, 2])
    rows.remove(1)  # answer 2 gets its number
    step({0: 10, 2: 11}, [0, 1])
    assert found == alone
