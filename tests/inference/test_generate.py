"""Decoding: the same as a full forward pass, and the same alone as in a batch."""

from pathlib import Path

import pytest
import torch
from doubles import EchoDataset, EchoReader, make_plan, write_tokenizer

from omnikit.contracts.types import Batch
from omnikit.data.batch.collate import Collator
from omnikit.inference.generate import Sampling, decode_codes, generate
from omnikit.model import OmniModel
from omnikit.taps import Taps

END, LIMIT = 6, 6  # untrained weights never give <end>; this id they give after three to five tokens


def make_model(folder: Path, alignment: str = "predicts", textual: int = 0) -> OmniModel:
    return OmniModel(make_plan(write_tokenizer(folder), alignment=alignment, echo=EchoDataset(textual=textual))).eval()


def prompts(model: OmniModel, indices: list[int]) -> Batch:
    reader = EchoReader(model.plan.readers["echo"])
    return Collator(model.plan, ["text"], prompt_only=True)([reader[i] for i in indices])


@pytest.fixture
def model(tmp_path: Path) -> OmniModel:
    return make_model(tmp_path, textual=4)


def full_forward(model: OmniModel, index: int) -> tuple[list[int], torch.Tensor]:
    """Decode one row without any state: the whole sequence again for each token."""
    backbone = model.language_model()
    inputs = Taps(model, prompts(model, [index])).inputs.detach()
    tokens: list[int] = []
    while len(tokens) < LIMIT and END not in tokens:
        hidden = backbone(inputs, torch.ones(inputs.shape[:2], dtype=torch.bool))
        tokens.append(int(backbone.logits(hidden[0, -1]).argmax()))
        inputs = torch.cat([inputs, backbone.embed(torch.tensor([[tokens[-1]]]))], 1)
    return tokens, backbone(inputs, torch.ones(inputs.shape[:2], dtype=torch.bool))[0]


@pytest.mark.parametrize("index", range(6))
@torch.no_grad()
def test_decoding_with_state_equals_a_full_forward(model: OmniModel, index: int) -> None:
    expected, hidden = full_forward(model, index)
    found = generate(model, prompts(model, [index]), Sampling((END,), LIMIT))
    assert found.tokens == [expected]
    start = hidden.shape[0] - len(expected) - 1
    torch.testing.assert_close(found.hidden_before[0], hidden[start:-1], atol=1e-5, rtol=1e-5)  # float32


@torch.no_grad()
def test_rows_alone_equal_rows_in_a_batch(model: OmniModel) -> None:
    rows = [0, 1, 2, 3, 4, 5]  # one to three words; 0 and 4 ask by text
    together = generate(model, prompts(model, rows), Sampling((END,), LIMIT))
    alone = [generate(model, prompts(model, [row]), Sampling((END,), LIMIT)) for row in rows]
    assert together.tokens == [one.tokens[0] for one in alone]
    assert len({len(tokens) for tokens in together.tokens}) > 1
    speech = model.plan.outputs["speech"]
    assert decode_codes(model, speech, together) == [decode_codes(model, speech, one)[0] for one in alone]
    for row, one in enumerate(alone):
        length = len(one.tokens[0])
        torch.testing.assert_close(together.hidden_before[row, :length], one.hidden_before[0, :length], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("alignment", ["predicts", "reads"])
@torch.no_grad()
def test_speech_head_gets_the_hidden_states_that_training_gathers(tmp_path: Path, alignment: str) -> None:
    model = make_model(tmp_path, alignment)
    generated = generate(model, prompts(model, [1]), Sampling((END,), LIMIT))
    # The answer just written, as a row of training: its states at the answer must be those of the decoding.
    batch = prompts(model, [1])
    length, written = batch.tokens.shape[1], generated.tokens[0]
    batch.tokens = torch.cat([batch.tokens, torch.tensor([written])], 1)
    batch.lengths = torch.tensor([length + len(written)])
    batch.answers, batch.answer_lengths = torch.arange(length, length + len(written))[None], torch.tensor([len(written)])
    features = Taps(model, batch).features(model.plan.outputs["speech"])
    states = generated.hidden_before if alignment == "predicts" else generated.hidden_after
    assert states is not None
    torch.testing.assert_close(states, features.data, atol=1e-5, rtol=1e-5)
    assert decode_codes(model, model.plan.outputs["speech"], generated) == model.head("speech").decode(features)


@torch.no_grad()
def test_any_end_ends_an_answer(model: OmniModel) -> None:
    batch = prompts(model, [0, 1, 2, 3])
    free = generate(model, batch, Sampling((), LIMIT)).tokens
    ends = (free[1][1], free[2][1])
    expected = [row[:1 + min((place for place, token in enumerate(row) if token in ends), default=LIMIT)] for row in free]
    found = generate(model, batch, Sampling(ends, LIMIT))
    assert found.tokens == expected and {row[-1] for row in expected} >= set(ends)


def test_limit_cuts_an_answer_without_end(model: OmniModel) -> None:
    assert [len(row) for row in generate(model, prompts(model, [1, 2]), Sampling((), 3)).tokens] == [3, 3]


def test_temperature_draws_by_the_generator(model: OmniModel) -> None:
    draws = [generate(model, prompts(model, [1, 2]), Sampling((), LIMIT, 5.0, torch.Generator().manual_seed(seed)))
             for seed in (1, 1, 2)]
    assert draws[0].tokens == draws[1].tokens != draws[2].tokens


def test_one_of_one_token_is_the_most_probable(model: OmniModel) -> None:
    greedy = generate(model, prompts(model, [1, 2]), Sampling((), LIMIT))
    drawn = generate(model, prompts(model, [1, 2]), Sampling((), LIMIT, 5.0, torch.Generator().manual_seed(1), top_k=1))
    assert drawn.tokens == greedy.tokens


