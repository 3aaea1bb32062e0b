"""Head nar_ar: what attends to what, alone as in a batch, what is never emitted, its contract. Its numbers: tests/parity."""

import copy
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from omnikit_vita.nar_ar import NarAr
from omnikit_vita.nar_ar_model import NarArHead, TextEmbeddings
from omnikit_vita.nar_ar_sampling import CodeSampler
from torch import Tensor

from omnikit.contracts.specs import CodecSpec, FeatureSpec
from omnikit.contracts.streaming import SpeakingHead
from omnikit.contracts.types import Features, Targets
from omnikit.errors import DataError
from omnikit.ops.rotary import rotary_angles, rotary_frequencies

SIZES = NarAr(dim=16, layers=2, heads=2, ffn=24, max_codes=12)
CODES, PARTS = 10, 2
SPEC = CodecSpec(24000, Fraction(40), 1, CODES)


@pytest.fixture
def head() -> NarArHead:
    torch.manual_seed(0)
    return NarArHead(SIZES, PARTS, CODES).eval()


def vectors(*counts: int) -> Features:
    data = torch.randn(len(counts), max(counts), SIZES.dim * PARTS, generator=torch.Generator().manual_seed(1))
    return Features(data, torch.tensor(counts))


def targets(*rows: list[int]) -> Targets:
    ids = torch.full((len(rows), max(map(len, rows))), -100)
    for row, given in zip(ids, rows, strict=True):
        row[:len(given)] = torch.tensor(given)
    return Targets(ids[..., None], torch.tensor([len(row) for row in rows]))


def logits(head: NarArHead, text: Tensor, codes: list[int]) -> Tensor:
    return head(TextEmbeddings(text, torch.tensor([text.shape[1]])), torch.tensor([[head.sos, *codes]]))[0]


def test_a_later_code_changes_nothing_before_it(head: NarArHead) -> None:
    text = torch.randn(1, 5, SIZES.dim)
    first, second = logits(head, text, [1, 2, 3, 4]), logits(head, text, [1, 2, 9, 4])
    torch.testing.assert_close(first[:3], second[:3], rtol=0, atol=0)
    assert not torch.equal(first[3:], second[3:])


def test_text_is_read_in_both_directions(head: NarArHead) -> None:
    text = torch.randn(1, 5, SIZES.dim)
    changed = text.clone()
    changed[0, 4] += 1.0
    before, after = (head.read(TextEmbeddings(x, torch.tensor([5]))) for x in (text, changed))
    assert (before[0, 0] - after[0, 0]).abs().max() > 1e-4


def test_a_head_that_normalizes_embeddings_does_not_depend_on_their_length(head: NarArHead) -> None:
    text, codes = torch.randn(1, 5, SIZES.dim), [1, 2, 3]
    plain = logits(head, 0.05 * text, codes) - logits(head, text, codes)
    assert plain.abs().max() > 1e-3
    head.config = replace(SIZES, normalize_embeddings=True)
    torch.testing.assert_close(logits(head, 0.05 * text, codes), logits(head, text, codes), atol=1e-3, rtol=0)  # the norm's eps
    spoken = head.speak(Features(text.repeat(1, 1, PARTS) * 0.05, torch.tensor([5])))
    assert list(spoken) == list(head.speak(Features(text.repeat(1, 1, PARTS), torch.tensor([5]))))


def test_with_a_stride_a_code_has_the_position_of_the_part_that_it_pronounces(head: NarArHead) -> None:
    text, codes = torch.randn(1, 3, SIZES.dim), torch.tensor([[head.sos, 4, 5, 6, 7]])
    before = head(TextEmbeddings(text, torch.tensor([3])), codes)
    head.config = replace(SIZES, text_position_stride=2.5)
    encoded = head.read(TextEmbeddings(text, torch.tensor([3])))
    x = torch.cat([head.embedding.weight[[head.bos]][None], encoded, head.embedding(codes)], 1)
    positions = torch.tensor([0, 2.5, 5, 7.5, 0, 1, 2, 3, 4])
    angles = rotary_angles(positions, rotary_frequencies(8, SIZES.rope_theta, x.device), x.dtype)
    mask = torch.ones(9, 9, dtype=torch.bool).tril()
    mask[:4, :4] = True
    for layer in head.layers:
        x = layer(x, angles, mask)
    found = head(TextEmbeddings(text, torch.tensor([3])), codes)
    torch.testing.assert_close(found, head.out_fnn(head.norm(x[:, 4:])))
    assert (found - before).abs().max() > 1e-4


@pytest.mark.parametrize("stride", [0.0, 2.5])
def test_a_padded_batch_has_the_loss_of_its_rows(head: NarArHead, stride: float) -> None:
    head.config = replace(SIZES, text_position_stride=stride)
    features, wanted = vectors(4, 2), targets([1, 2, 3], [4, 5, 6, 7, 8])
    alone = [head.loss(Features(features.data[r:r + 1, :n], features.lengths[r:r + 1]), targets(row)) * (len(row) + 1)
             for r, (n, row) in enumerate(((4, [1, 2, 3]), (2, [4, 5, 6, 7, 8])))]
    torch.testing.assert_close(head.loss(features, wanted), sum(alone) / 10)  # 8 codes and 2 ends


def test_gradients_reach_every_weight_but_the_padding(head: NarArHead) -> None:
    head.loss(vectors(4, 2), targets([1, 2, 3], [4, 5])).backward()
    assert all(weights.grad is not None and weights.grad.abs().sum() > 0 for weights in head.parameters())


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("stride", [0.0, 2.5])
def test_steps_give_the_logits_of_one_pass(stride: float, prefix: bool) -> None:
    torch.manual_seed(0)
    head = NarArHead(replace(SIZES, text_position_stride=stride, prefix=prefix), PARTS, CODES).eval()
    text = TextEmbeddings(torch.randn(1, 5, SIZES.dim), torch.tensor([5]))
    states = TextEmbeddings(torch.randn(1, 3, SIZES.dim), torch.tensor([3])) if prefix else None
    codes = [head.sos, 1, 7, 7, 2]
    with torch.no_grad():
        state = head.begin(text, states, 5)
        steps = torch.stack([head.step(code, state) for code in codes])
        torch.testing.assert_close(steps, head(text, torch.tensor([codes]), states)[0], atol=1e-5, rtol=1e-5)


def test_what_is_spoken_is_what_is_decoded_and_the_same_again(head: NarArHead) -> None:
    assert isinstance(head, SpeakingHead)
    features = vectors(4, 2)
    first = head.decode(features)
    assert first == head.decode(features)
    assert list(head.speak(Features(features.data[1:, :2], features.lengths[1:]))) == first[1]


def test_ids_that_the_codebook_lacks_are_never_emitted(head: NarArHead) -> None:
    with torch.no_grad():
        head.out_fnn.bias[[head.bos, head.sos, head.pad]] = 100.0
    assert all(code < CODES for code, in head.decode(vectors(4))[0])


def test_a_sentence_at_the_limit_is_marked_as_cut(head: NarArHead) -> None:
    with torch.no_grad():
        head.out_fnn.bias[head.eos] = -100.0
    utterance = head.speak(vectors(4))
    assert len(list(utterance)) == SIZES.max_codes
    assert utterance.cut


def test_a_sentence_that_ends_is_not_cut(head: NarArHead) -> None:
    with torch.no_grad():
        head.out_fnn.bias[head.eos] = 100.0
    utterance = head.speak(vectors(4))
    assert (list(utterance), utterance.cut) == ([], False)


@pytest.mark.parametrize(("mode", "expected"), [("usual", [2.0, -4.0]), ("original", [0.5, -1.0])])
def test_repetition_penalty_as_usual_and_as_the_original(mode: str, expected: list[float]) -> None:
    sampler = CodeSampler(replace(SIZES, repetition_penalty=2.0, repetition_window=5, repetition_mode=mode), CODES + 2)
    sampler.chosen += [0, 1, 0, 0] if mode == "original" else [0, 1, 0]
    logits = torch.zeros(CODES + 4)
    logits[:2] = torch.tensor([4.0, -2.0])
    assert sampler.penalised(logits)[:2].tolist() == expected


def test_greedy_takes_the_best() -> None:
    logits = torch.arange(CODES + 4.0)
    logits[CODES + 2] = 0.0
    assert CodeSampler(replace(SIZES, top_k=1), CODES + 2)(logits) == CODES - 1


def test_codes_of_another_codec_are_refused(head: NarArHead) -> None:
    with pytest.raises(DataError, match=r"codes from 1 to 12, but the codec has 0 to 9; encode its speech with this codec"):
        head.loss(vectors(2), targets([1, 12]))


@pytest.mark.parametrize(("spec", "clause"), [
    (replace(SPEC, codebooks=8), "it emits one codebook, but the codec has 8"),
    (replace(SPEC, cardinality=256), "it was made for 1024 codes, but the codec has 256"),
    (replace(SPEC, cardinality=1024), None),
], ids=["codebooks", "cardinality", "fits"])
def test_handshake_with_codecs(spec: CodecSpec, clause: str | None) -> None:
    assert replace(SIZES, cardinality=1024).codes(spec) == clause


def test_an_embedding_that_cannot_be_cut_is_refused() -> None:
    assert "of which 24 is not a multiple" in (SIZES.reads(FeatureSpec(24, count=1)) or "")
    assert SIZES.reads(FeatureSpec(32, count=1)) is None


@pytest.mark.parametrize(("fields", "sentence"), [
    ({"top_k": 0}, "top_k is 0, but must be at least 1"), ({"dim": 18, "heads": 4}, "must be a multiple of 2 x heads"),
    ({"repetition_penalty": 0.5}, "repetition_penalty is 0.5 with repetition_window 0, but must be at least 1 with at least 0"),
    ({"text_position_stride": -1.0}, "text_position_stride is -1, but must be the codes that a part of the text lasts, or 0"),
], ids=["top_k", "dim", "penalty", "stride"])
def test_impossible_settings_are_refused(fields: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        NarAr(**fields)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_short_dtypes_follow_the_weights_and_are_close(head: NarArHead, dtype: str) -> None:
    text = TextEmbeddings(torch.randn(1, 5, SIZES.dim), torch.tensor([5]))
    found = {}
    for name in ("before", "after"):
        for kind in ("float32", dtype):
            head.config = replace(SIZES, inference_dtype=kind)
            with torch.no_grad():
                found[name, kind] = head.step(head.sos, head.begin(text, None, 2))
        with torch.no_grad():
            head.layers[0].mlp.down_proj.weight *= -3.0
    for name in ("before", "after"):  # 8 bits leave 1 in 127 of a row's largest weight, as bfloat16 does of each
        torch.testing.assert_close(found[name, dtype], found[name, "float32"], atol=0.05, rtol=0.05)
        assert not torch.equal(found[name, dtype], found[name, "float32"])
    assert not torch.equal(found["before", dtype], found["after", dtype])
    assert not any("step" in key for key in head.state_dict())


def test_weights_in_another_dtype_generate_with_the_layers_themselves(head: NarArHead) -> None:
    text = TextEmbeddings(torch.randn(1, 5, SIZES.dim), torch.tensor([5]))
    with torch.no_grad():
        expected = head.step(head.sos, head.begin(text, None, 2))
        double = head.double()
        found = double.step(head.sos, double.begin(TextEmbeddings(text.data.double(), text.lengths), None, 2))
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), expected, atol=1e-5, rtol=1e-5)


def test_a_copied_head_gives_the_same_codes(head: NarArHead) -> None:
    features = vectors(4)
    expected = head.decode(features)
    assert copy.deepcopy(head).decode(features) == expected
