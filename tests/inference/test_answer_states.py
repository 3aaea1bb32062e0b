"""The state of an answer: found in its first tokens, removed from its text; noise ends it at once, streamed or not."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_recipe import write_recipe
from tokenizers import AddedToken
from tokenizers import Tokenizer as Fast
from transformers import PreTrainedTokenizerFast

from omnikit.commands.chat import Chat, Question
from omnikit.contracts.types import Message
from omnikit.data.text.tokenizer import Tokenizer, load
from omnikit.inference import generate
from omnikit.inference.answer import Event
from omnikit.inference.answer_states import AnswerDecoder, AnswerStates
from omnikit.inference.session import Session, build
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose

GOLDENS = Path(__file__).parents[1] / "parity" / "goldens"
SMALLER = ["speech.codec.dim=4", "speech.codec.channels=32", "speech.codec.duration_dim=4", "speech.head.layers=1",
           "generate.max_new_tokens=9", "backbone.layers=1"]
TEXTS = {"audio": "<1>", "noise": "<2>", "text": "<3>"}
SIGNS = {"audio": "☞", "noise": "☟", "text": "☜"}
WAVE = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)


def golden(case: str, *special: str) -> Tokenizer:
    fast = Fast.from_file(str(GOLDENS / case / "tokenizer.json"))
    fast.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    return Tokenizer(PreTrainedTokenizerFast(tokenizer_object=fast))


@pytest.fixture(params=["one token", "several tokens", "bytes", "special"])
def states(request: pytest.FixtureRequest) -> tuple[AnswerStates, Tokenizer]:
    case = "vita10_prompt_mixtral" if request.param == "one token" else "vita15_prompt_qwen2p5"
    tokenizer = golden(case, *(SIGNS.values() if request.param == "special" else ()))
    return AnswerStates(SIGNS if request.param in ("bytes", "special") else TEXTS, tokenizer), tokenizer


@pytest.mark.parametrize("answer", ["I am fine.", " Very good, thank you.", "☃ is a snowman", "<"])
@pytest.mark.parametrize("state", ["audio", "text"])
def test_state_is_found_and_removed(states: tuple[AnswerStates, Tokenizer], state: str, answer: str) -> None:
    found, tokenizer = states
    ids = tokenizer.ids(found.texts[state] + answer)
    assert found.split(ids) == (state, answer.strip())
    decoder = AnswerDecoder(tokenizer, found)
    assert "".join(map(decoder.push, ids)) + decoder.finish() == answer.strip()
    assert (decoder.state, found.stop(ids)) == (state, None)


def test_noise_ends_with_the_last_token_of_its_state(states: tuple[AnswerStates, Tokenizer]) -> None:
    found, tokenizer = states
    ids = tokenizer.ids(found.texts["noise"])
    assert found.stop([*ids, *tokenizer.ids("More.")]) == len(ids)
    assert found.stop(ids[:-1]) is None
    assert found.split(ids) == ("noise", "")


def test_answer_without_a_state_keeps_its_text() -> None:
    tokenizer = golden("vita10_prompt_mixtral")
    for bare in (None, "text"):
        states, ids = AnswerStates(TEXTS, tokenizer, bare), tokenizer.ids("<4> is what I say")
        assert states.split(ids) == (bare, "<4> is what I say")
        decoder = AnswerDecoder(tokenizer, states)
        assert "".join(map(decoder.push, ids)) + decoder.finish() == "<4> is what I say"
        assert decoder.state == bare


# ---- a session whose tokens are dictated ----


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("session")
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (folder / "rows.jsonl").write_text(json.dumps({"messages": turns}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        plan = make(compose(str(write_recipe(folder)), SMALLER))
    assert plan.template
    return build(replace(plan, template=replace(plan.template, states={"audio": "aye", "noise": "noise", "text": "text"})))


@pytest.fixture
def dictate(session: Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Make the model decode given texts, row by row."""
    plan = session.plan
    assert plan.tokenizer and plan.template
    tokenizer, end = load(plan.tokenizer), plan.template.end

    def dictated(*texts: str) -> None:
        rows = [tokenizer.ids(text + end) for text in texts]
        longest = max(map(len, rows))
        steps = iter(torch.tensor([row + row[-1:] * (longest - len(row)) for row in rows]).T)
        monkeypatch.setattr(generate, "_choose", lambda logits, sampling: next(steps))

    return dictated


def test_answers_have_their_state(session: Session, dictate) -> None:
    dictate("aye it is two", "noise it is three", "text four", "five")
    answers = session.answers([asked(text) for text in "abcd"])
    assert [(a.state, a.text) for a in answers] == [("audio", "it is two"), ("noise", ""), ("text", "four"), (None, "five")]
    assert answers[1].waveform is None and answers[1].codes == ()
    assert answers[0].waveform is not None


def asked(text: str):
    from omnikit.inference.question import question

    return question(text=text)


def test_noise_ends_the_decoding(session: Session, dictate) -> None:
    dictate("noise it is three and much more")
    batch, tokenizer, sampling = session._prepare([asked("a")], greedy=True)
    steps = list(generate.decoding_steps(session.model, batch, sampling))
    assert [int(step.tokens) for step in steps if step.tokens is not None] == tokenizer.ids("noise")


def test_streamed_noise_is_one_event(session: Session, dictate) -> None:
    dictate("noise it is three")
    history: list[Message] = []
    events = list(session.stream(text="a", history=history))
    assert [(e.state, e.text, e.codes, e.waveform) for e in events] == [("noise", "", (), None)]
    assert history == []


@pytest.mark.parametrize("text", ["aye it is two", "five and six"])
def test_streamed_answer_equals_the_offline_answer(session: Session, dictate, text: str) -> None:
    dictate(text)
    whole = session.answer(WAVE)
    dictate(text)
    events: list[Event] = list(session.stream(WAVE))
    assert ("".join(e.text for e in events), tuple(c for e in events for c in e.codes)) == (whole.text, whole.codes)
    assert next((e.state for e in events if e.state), None) == whole.state
    assert len(whole.codes) > 0


def test_history_keeps_states_and_leaves_noise_out(session: Session, dictate) -> None:
    history: list[Message] = []
    for text in ("aye two", "noise three", "text four"):
        dictate(text)
        session.answer(text="a", history=history)
    assert [message.state for message in history if message.role == "assistant"] == ["audio", "text"]


@pytest.mark.parametrize("omega", [None, 10], ids=["whole", "streamed"])
def test_chat_prints_that_noise_has_no_answer(session: Session, dictate, omega: int | None, tmp_path: Path,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    dictate("noise it is three")
    Chat(session, None, omega=omega).ask(Question(text="a"), tmp_path / "answer.wav")
    assert capsys.readouterr().out.startswith("(noise: no answer)\n")
    assert not list(tmp_path.iterdir())
