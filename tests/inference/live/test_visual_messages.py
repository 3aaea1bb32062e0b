"""Images before a question are part of its message where the training data had such messages."""

from dataclasses import replace

import numpy as np
import pytest
from live_doubles import POLICY, answering, audio, live, silence, speech
from live_doubles import session as make_session

from omnikit.contracts.types import ContentPart, Message
from omnikit.inference.live import prompts
from omnikit.inference.live.session import LiveSession
from omnikit.inference.live.visual_messages import join_visual, trained_pairs
from omnikit.inference.session import Session
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose

BOTH = frozenset({("image", "audio"), ("image", "text")})
SPOKEN = frozenset({("image", "audio")})


def user(*kinds: str) -> Message:
    return Message("user", tuple(ContentPart(kind, text=kind if kind == "text" else None) for kind in kinds))


ANSWER = Message("assistant", (ContentPart("text", text="yes"),))


def shapes(messages: list[Message]) -> list[list[str]]:
    return [[part.type for part in message.content] for message in messages]


@pytest.mark.parametrize(("messages", "pairs", "found"), [
    ([user("image"), user("audio")], BOTH, [["image", "audio"]]),
    ([user("image"), user("image"), user("audio")], BOTH, [["image", "image", "audio"]]),
    ([user("image"), user("audio", "text")], BOTH, [["image", "text", "audio"]]),
    ([user("image"), user("text")], SPOKEN, [["image"], ["text"]]),
    ([user("image"), user("audio")], frozenset(), [["image"], ["audio"]]),
    ([user("image"), ANSWER, user("audio")], BOTH, [["image"], ["text"], ["audio"]]),
    ([user("image", "text"), user("audio")], BOTH, [["image", "text"], ["audio"]]),
    ([user("video"), user("audio")], BOTH, [["video"], ["audio"]]),
    ([user("image")], BOTH, [["image"]]),
], ids=["spoken", "two images", "with text", "written, not trained", "none trained", "answered", "asked already", "video",
        "last"])
def test_what_is_shown_joins_the_question_behind_it(messages: list[Message], pairs: frozenset[tuple[str, str]],
                                                    found: list[list[str]]) -> None:
    assert shapes(join_visual(messages, pairs)) == found


@pytest.mark.parametrize(("recipe", "pairs"), [
    ("vita_1_5/tiny", {("image", "audio"), ("image", "text"), ("video", "audio"), ("video", "text")}),
    ("llama_omni/tiny", set()),
])
def test_pairs_are_those_of_the_training_data(recipe: str, pairs: set[tuple[str, str]]) -> None:
    assert trained_pairs(make(compose(recipe))) == pairs


@pytest.fixture
def talk(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> LiveSession:
    monkeypatch.setattr(prompts, "trained_pairs", lambda plan: SPOKEN)
    session: Session = make_session(tmp_path_factory.mktemp("live"))
    return live(session, answering("one", "audio"), answering("two", "audio"), policy=replace(POLICY, history_turns=0))


def show(talk: LiveSession) -> None:
    talk.add(Message("user", (ContentPart("image", pixels=np.zeros((4, 4, 3), np.uint8)),)))


def test_a_frame_shown_while_the_user_speaks_belongs_to_his_question(talk: LiveSession) -> None:
    talk.push(audio(speech(20), silence(60)))
    talk.push(audio(speech(10)))
    show(talk)
    talk.push(audio(speech(10), silence(60)))
    asked: list[Message] = list(talk.engine.asked[-1].messages)  # type: ignore[attr-defined]
    assert shapes(asked) == [["image", "audio"]]
    assert shapes(talk.history) == [["audio"], ["text"], ["image", "audio"], ["text"]]


def test_a_frame_of_an_earlier_question_is_not_part_of_a_prompt_without_earlier_turns(talk: LiveSession) -> None:
    show(talk)
    talk.push(audio(speech(20), silence(60)))
    talk.push(audio(speech(20), silence(60)))
    assert [shapes(list(sample.messages)) for sample in talk.engine.asked] == [  # type: ignore[attr-defined]
        [["image", "audio"]], [["audio"]]]
