"""A projector may read the text of a signal's message, through a tokenizer of its own."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from plans import changed, mistakes
from torch import Tensor, nn

from omnikit.contracts.specs import FeatureSpec
from omnikit.contracts.types import ContentPart, Features, Message, Sample, Targets
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.single_rows import content_keys, single_row
from omnikit.data.text.tokenizer import load
from omnikit.inference.prefix_cache import position_keys, without_prefix
from omnikit.model import OmniModel
from omnikit.plan.cache_points import cache_points
from omnikit.plan.plan import Plan
from omnikit.registry import RegistryEntry
from omnikit.taps import Taps
from omnikit.training.lockstep import run_every_part

WAVE = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)


@dataclass(frozen=True)
class Instructed:
    """Adds the mean embedding of the text to each projected vector."""

    tokenizer: str = "tiny"

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        return FeatureSpec(dim, source.rate, source.count, source.lookahead)

    def length(self, count: int) -> int:
        return count

    def build(self, source: FeatureSpec, dim: int) -> nn.Module:
        return InstructedModule(source.dim, dim)


class InstructedModule(nn.Module):
    def __init__(self, source: int, dim: int) -> None:
        super().__init__()
        self.linear, self.table = nn.Linear(source, dim), nn.Embedding(700, dim)

    def forward(self, features: Features, instructions: Targets) -> Features:
        valid = torch.arange(instructions.ids.shape[1]) < instructions.lengths[:, None]
        total: Tensor = (self.table(instructions.ids) * valid[..., None]).sum(1, keepdim=True)
        mean = total / instructions.lengths[:, None, None]
        return Features(self.linear(features.data) + mean, features.lengths, features.rate)


def row(*texts: str) -> Sample:
    turns = [Message(role, (ContentPart("audio", audio=WAVE), ContentPart("text", text=text)) if role == "user" else (
        ContentPart("text", text="it is"),)) for text in texts for role in ("user", "assistant")]
    return Sample("r", tuple(turns))


@pytest.fixture
def plan(fitting: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(RegistryEntry, "load", _with(RegistryEntry.load))
    return changed(fitting, {"audio.projector": {"use": "linear", "tokenizer": "tiny"}})


def _with(load_entry: Any) -> Any:
    return lambda entry: Instructed if entry.name == "linear" else load_entry(entry)


def test_each_signal_comes_with_the_text_of_its_own_message(plan: Plan) -> None:
    batch = Collator(plan, ["text"])([row("what is it", "and what"), row("a")])
    tokenizer = load("tiny")
    expected = [tokenizer.ids(text, special=True) for text in ("what is it", "and what", "a")]
    found = batch.instructions["audio"]
    assert [ids[:length] for ids, length in zip(found.ids.tolist(), found.lengths.tolist(), strict=True)] == expected


def test_other_text_gives_other_embeddings(plan: Plan) -> None:
    model, collator = OmniModel(plan).eval(), Collator(plan, ["text"])
    first, other = (Taps(model, collator([row(text)])).point("audio.projector").data for text in ("what is it", "and what"))
    module, features = model.get_submodule("audio.projector"), Taps(model, collator([row("a")])).point("audio.encoder").data
    words = module.table(torch.tensor(load("tiny").ids("what is it", special=True))).mean(0)
    torch.testing.assert_close(first, module.linear(features) + words)
    assert not torch.allclose(first, other)


def test_text_goes_with_its_signal_where_a_batch_is_cut(plan: Plan) -> None:
    batch = Collator(plan, ["text"])([row("what is it", "and what"), row("a")])
    alone = single_row(batch, 1).instructions["audio"]
    assert alone.ids.tolist() == [load("tiny").ids("a", special=True)]
    prompt = Collator(plan, ["text"], prompt_only=True)([row("what is it", "and what")])
    second = int(prompt.slots["audio"][prompt.counts["audio"][0]])
    rest = without_prefix(prompt, second).instructions["audio"]
    assert rest.ids[0, :int(rest.lengths[0])].tolist() == load("tiny").ids("and what", special=True)


def test_keys_depend_on_the_text(plan: Plan) -> None:
    prompts = [Collator(plan, ["text"], prompt_only=True)([row(text)]) for text in ("what is it", "what is is")]
    slot = int(prompts[0].slots["audio"][0])
    assert position_keys(prompts[0])[slot] != position_keys(prompts[1])[slot]
    batch = Collator(plan, ["text"])([row("what is it")])
    assert content_keys(batch, ["audio.encoder"]) == content_keys(Collator(plan, ["text"])([row("and")]), ["audio.encoder"])


def test_a_frozen_projector_that_reads_text_is_not_stored(fitting: dict[str, Any], plan: Plan) -> None:
    trained = changed(fitting, {"audio.projector": {"use": "linear", "tokenizer": "tiny"},
                                "stages.understand.train": {"backbone": "full"}})
    assert list(cache_points(trained.stages["understand"], trained.inputs, trained.outputs)) == ["audio.encoder"]


def test_a_batch_without_the_medium_runs_the_projector_on_nothing(plan: Plan) -> None:
    model = OmniModel(plan)
    text = Sample("t", (Message("user", (ContentPart("text", text="what"),)), Message("assistant", (
        ContentPart("text", text="it is"),))))
    run_every_part(Taps(model, Collator(plan, ["text"])([text])), ["text"]).backward()
    assert all(weight.grad is not None for weight in model.get_submodule("audio.projector").parameters())


def test_a_tokenizer_that_is_not_there_is_one_sentence(fitting: dict[str, Any], plan: Plan) -> None:
    found = mistakes(fitting, {"audio.projector": {"use": "linear", "tokenizer": "tinny"}})
    assert found == ["audio.projector.tokenizer is 'tinny', but neither a tokenizer of that name nor a .json file is there."]


def test_a_table_smaller_than_the_tokenizer_is_refused(fitting: dict[str, Any]) -> None:
    found = mistakes(fitting, {"audio.projector": {"use": "bert_qformer", "tokenizer": "tiny", "vocabulary": 60}})
    assert found == ["audio.projector.vocabulary is 60, but tokenizer 'tiny' has 665 ids; set it to at least that."]
