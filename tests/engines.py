"""Small sessions of random weights for tests of engines, and what an engine's answers are compared by."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from small_recipe import write_recipe

from omnikit.inference.answer import Event
from omnikit.inference.engine import AnswerEngine, AnswerStream
from omnikit.inference.session import Session, build
from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose

SMALLER = ["speech.codec.dim=4", "speech.codec.channels=32", "speech.codec.duration_dim=4", "speech.head.layers=1",
           "generate.max_new_tokens=9", "backbone.layers=1"]


def plan(folder: Path, *overrides: str) -> Plan:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (folder / "rows.jsonl").write_text(json.dumps({"messages": turns}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return make(compose(str(write_recipe(folder)), [*SMALLER, *overrides]))


def sharpened(plan: Plan) -> Session:
    made = build(plan, device="cpu")
    for name, weight in made.model.head("speech").named_parameters():  # sharp attention and classes: labels change often
        weight.data *= 6 if "q_proj" in name or "output_proj" in name else 1
    return made


def drained(engine: AnswerEngine, answers: Sequence[AnswerStream]) -> list[list[Event]]:
    """Step an engine until nothing runs; gives the events of each answer."""
    events: list[list[Event]] = [[] for _ in answers]
    running = True
    while running:
        running = engine.step()
        for found, answer in zip(events, answers, strict=True):
            found += answer.take()
    assert all(answer.done for answer in answers)
    return events


def summary(events: Sequence[Event]) -> tuple[list[tuple[str, object, object, object]], np.ndarray]:
    """Give what each event holds but its time, and the joined audio."""
    waves = [event.waveform for event in events if event.waveform is not None]
    return [(e.text, e.codes, e.state, e.marks) for e in events], np.concatenate([np.zeros(0, np.float32), *waves])


def same(found: Sequence[Event], expected: Sequence[Event]) -> None:
    assert summary(found)[0] == summary(expected)[0]
    np.testing.assert_allclose(summary(found)[1], summary(expected)[1], atol=1e-5, rtol=0)  # float32, other batches
