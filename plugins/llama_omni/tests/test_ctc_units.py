"""Head `ctc_units`: sizes, copying, CTC against its definition, padding, and what it refuses."""

import itertools
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from omnikit_llama_omni.config import CTCUnits
from omnikit_llama_omni.model import CTCUnitHead, collapse, frequencies, upsample

from omnikit.contracts.configs import HeadConfig
from omnikit.contracts.specs import CodecSpec, FeatureSpec
from omnikit.contracts.types import Features, Targets
from omnikit.errors import DataError

CONF = Path(__file__).parents[1] / "omnikit_llama_omni" / "conf" / "head"
CODEC = CodecSpec(16000, Fraction(50), 1, 10, merged=True)
SMALL = CTCUnits(dim=16, layers=1, heads=2, ffn=24, factor=3, repeat_position=True)


def preset(name: str) -> CTCUnits:
    values = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    return CTCUnits(**{k: v for k, v in values.items() if k != "use"})


def build(config: CTCUnits = SMALL, source: int = 8) -> CTCUnitHead:
    torch.manual_seed(5)
    return CTCUnitHead(config, source, CODEC.cardinality)


def features(*counts: int, source: int = 8) -> Features:
    data = torch.randn(len(counts), max(counts), source, generator=torch.Generator().manual_seed(1))
    return Features(data, torch.tensor(counts))


def targets(*rows: list[int]) -> Targets:
    longest = max(map(len, rows))
    ids = torch.tensor([row + [-100] * (longest - len(row)) for row in rows], dtype=torch.long)
    return Targets(ids[..., None], torch.tensor([len(row) for row in rows]))


def test_public_size_has_the_papers_number_of_parameters() -> None:
    spec = CodecSpec(16000, Fraction(50), 1, 1000, merged=True)
    with torch.device("meta"):
        module = preset("ctc_units_425m").build(FeatureSpec(4096, Fraction(1)), spec, 128256)
    assert sum(p.numel() for p in module.parameters()) == 425_649_129  # arXiv:2409.06666: 425 M


def test_public_size_scales_its_frequencies_as_llama_3_1() -> None:
    found = frequencies(preset("ctc_units_425m"), torch.device("cpu"))
    plain = 500000.0 ** -(torch.arange(0, 128, 2) / 128)
    torch.testing.assert_close(found[:20], plain[:20])  # short waves stay
    torch.testing.assert_close(found[-10:], plain[-10:] / 8)  # long waves are slowed by the factor


def test_config_keeps_the_contract_of_a_head() -> None:
    assert isinstance(SMALL, HeadConfig)
    assert (SMALL.tap, SMALL.target, SMALL.alignment) == ("hidden", "codes", "predicts")


@pytest.mark.parametrize(("states", "frames"), [(1, 25), (7, 175), (4, 101), (3, 4), (5, 5)])
def test_frame_t_holds_state_floor_of_t_m_over_t(states: int, frames: int) -> None:
    numbers = torch.arange(states, dtype=torch.float32).reshape(1, states, 1)
    copied, place = upsample(numbers, torch.tensor([states]), torch.tensor([frames]), frames + 2)
    expected = [t * states // frames for t in range(frames)]
    assert copied[0, :, 0].tolist() == [*expected, 0, 0]
    assert place[0, :frames].tolist() == [t - expected.index(s) for t, s in enumerate(expected)]


def test_stretched_frames_are_divided_in_float32_as_in_the_original() -> None:
    numbers = torch.arange(14, dtype=torch.float32).reshape(1, 14, 1)
    copied, place = upsample(numbers, torch.tensor([14]), torch.tensor([456]), 456)
    expected = (np.arange(456, dtype=np.float32) / (np.float32(456) / np.float32(14))).astype(int)
    assert copied[0, :, 0].tolist() == expected.tolist()
    assert expected[228] == 6 != 228 * 14 // 456  # one of the frames where exact division gives another state
    assert place.min() == 0


@pytest.mark.parametrize(("frames", "units"), [
    ([9, 9, 9], []), ([1, 1, 2, 2], [1, 2]), ([1, 9, 1], [1, 1]), ([0, 9, 9, 0, 3], [0, 0, 3]), ([], []),
])
def test_collapse_merges_runs_and_drops_blanks(frames: list[int], units: list[int]) -> None:
    assert collapse(torch.tensor(frames, dtype=torch.long), 9) == units


def test_loss_is_the_sum_over_all_alignments() -> None:
    head, given = build(), features(2)
    with torch.no_grad():
        scores = head(given.data, given.lengths, torch.tensor([6]), 6).log_softmax(-1)[0].double()
        loss = head.loss(given, targets([4, 7]))
    total = sum(sum(scores[t, c] for t, c in enumerate(path)).exp()
                for path in itertools.product([4, 7, head.blank], repeat=6)
                if collapse(torch.tensor(path), head.blank) == [4, 7])
    assert loss.item() == pytest.approx(-log(total) / 2, rel=1e-4)  # float32 against float64


def test_loss_is_a_mean_over_the_units_of_the_batch() -> None:
    head, given = build(), features(3, 2)
    rows = [[1, 2, 3], [4]]
    with torch.no_grad():
        both = head.loss(given, targets(*rows))
        first = head.loss(Features(given.data[:1], given.lengths[:1]), targets(rows[0]))
        second = head.loss(Features(given.data[1:, :2], given.lengths[1:]), targets(rows[1]))
    torch.testing.assert_close(both, (3 * first + second) / 4, rtol=1e-5, atol=0)  # padding does not leak


def test_row_alone_decodes_as_in_a_padded_batch() -> None:
    head, given = build().eval(), features(5, 2, 3)
    with torch.no_grad():
        batch = head.decode(given)
        alone = [head.decode(Features(given.data[i:i + 1, :n], torch.tensor([n]))) for i, n in enumerate((5, 2, 3))]
    assert batch == [row[0] for row in alone]
    assert any(batch)


def test_frames_do_not_see_later_states() -> None:
    head, given = build().eval(), features(4)
    changed = given.data.clone()
    changed[:, 2:] += 1
    with torch.no_grad():
        a, b = (head(x, given.lengths, torch.tensor([12]), 12) for x in (given.data, changed))
    torch.testing.assert_close(a[:, :6], b[:, :6])
    assert not torch.allclose(a[:, 6:], b[:, 6:])


def test_more_units_than_frames_stretches_the_frames() -> None:
    head = build()
    loss = head.loss(features(1), targets([1, 2, 3, 4, 5]))  # 3 frames for 5 units become 5
    with torch.no_grad():
        scores = head(features(1).data, torch.tensor([1]), torch.tensor([5]), 5).log_softmax(-1)[0]
    expected = -scores[torch.arange(5), torch.tensor([1, 2, 3, 4, 5])].mean()  # one alignment is left
    torch.testing.assert_close(loss.detach(), expected)


def test_loss_falls_and_units_are_learned() -> None:
    head, given, wanted = build(), features(3, 2), targets([1, 2, 3, 4], [5, 6])
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        head.loss(given, wanted).backward()
        optimizer.step()
    assert head.decode(given) == [[(1,), (2,), (3,), (4,)], [(5,), (6,)]]


@pytest.mark.parametrize(("counts", "rows", "text"), [
    ((1,), [3, 3, 3], "Row 0 of the batch cannot be trained on: its speech is 3 units, which take 5 frames, but 1 states give"),
    ((2,), [4, 10], "The batch has units from 4 to 10, but the codec has 0 to 9"),
], ids=["repeats", "foreign unit"])
def test_target_out_of_reach_is_a_data_error(counts: tuple[int, ...], rows: list[int], text: str) -> None:
    with pytest.raises(DataError, match=text):
        build().loss(features(*counts), targets(rows))


def test_a_row_out_of_reach_counts_nothing_where_it_may_be_skipped() -> None:
    head = build(replace(SMALL, skip_unreachable=True))
    both = head.loss(features(1, 2), targets([3, 3, 3], [1, 2]))  # 3 frames for 3 equal units, which need 5
    alone = head.loss(Features(features(1, 2).data[1:], torch.tensor([2])), targets([1, 2]))
    torch.testing.assert_close(both, alone * 2 / 5)  # its units count in the mean all the same


def test_units_without_a_state_are_a_data_error() -> None:
    with pytest.raises(DataError, match=r"Row 1 of the batch cannot be trained on: .* 2 units, but there is no hidden state"):
        build().loss(Features(torch.randn(2, 3, 8), torch.tensor([3, 0])), targets([1], [2, 3]))


@pytest.mark.parametrize(("codec", "reason"), [
    (CodecSpec(16000, Fraction(50), 1, 100, merged=True), None),
    (CodecSpec(24000, Fraction(75), 8, 1024), "it emits one codebook, but the codec has 8"),
    (CodecSpec(24000, Fraction(40), 1, 1024), "runs merged, but the codec needs every frame"),
], ids=["units", "eight books", "every frame"])
def test_codecs_that_fit(codec: CodecSpec, reason: str | None) -> None:
    found = CTCUnits().codes(codec)
    assert found == reason or (reason is not None and found is not None and found.endswith(reason))


@pytest.mark.parametrize(("field", "value", "text"), [
    ("factor", 0, "factor is 0, but must be at least 1"),
    ("heads", 3, "dim is 128, but must be a multiple of 2 x heads"),
    ("rope_factor", 0.0, "rope_factor is 0.0"),
    ("rope_theta", 0.0, "both must be positive"),
])
def test_impossible_value_is_refused(field: str, value: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        CTCUnits(**{field: value})  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(("states", "ids", "fits"), [
    (1, [1, 2, 3], True), (1, [1, 1, 3], False), (2, [1, 1, 3], True), (0, [1], False), (1, [1, 2, 3, 4, 5], True)])
def test_what_ctc_cannot_reach_is_found_without_the_module(states: int, ids: list[int], fits: bool) -> None:
    """Held against the loss itself, which refuses the same; more units than frames stretch the states to them."""
    features = Features(torch.zeros(1, max(1, states), 8), torch.tensor([states]))
    wanted = Targets(torch.tensor([ids])[..., None], torch.tensor([len(ids)]))
    assert (SMALL.unreachable(states, ids) is None) == fits
    assert (replace(SMALL, skip_unreachable=True).unreachable(states, ids) is None) == (states > 0)
    with nullcontext() if fits else pytest.raises(DataError):
        assert torch.isfinite(build().loss(features, wanted))
