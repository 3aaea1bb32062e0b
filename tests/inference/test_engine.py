"""Answers of an engine are those of Session.stream, whatever runs beside them; on real parts of random weights."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from engines import drained, plan, same, sharpened

from omnikit.errors import AdmissionError, ConfigError, DataError
from omnikit.inference.engine import AnswerOptions
from omnikit.inference.question import question
from omnikit.inference.scheduler.batch import BatchEngine
from omnikit.inference.scheduler.scheduler import EngineLimits
from omnikit.inference.scheduler.single import SingleEngine
from omnikit.inference.session import Session

TEXTS = ("what is two plus one", "why", "a", "and how many of them are there")
ENGINES = [SingleEngine, BatchEngine]
Engine = type[SingleEngine] | type[BatchEngine]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return sharpened(plan(tmp_path_factory.mktemp("session")))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("omega", [1, 10])
def test_answers_beside_one_another_are_those_of_the_session(session: Session, engine: Engine, omega: int) -> None:
    running = engine(session)
    answers = [running.begin(question(text=text), AnswerOptions(omega=omega)) for text in TEXTS]
    for text, events in zip(TEXTS, drained(running, answers), strict=True):
        same(events, list(session.stream(text=text, omega=omega)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("prefill", [1, 7])
def test_prompts_in_pieces_and_mixed_arrivals_change_nothing(session: Session, engine: Engine, prefill: int) -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    asked: list[dict[str, object]] = [{"text": TEXTS[0]}, {"audio": wave}, {"text": TEXTS[1]}]
    running = engine(session, EngineLimits(rows=2, prefill=prefill))
    answers, events = [], [[] for _ in asked]
    for each in asked:
        answers.append(running.begin(question(**each), AnswerOptions()))
        for _ in range(5):
            running.step()
    for found, more, each in zip(events, drained(running, answers), asked, strict=True):
        same([*found, *more], list(session.stream(**each)))


def test_memory_of_fixed_size_changes_nothing(session: Session) -> None:
    running = BatchEngine(session, EngineLimits(rows=3), recorded=True)
    answers = [running.begin(question(text=text), AnswerOptions()) for text in TEXTS]
    for text, events in zip(TEXTS, drained(running, answers), strict=True):
        same(events, list(session.stream(text=text)))


@pytest.mark.parametrize("engine", ENGINES)
def test_head_that_reads_tokens_gets_the_state_after_the_last(tmp_path: Path, engine: Engine) -> None:
    session = sharpened(plan(tmp_path, "speech.head.alignment=reads"))
    running = engine(session)
    answers = [running.begin(question(text=text), AnswerOptions()) for text in TEXTS[:2]]
    for text, events in zip(TEXTS, drained(running, answers), strict=False):
        same(events, list(session.stream(text=text)))


@pytest.mark.parametrize("engine", ENGINES)
def test_draws_depend_on_the_answers_own_seed_alone(session: Session, engine: Engine) -> None:
    def texts(seeds: Sequence[int]) -> list[str]:
        running = engine(session)
        options = [AnswerOptions(temperature=2.0, top_p=0.9, seed=seed, speak=False) for seed in seeds]
        answers = [running.begin(question(text="why"), each) for each in options]
        return ["".join(event.text for event in events) for events in drained(running, answers)]

    together = texts([1, 2, 3])
    assert together == [*texts([1]), *texts([2]), *texts([3])]
    assert len(set(together)) == 3


@pytest.mark.parametrize("engine", ENGINES)
def test_reasons_and_counts(session: Session, engine: Engine) -> None:
    running = engine(session)
    cut, = answers = [running.begin(question(text="why"), AnswerOptions(max_new_tokens=3, speak=False))]
    drained(running, answers)
    assert (cut.finish_reason, cut.answer_tokens, cut.error) == ("length", 3, None)
    assert cut.prompt_tokens == session.prompt([question(text="why")]).batch.tokens.shape[1]


@pytest.mark.parametrize("engine", ENGINES)
def test_stop_text_ends_the_answer_before_it(session: Session, engine: Engine) -> None:
    whole = session.answer(text=TEXTS[0])
    stop = whole.text[5:8]
    running = engine(session)
    answers = [running.begin(question(text=TEXTS[0]), AnswerOptions(stop=(stop, "never"), omega=1))]
    events, = drained(running, answers)
    assert "".join(event.text for event in events) == whole.text[:whole.text.index(stop)]
    codes = tuple(code for event in events for code in event.codes)
    assert 0 < len(codes) < len(whole.codes) and codes == whole.codes[:len(codes)]
    assert answers[0].finish_reason == "stop"


@pytest.mark.parametrize("engine", ENGINES)
def test_log_probabilities_of_each_token(session: Session, engine: Engine) -> None:
    running = engine(session)
    answers = [running.begin(question(text="why"), AnswerOptions(logprobs=2, speak=False)),
               running.begin(question(text="why"), AnswerOptions(speak=False))]
    first, second = drained(running, answers)
    given = [each for event in first for each in event.logprobs]
    assert len(given) == answers[0].answer_tokens
    assert all(each.alternatives[0] == (each.token, each.logprob) and each.logprob < 0 for each in given)  # greedy
    assert all(len(each.alternatives) == 2 and each.alternatives[1][1] <= each.logprob for each in given)
    assert [event.logprobs for event in second] == [()] * len(second)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_cancelled_answer_frees_its_row_at_once(session: Session, engine: Engine, steps: int) -> None:
    running = engine(session, EngineLimits(prefill=4))
    stopped, _ = answers = [running.begin(question(text=text), AnswerOptions()) for text in TEXTS[:2]]
    for _ in range(steps):
        running.step()
    stopped.cancel()
    assert (stopped.done, stopped.finish_reason, stopped.take()) == (True, "cancelled", [])
    assert running.running + running.waiting == 1
    same(drained(running, answers)[1], list(session.stream(text=TEXTS[1])))
    assert running.running + running.waiting == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_too_many_answers_are_refused(session: Session, engine: Engine) -> None:
    running = engine(session, EngineLimits(rows=1, waiting=1))
    answers = [running.begin(question(text="a"), AnswerOptions()) for _ in range(2)]
    with pytest.raises(AdmissionError, match="2 answers run or wait, and the limit is 2"):
        running.begin(question(text="a"), AnswerOptions())
    drained(running, answers)
    running.begin(question(text="a"), AnswerOptions()).cancel()


@pytest.mark.parametrize("engine", ENGINES)
def test_long_prompt_does_not_hold_up_a_running_answer(session: Session, engine: Engine) -> None:
    running = engine(session, EngineLimits(prefill=8))
    first = running.begin(question(text="a"), AnswerOptions(speak=False))
    while not first.answer_tokens:
        running.step()
    long = running.begin(question(text="word " * 20), AnswerOptions(speak=False))
    counts = []
    while not first.finish_reason:
        running.step()
        counts.append(first.answer_tokens)
    assert counts == list(range(3, 10)) and not long.answer_tokens  # a token in each step


def test_answers_wait_for_memory(session: Session) -> None:
    longest = session.prompt([question(text="why")]).batch.tokens.shape[1] + 9
    running = BatchEngine(session, EngineLimits(positions=2 * longest))
    answers = [running.begin(question(text="why"), AnswerOptions(speak=False)) for _ in range(5)]
    running.step()
    assert (running.running, running.waiting) == (2, 3)
    drained(running, answers)
    large = running.begin(question(text="word " * 40), AnswerOptions(speak=False))  # alone it always runs
    drained(running, [large])
    assert large.answer_tokens == 9


def test_engine_is_used_from_several_threads(session: Session) -> None:
    running = BatchEngine(session, EngineLimits(rows=4))
    expected = session.answer(text="why").text
    stop = threading.Event()

    def drive() -> None:
        while not stop.is_set():
            running.step()

    driver = threading.Thread(target=drive)
    driver.start()
    answers = [running.begin(question(text="why"), AnswerOptions(speak=False)) for _ in range(24)]
    for answer in answers[::3]:
        answer.cancel()
    deadline = time.monotonic() + 60
    while not all(answer.finish_reason for answer in answers) and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    driver.join()
    texts = ["".join(event.text for event in answer.take()) for answer in answers]
    assert [text for number, text in enumerate(texts) if number % 3] == [expected] * 16
    assert {answer.finish_reason for answer in answers[::3]} <= {"cancelled", "length"}
    assert running.running + running.waiting == 0


def test_memory_is_given_back_when_answers_end(session: Session) -> None:
    running = BatchEngine(session)
    for _ in range(3):
        answers = [running.begin(question(text=text), AnswerOptions()) for text in TEXTS]
        for _ in range(6):
            running.step()
        answers[0].cancel()
        drained(running, answers[1:])
        assert running.rows.bytes == 0  # type: ignore[attr-defined]  # of JoinedRows


@pytest.mark.parametrize("engine", ENGINES)
def test_impossible_question_is_refused_before_it_runs(session: Session, engine: Engine) -> None:
    with pytest.raises(DataError, match="context"):
        engine(session).begin(question(text="word " * 600), AnswerOptions())


@pytest.mark.parametrize(("given", "message"), [
    ({"max_new_tokens": 0}, "max_new_tokens is 0"), ({"temperature": -1.0}, "temperature is -1"),
    ({"top_p": 0.0}, "top_p is 0"),
    ({"temperature": float("nan")}, "temperature is nan"), ({"stop": ("",)}, "empty text"), ({"omega": 0}, "omega is 0"),
    ({"logprobs": 21}, "logprobs is 21")])
def test_impossible_options(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AnswerOptions(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ENGINES)
def test_error_ends_its_own_answer_only(session: Session, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(events: object) -> Callable[..., object]:
        def push(*given: object) -> object:
            raise DataError("The speech of this answer cannot be made.")

        return push

    running = engine(session)
    broken, _ = answers = [running.begin(question(text=text), AnswerOptions()) for text in TEXTS[:2]]
    monkeypatch.setattr(broken.events, "push_text", failing(broken.events))
    events = drained(running, answers)
    assert "cannot be made" in str(broken.error) and broken.finish_reason is None and events[0] == []
    same(events[1], list(session.stream(text=TEXTS[1])))


def test_greedy_rows_need_no_generator() -> None:
    from omnikit.inference.token_choice import TokenOptions, choose_tokens

    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 1.0]])
    assert choose_tokens(logits, [TokenOptions(), TokenOptions()]).tolist() == [1, 0]


def test_tokens_are_drawn_among_the_most_probable_alone() -> None:
    from omnikit.inference.token_choice import TokenOptions, choose_tokens

    logits = torch.tensor([[0.0, 2.0, 1.0, 1.5]]).log_softmax(-1).expand(64, 4)  # 0.06, 0.45, 0.17, 0.28 about
    draws = {
        "top_k": [TokenOptions(3.0, 1.0, torch.Generator().manual_seed(seed), top_k=2) for seed in range(64)],
        "top_p of top_k": [TokenOptions(1.0, 0.6, torch.Generator().manual_seed(seed), top_k=2) for seed in range(64)],
        "top_p": [TokenOptions(1.0, 0.9, torch.Generator().manual_seed(seed)) for seed in range(64)]}
    found = {name: set(choose_tokens(logits, options).tolist()) for name, options in draws.items()}
    assert found == {"top_k": {1, 3}, "top_p of top_k": {1}, "top_p": {1, 2, 3}}
