"""Engines where questions have states: by the template's tokens and by the turn-detection head; heads that read text."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from engines import drained, plan, same, summary

from omnikit.inference.engine import AnswerOptions
from omnikit.inference.question import question
from omnikit.inference.scheduler import scheduler
from omnikit.inference.scheduler.batch import BatchEngine
from omnikit.inference.scheduler.scheduler import EngineLimits
from omnikit.inference.scheduler.single import SingleEngine
from omnikit.inference.session import Session, build
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose

WAVE = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
ENGINES = [SingleEngine, BatchEngine]
Engine = type[SingleEngine] | type[BatchEngine]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("prefill", [3, 500])
@pytest.mark.parametrize("state", ["audio", "noise"])
def test_head_decides_once_the_question_is_read(tmp_path_factory: pytest.TempPathFactory, engine: Engine, prefill: int,
                                                state: str) -> None:
    session = build(plan(tmp_path_factory.mktemp("turns"), "+turn/head=state"), device="cpu")
    sign = 1.0 if state == "audio" else -1.0
    session.model.get_submodule("turn.head.output").bias.data = torch.tensor([50 * sign, -50 * sign, -50.0])
    running = engine(session, EngineLimits(prefill=prefill))
    answers = [running.begin(question(WAVE), AnswerOptions()), running.begin(question(text="a"), AnswerOptions())]
    spoken, text = drained(running, answers)
    same(spoken, list(session.stream(WAVE)))
    same(text, list(session.stream(text="a")))
    assert [event.state for event in spoken][:1] == [state] and text[0].state == "text"
    assert (answers[0].finish_reason == "noise") == (state == "noise") and answers[1].finish_reason == "length"


@pytest.mark.parametrize("engine", ENGINES)
def test_noise_by_the_templates_tokens_ends_the_answer(tmp_path_factory: pytest.TempPathFactory, engine: Engine,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(tmp_path_factory.mktemp("states"))
    assert made.template
    session = build(replace(made, template=replace(made.template, states={"audio": "aye", "noise": "noise"})), device="cpu")
    tokenizer = session.prompt([question(text="a")]).tokenizer
    given = iter([*tokenizer.ids("noise"), *tokenizer.ids("aye it is")])
    monkeypatch.setattr(scheduler, "choose_tokens", lambda logits, options: torch.tensor([next(given)]))
    running = engine(session)
    noise = running.begin(question(text="a"), AnswerOptions())
    assert [(e.state, e.text, e.codes) for e in drained(running, [noise])[0]] == [("noise", "", ())]
    assert noise.finish_reason == "noise" and noise.answer_tokens == len(tokenizer.ids("noise"))
    spoken = running.begin(question(text="a"), AnswerOptions(max_new_tokens=len(tokenizer.ids("aye it is"))))
    events, = drained(running, [spoken])
    assert "".join(event.text for event in events) == "it is"
    assert next(event.state for event in events if event.state) == "audio" and summary(events)[1].size


@pytest.fixture(scope="module")
def by_sentences() -> Session:
    short = ["generate.max_new_tokens=5", "speech.head.max_codes=40"]
    return build(make(compose("llama_omni/tiny_nar_ar", short)), device="cpu")


@pytest.mark.parametrize("engine", ENGINES)
def test_heads_that_read_text_speak_as_in_a_stream(by_sentences: Session, engine: Engine) -> None:
    running = engine(by_sentences)
    answers = [running.begin(question(text=text), AnswerOptions()) for text in ("why", "what is it")]
    for text, events in zip(("why", "what is it"), drained(running, answers), strict=True):
        same(events, list(by_sentences.stream(text=text)))
        assert summary(events)[1].size


@pytest.mark.parametrize("engine", ENGINES)
def test_stop_text_is_not_spoken_by_sentences(by_sentences: Session, engine: Engine) -> None:
    whole = by_sentences.answer(text="why").text
    stop = whole[len(whole) // 2:][:3]
    running = engine(by_sentences)
    answer = running.begin(question(text="why"), AnswerOptions(stop=(stop,)))
    events, = drained(running, [answer])
    assert "".join(event.text for event in events) == whole[:whole.index(stop)] and answer.finish_reason == "stop"
    assert summary(events)[1].size
