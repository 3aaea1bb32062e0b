"""Heads parallel_codes and depth_codes: patterns, losses against sums by hand, what is spoken against whole passes."""

from fractions import Fraction

import pytest
import torch
from omnikit_codes.config import DepthCodes, FrameDecoderConfig, ParallelCodes
from omnikit_codes.frame_decoder import PADDING, FrameDecoder
from omnikit_codes.patterns import Pattern, PatternName

from omnikit.contracts.specs import CodecSpec, FeatureSpec
from omnikit.contracts.streaming import SpeakingHead
from omnikit.contracts.types import Features, Targets
from omnikit.errors import DataError

BOOKS, CODES, SOURCE = 3, 7, 10
SPEC, READ = CodecSpec(24000, Fraction(75), BOOKS, CODES), FeatureSpec(SOURCE, rate=Fraction(1))
SIZES = {"dim": 16, "layers": 2, "heads": 2, "ffn": 24, "max_frames": 6}
DEPTH = {"depth_dim": 8, "depth_layers": 1, "depth_heads": 2, "depth_ffn": 12}
CONFIGS: list[ParallelCodes | DepthCodes] = [
    *(ParallelCodes(**SIZES, pattern=name) for name in ("parallel", "delayed", "flattened")), DepthCodes(**SIZES, **DEPTH)]
FIRST, SECOND = [(1, 2, 3), (4, 5, 6), (0, 1, 2)], [(6, 0, 3)]


def built(config: ParallelCodes | DepthCodes) -> FrameDecoder:
    torch.manual_seed(0)
    head = config.build(READ, SPEC, 0).eval()
    assert isinstance(head, FrameDecoder)
    return head


@pytest.fixture(params=CONFIGS, ids=["parallel", "delayed", "flattened", "depth"])
def head(request: pytest.FixtureRequest) -> FrameDecoder:
    return built(request.param)


def features(*counts: int) -> Features:
    data = torch.randn(len(counts), max(counts), SOURCE, generator=torch.Generator().manual_seed(1))
    return Features(data, torch.tensor(counts))


def targets(*rows: list[tuple[int, ...]]) -> Targets:
    ids = torch.full((len(rows), max(map(len, rows)), BOOKS), PADDING)
    for row, given in zip(ids, rows, strict=True):
        row[:len(given)] = torch.tensor(given)
    return Targets(ids, torch.tensor([len(row) for row in rows]))


def alone(given: Features, row: int) -> Features:
    return Features(given.data[row:row + 1, :int(given.lengths[row])], given.lengths[row:row + 1])


@pytest.mark.parametrize(("name", "expected"), [
    ("parallel", [[1, 2, 3], [4, 5, 6], [7, -1, -1]]),
    ("delayed", [[1, -1, -1], [4, 2, -1], [7, 5, 3], [-1, -1, 6]]),
    ("flattened", [[1, -1, -1], [-1, 2, -1], [-1, -1, 3], [4, -1, -1], [-1, 5, -1], [-1, -1, 6], [7, -1, -1]])])
def test_two_frames_in_each_pattern(name: PatternName, expected: list[list[int]]) -> None:
    cells = built(ParallelCodes(**SIZES, pattern=name)).arrange(targets(FIRST[:2]))
    assert cells.masked_fill(cells == PADDING, -1).tolist() == [expected]


@pytest.mark.parametrize("name", ["parallel", "delayed", "flattened"])
def test_a_pattern_holds_each_code_once(name: PatternName) -> None:
    pattern = Pattern(name, BOOKS)
    frames = {(pattern.step(frame, book), book): frame for frame in range(5) for book in range(BOOKS)}
    assert len(frames) == 15
    assert all(pattern.frame(step, book) == frame for (step, book), frame in frames.items())


def test_the_loss_is_the_mean_of_what_each_step_gives_its_cells(head: FrameDecoder) -> None:
    given, wanted = features(4), targets(FIRST)
    cells, total, count = head.arrange(wanted)[0], 0.0, 0
    before = [head.empty] * BOOKS
    with torch.no_grad():
        state = head.begin(given)
        for step in cells.tolist():
            logits, drawn = head.classify(head.step(before, state)), list[int]()
            for cell in step:
                if cell != PADDING:
                    total -= float(logits(drawn).log_softmax(-1)[cell])
                    count += 1
                drawn.append(head.empty if cell == PADDING else cell)
            before = drawn
        found = head.loss(given, wanted)
    assert count == head.config.loss_count(wanted) == 10
    torch.testing.assert_close(float(found), total / count, atol=1e-5, rtol=1e-5)


def test_a_padded_batch_has_the_loss_of_its_rows(head: FrameDecoder) -> None:
    given = features(4, 2)
    rows = [head.loss(alone(given, row), targets(codes)) * (len(codes) * BOOKS + 1)
            for row, codes in enumerate((FIRST, SECOND))]
    torch.testing.assert_close(head.loss(given, targets(FIRST, SECOND)), sum(rows) / 14)


def test_gradients_reach_every_weight(head: FrameDecoder) -> None:
    head.loss(features(4, 2), targets(FIRST, SECOND)).backward()
    assert [name for name, weight in head.named_parameters() if weight.grad is None or not weight.grad.abs().sum()] == []


def test_the_frames_spoken_are_the_best_of_whole_passes(head: FrameDecoder) -> None:
    given = features(4)
    spoken = list(head.speak(given))
    cells = head.arrange(targets(spoken))
    with torch.no_grad():
        states = head(given, cells)[0]
    for state, step in zip(states, cells[0].tolist(), strict=True):
        logits = head.classify(state)
        for book in (book for book, cell in enumerate(step) if cell not in (PADDING, head.end)):
            assert int(logits([head.empty if cell == PADDING else cell for cell in step[:book]]).argmax()) == step[book]


def test_a_row_speaks_alone_as_in_a_batch(head: FrameDecoder) -> None:
    assert isinstance(head, SpeakingHead)
    given = features(4, 2)
    assert head.decode(given) == [list(head.speak(alone(given, row))) for row in range(2)]


def test_a_sentence_at_the_limit_is_marked_as_cut(head: FrameDecoder) -> None:
    with torch.no_grad():
        head.classes.bias[-1] = -100.0
    utterance = head.speak(features(4))
    assert [len(list(utterance)), utterance.cut] == [6, True]


def test_a_sentence_that_ends_is_not_cut(head: FrameDecoder) -> None:
    with torch.no_grad():
        head.classes.bias[-1] = 100.0
    utterance = head.speak(features(4))
    assert (list(utterance), utterance.cut) == ([], False)


def test_a_head_learns_two_sentences(head: FrameDecoder) -> None:
    given, wanted = features(4, 2), targets(FIRST, SECOND)
    optimizer = torch.optim.Adam(head.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        head.loss(given, wanted).backward()
        optimizer.step()
    assert head.decode(given) == [FIRST, SECOND]


def test_drawn_codes_are_the_same_again(head: FrameDecoder) -> None:
    object.__setattr__(head.config, "top_k", 4)
    assert head.decode(features(4)) == head.decode(features(4))
    object.__setattr__(head.config, "top_k", 1)


def test_the_footprint_counts_every_parameter() -> None:
    for config in CONFIGS:
        assert config.footprint(READ, SPEC, 0).parameters == sum(w.numel() for w in built(config).parameters())


def test_codes_of_another_codec_are_refused(head: FrameDecoder) -> None:
    with pytest.raises(DataError, match=r"codes from 0 to 9, but the codec has 0 to 6; encode its speech with this codec"):
        head.loss(features(2), targets([(1, 0, 9)]))


@pytest.mark.parametrize(("config", "spec", "clause"), [
    (ParallelCodes(), CodecSpec(16000, Fraction(50), 1, 9), None), (ParallelCodes(), SPEC, None), (DepthCodes(), SPEC, None),
    (DepthCodes(), CodecSpec(16000, Fraction(50), 1, 9), "the codec has only one codebook"),
    (ParallelCodes(), CodecSpec(16000, Fraction(50), 1, 9, merged=True), "the codec merges runs of one code")])
def test_codecs_that_fit(config: FrameDecoderConfig, spec: CodecSpec, clause: str | None) -> None:
    assert (clause or "None") in str(config.codes(spec))


@pytest.mark.parametrize(("fields", "sentence"), [
    ({"dim": 18}, "dim is 18, but must be a multiple of 2 x heads"), ({"pattern": "diagonal"}, "pattern is 'diagonal'"),
    ({"tap": "logits"}, "tap is 'logits'"), ({"top_k": 0}, "top_k is 0, but must be at least 1")])
def test_settings_that_are_impossible(fields: dict[str, int | str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ParallelCodes(**fields)  # type: ignore[arg-type]
