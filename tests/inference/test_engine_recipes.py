"""Every shipped recipe that answers and fits on this machine, in an engine: as in a stream, and with the rows it can have."""

from functools import cache

import numpy as np
import pytest
import torch
from engines import drained, same

from omnikit.inference.engine import AnswerOptions
from omnikit.inference.question import question
from omnikit.inference.scheduler.batch import BatchEngine, engine_for
from omnikit.inference.session import Session, build
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose

RECIPES = ("llama_omni/tiny", "vita/tiny", "vita_1_5/tiny", "vita_1_5/tiny_ctc_units")
SEEING = ("vita/tiny", "vita_1_5/tiny", "vita_1_5/tiny_ctc_units")
WAVE = 0.1 * np.random.default_rng(0).standard_normal(8000).astype(np.float32)
PIXELS = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)


@cache
def session(recipe: str) -> Session:
    short = ["speech.head.max_codes=40"] if recipe == "vita_1_5/tiny" else []
    return build(make(compose(recipe, ["generate.max_new_tokens=3", *short])), device="cpu")


@pytest.mark.parametrize("recipe", RECIPES)
def test_spoken_and_seen_questions_beside_one_another(recipe: str) -> None:
    made, seen = session(recipe), {"image": PIXELS} if recipe in SEEING else {}
    asked: list[dict[str, object]] = [{"audio": WAVE, **seen}, {"text": "why"}]
    engine = engine_for(made)
    assert isinstance(engine, BatchEngine)
    answers = [engine.begin(question(**each), AnswerOptions()) for each in asked]
    for each, events in zip(asked, drained(engine, answers), strict=True):
        same(events, list(made.stream(**each)))


@pytest.mark.parametrize("recipe", ["llama_omni/tiny", "vita/tiny"])
def test_bfloat16_backbone_answers(recipe: str) -> None:
    made = build(make(compose(recipe, ["generate.max_new_tokens=6"])), device="cpu", dtype="bfloat16")
    engine = engine_for(made)
    answers = [engine.begin(question(text=text), AnswerOptions()) for text in ("why", "what is two plus one")]
    drained(engine, answers)
    assert [answer.error for answer in answers] == [None, None]
    assert made.model.language_model().embed(torch.tensor([[1]])).dtype == torch.bfloat16
