"""Learned prompts: their contract, their vectors and their gradients."""

import pytest
import torch
from omnikit_basics.prompts import Prompt, PromptEmbeddings

from omnikit.contracts.specs import FeatureSpec
from omnikit.contracts.types import Signal


def test_contract_is_what_the_modules_give() -> None:
    place, learned = Prompt(), PromptEmbeddings(3)
    spec = learned.output(place.output, 8)
    features = learned.build(place.output, 8)(place.build()(Signal(torch.zeros(2, 1), torch.ones(2, dtype=torch.int64))))
    assert features.data.shape == (2, spec.count, spec.dim)
    assert features.lengths.tolist() == [learned.length(place.length(1))] * 2


def test_every_place_teaches_the_same_vectors() -> None:
    place, module = Prompt().build(), PromptEmbeddings(3).build(FeatureSpec(1, count=1), 8)
    module(place(Signal(torch.zeros(2, 1), torch.ones(2, dtype=torch.int64)))).data.sum().backward()
    assert torch.equal(module.prompt_embeddings.grad, torch.full((3, 8), 2.0))


def test_other_encoders_are_refused() -> None:
    with pytest.raises(ValueError, match="take the encoder `prompt`"):
        PromptEmbeddings().output(FeatureSpec(8, count=256), 8)


def test_no_vector_is_refused() -> None:
    with pytest.raises(ValueError, match="count is 0, but must be at least 1"):
        PromptEmbeddings(0)
