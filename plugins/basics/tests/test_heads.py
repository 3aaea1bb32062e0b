"""The text heads against formulas: cross-entropy, and CTC by adding up every alignment."""

import itertools
import math
from contextlib import nullcontext
from fractions import Fraction

import pytest
import torch
from omnikit_basics.config import CaptionWords, CtcText, Lm, State
from omnikit_basics.heads import CtcTextHead
from torch.testing import assert_close

from omnikit.contracts.configs import HeadConfig
from omnikit.contracts.specs import FeatureSpec
from omnikit.contracts.types import Features, Targets
from omnikit.errors import DataError


def targets(*rows: list[int]) -> Targets:
    width = max(map(len, rows))
    ids = torch.tensor([row + [-100] * (width - len(row)) for row in rows])
    return Targets(ids, torch.tensor([len(row) for row in rows]))


def ctc_head(vocabulary: int = 3, *, norm: bool = True) -> CtcTextHead:
    torch.manual_seed(0)
    return CtcText(norm=norm).build(FeatureSpec(5, count=4), None, vocabulary)


def collapse(path: tuple[int, ...], blank: int) -> list[int]:
    return [key for key, _ in itertools.groupby(path) if key != blank]


def test_both_heads_keep_the_contract() -> None:
    assert isinstance(Lm(), HeadConfig) and isinstance(CtcText(), HeadConfig)
    assert (Lm().tap, Lm().target, Lm().alignment) == ("logits", "tokens", "predicts")
    assert (CtcText().tap, CtcText().target, CtcText().alignment) == ("audio.encoder", "transcript", "none")


def test_lm_loss_is_the_mean_over_target_tokens() -> None:
    logits = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0))
    rows = [[1, 6, 2], [4]]
    wanted = [-logits[b, u].log_softmax(-1)[token] for b, row in enumerate(rows) for u, token in enumerate(row)]
    loss = Lm().build(FeatureSpec(7, count=3), None, 7).loss(Features(logits, torch.tensor([3, 1])), targets(*rows))
    assert_close(loss, torch.stack(wanted).mean())


def test_lm_loss_of_half_precision_logits_is_float32() -> None:
    logits = Features(torch.zeros(1, 2, 8, dtype=torch.bfloat16), torch.tensor([2]))
    loss = Lm().build(FeatureSpec(8, count=2), None, 8).loss(logits, targets([0, 1]))
    assert loss.dtype == torch.float32 and math.isclose(float(loss), math.log(8), rel_tol=1e-6)


def test_lm_refuses_a_batch_without_targets() -> None:
    nothing = Targets(torch.full((1, 2), -100), torch.tensor([0]))
    with pytest.raises(DataError, match="hold no answer text"):
        Lm().build(FeatureSpec(8, count=2), None, 8).loss(Features(torch.zeros(1, 2, 8), torch.tensor([2])), nothing)


def test_lm_has_no_parameters_and_decodes_the_best_token() -> None:
    head = Lm().build(FeatureSpec(4, count=2), None, 4)
    logits = torch.eye(4)[torch.tensor([[2, 0, 3], [1, 1, 1]])]
    assert list(head.parameters()) == []
    assert head.decode(Features(logits, torch.tensor([3, 1]))) == [[2, 0, 3], [1]]


@pytest.mark.parametrize("norm", [True, False], ids=["norm", "plain"])
def test_ctc_loss_is_the_sum_over_all_alignments(norm: bool) -> None:
    head = ctc_head(norm=norm)
    x = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(1))
    rows, frames = [[1, 1], [2, 0]], [4, 3]
    log_probs = head(Features(x, torch.tensor(frames))).data.detach()
    total = 0.0
    for b, row in enumerate(rows):
        paths = [p for p in itertools.product(range(4), repeat=frames[b]) if collapse(p, 3) == row]
        scores = torch.stack([log_probs[b, torch.arange(frames[b]), torch.tensor(p)].sum() for p in paths])
        total -= float(scores.logsumexp(0))
    loss = head.loss(Features(x, torch.tensor(frames)), targets(*rows))
    assert math.isclose(loss.item(), total / 4, rel_tol=1e-5)  # float32


def test_ctc_loss_ignores_what_lies_beyond_the_lengths() -> None:
    head, x = ctc_head(), torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(1))
    changed = x.clone()
    changed[1, 4:] = 50.0
    goal, lengths = targets([0, 1, 2], [2]), torch.tensor([6, 4])
    assert_close(head.loss(Features(changed, lengths), goal), head.loss(Features(x, lengths), goal))


def test_ctc_names_the_row_that_cannot_be_reached() -> None:
    x = Features(torch.zeros(2, 4, 5), torch.tensor([4, 3]))
    with pytest.raises(DataError, match=r"Row 1 .* 2 tokens, 1 of them repeated, .* at least 3 frames .* have 2"):
        ctc_head().loss(Features(x.data, torch.tensor([4, 2])), targets([0, 1], [2, 2]))
    assert ctc_head().loss(x, targets([0, 1], [2, 2])).isfinite()  # three frames are just enough


def test_ctc_decode_merges_runs_and_drops_blanks() -> None:
    head = ctc_head(norm=False)
    with torch.no_grad():
        head.output.weight.copy_(torch.eye(4, 5))
        head.output.bias.zero_()
    best = torch.tensor([[0, 0, 3, 0, 1, 1], [3, 2, 2, 1, 1, 1]])
    assert head.decode(Features(torch.eye(5)[best], torch.tensor([6, 3]))) == [[0, 0, 1], [2]]


def test_ctc_learns_a_transcript() -> None:
    data = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(2))
    head, x = ctc_head(), Features(data, torch.tensor([8, 8]))
    goal = targets([0, 1, 1, 2], [2, 0])
    optimiser = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(150):
        optimiser.zero_grad()
        head.loss(x, goal).backward()
        optimiser.step()
    assert head.decode(x) == [[0, 1, 1, 2], [2, 0]]


def test_tap_without_a_path_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="tap is 'audio', but must be a path"):
        CtcText(tap="audio")


def test_stacked_ctc_head_gives_the_same_for_a_row_alone_and_in_a_padded_batch() -> None:
    torch.manual_seed(0)
    head = CtcTextHead(4, 3, norm=True, stack=4)
    data = torch.randn(2, 11, 4)
    both, alone = head(Features(data, torch.tensor([11, 6]))), head(Features(data[1:, :6], torch.tensor([6])))
    assert both.lengths.tolist() == [3, 2]  # ceil(11 / 4), ceil(6 / 4)
    torch.testing.assert_close(both.data[1, :2], alone.data[0])


@pytest.mark.parametrize(("vectors", "stack", "ids", "fits"), [
    (3, 1, [1, 2, 3], True), (2, 1, [1, 2, 3], False), (3, 1, [1, 1, 2], False),
    (4, 1, [1, 1, 2], True), (5, 2, [1, 2, 3], True), (4, 2, [1, 2, 3], False)])
def test_what_ctc_cannot_reach_is_found_without_the_module(vectors: int, stack: int, ids: list[int], fits: bool) -> None:
    """Held against the loss itself, which refuses the same."""
    config = CtcText(stack=stack)
    head = config.build(FeatureSpec(4, rate=Fraction(10)), None, 5)
    features = Features(torch.zeros(1, vectors, 4), torch.tensor([vectors]))
    wanted = Targets(torch.tensor([ids]), torch.tensor([len(ids)]))
    assert (config.unreachable(vectors, ids) is None) == fits
    with nullcontext() if fits else pytest.raises(DataError):
        assert torch.isfinite(head.loss(features, wanted))


# ---- state ----


def test_state_head_states_what_it_taps() -> None:
    assert (State().tap, State().target, State().alignment) == ("hidden", "state", "none")


def test_state_loss_is_the_weighted_mean_of_the_spoken_questions() -> None:
    head = State().build(FeatureSpec(4, count=1), None, 0)
    data, ids = torch.randn(4, 1, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([[0], [1], [-100], [0]])
    rows = head.output(data[:, 0]).log_softmax(-1)
    expected = -(rows[0, 0] + 5 * rows[1, 1] + rows[3, 0]) / (1 + 5 + 1)
    torch.testing.assert_close(head.loss(Features(data, torch.ones(4)), Targets(ids, torch.ones(4))), expected)


def test_state_shares_sum_to_one_and_the_largest_is_decoded() -> None:
    head = State().build(FeatureSpec(4, count=1), None, 0)
    features = Features(torch.randn(5, 1, 4, generator=torch.Generator().manual_seed(1)), torch.ones(5))
    shares = head.probabilities(features)
    assert shares.shape == (5, 3)
    torch.testing.assert_close(shares.sum(-1), torch.ones(5))
    assert head.decode(features) == [[int(row.argmax())] for row in shares]


def test_state_loss_without_a_spoken_question_is_refused() -> None:
    head = State().build(FeatureSpec(4, count=1), None, 0)
    with pytest.raises(DataError, match="none has audio with an answer behind it"):
        head.loss(Features(torch.zeros(1, 1, 4), torch.ones(1)), Targets(torch.tensor([[-100]]), torch.ones(1)))


@pytest.mark.parametrize(("fields", "text"), [
    ({"classes": 1, "weights": (1.0, 1.0)}, "classes is 1, but must be at least 2"),
    ({"classes": 3}, "weights has 3 numbers, but must have 4"),
    ({"weights": (1.0, 0.0, 1.0)}, "every weight must be above 0 and finite"),
], ids=["one class", "weights", "no weight"])
def test_impossible_state_heads_are_refused(fields: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        State(**fields)


def test_caption_words_are_predicted_by_the_mean_of_the_valid_vectors() -> None:
    torch.manual_seed(0)
    head = CaptionWords().build(FeatureSpec(8, count=3), None, 12)
    data = torch.randn(2, 3, 8)
    predicted = head(Features(data, torch.tensor([3, 2])))
    expected = head.output(head.norm(torch.stack([data[0].mean(0), data[1, :2].mean(0)]))).log_softmax(-1)
    assert_close(predicted, expected, atol=1e-6, rtol=1e-6)  # float32 sums in another order
    loss = head.loss(Features(data, torch.tensor([3, 2])), targets([4, 7], [1]))
    assert_close(loss, -((expected[0, 4] + expected[0, 7]) / 2 + expected[1, 1]) / 2, atol=1e-6, rtol=1e-6)


def test_caption_words_are_learned() -> None:
    torch.manual_seed(0)
    head = CaptionWords().build(FeatureSpec(8, count=3), None, 12)
    features = Features(torch.randn(2, 3, 8), torch.tensor([3, 3]))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        head.loss(features, targets([4, 7], [1, 2])).backward()
        optimizer.step()
    assert [sorted(row) for row in head.decode(features)] == [[4, 7], [1, 2]]
