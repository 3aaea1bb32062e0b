"""The turn-detection head, from rows to its loss and to answers: where it taps, what it learns, what becomes of noise."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_recipe import write_recipe

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.labels import check_supervised
from omnikit.data.batch.packing import PackedCollator
from omnikit.data.text.templates import turn_labels
from omnikit.errors import DataError, PlanError
from omnikit.inference.question import question
from omnikit.inference.session import Session, build
from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose
from omnikit.taps import Taps

SMALLER = ["speech.codec.dim=4", "speech.codec.channels=32", "speech.codec.duration_dim=4", "speech.head.layers=1",
           "generate.max_new_tokens=4", "backbone.layers=1", "+turn/head=state"]
WAVES = [np.random.default_rng(seed).normal(0, 0.1, 4000 * (seed + 1)).astype(np.float32) for seed in range(3)]


def answer(text: str, state: str | None = None) -> Message:
    return Message("assistant", (ContentPart("text", text=text),), state=state)


def asked(*numbers: int, text: str = "") -> Message:
    return Message("user", (*([ContentPart("text", text=text)] if text else []),
                            *(ContentPart("audio", audio=WAVES[n]) for n in numbers)))


TALK = Sample("talk", (asked(0), answer("a"), asked(1, 2, text="and"), answer("b", "noise"), asked(0)))
TEXT = Sample("text", (Message("user", (ContentPart("text", text="a"),)), answer("b")))
NOISE = Sample("noise", (asked(2), answer("c", "noise")))


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("turns")
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (folder / "rows.jsonl").write_text(json.dumps({"messages": turns}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return make(compose(str(write_recipe(folder)), SMALLER))


@pytest.fixture(scope="module")
def session(plan: Plan) -> Session:
    return build(plan)


def test_each_audio_is_labelled_by_the_answer_behind_its_question() -> None:
    assert turn_labels(TALK.messages) == [0, -100, 1, -100]  # the second question has two audios, nothing answers the last


def test_targets_stand_for_the_audios_of_all_rows(plan: Plan) -> None:
    targets = Collator(plan, ["turn", "text"])([TEXT, TALK, NOISE]).targets["turn"]
    assert targets.ids.tolist() == [[0], [-100], [1], [-100], [1]]


def test_rows_without_audio_have_no_target(plan: Plan) -> None:
    assert "turn" not in Collator(plan, ["turn", "text"])([TEXT]).targets


@torch.no_grad()
def test_head_gets_the_hidden_state_at_the_last_position_of_each_audio(session: Session) -> None:
    batch = Collator(session.plan, ["turn", "text"])([TEXT, TALK, NOISE])
    taps = Taps(session.model, batch)
    found = taps.features(session.plan.outputs["turn"])
    slots, length = batch.slots["audio"].tolist(), batch.tokens.shape[1]
    ends = [slot for slot in slots if slot + 1 not in slots]  # audios side by side end inside one stretch of slots
    flat = taps.hidden.flatten(0, 1)
    assert found.data.shape[:2] == (5, 1)
    assert [slot // length for slot in ends] == [1, 1, 1, 2]
    torch.testing.assert_close(found.data[[0, 2, 3, 4], 0], flat[ends])
    torch.testing.assert_close(found.data[1, 0], flat[ends[1] - batch.counts["audio"][2]])


def test_loss_trains_the_head(session: Session) -> None:
    batch = Collator(session.plan, ["turn"])([TEXT, TALK, NOISE])
    losses = session.model.losses(batch, ["turn"])
    losses["turn"].backward()
    assert session.model.get_submodule("turn.head").output.weight.grad.abs().sum() > 0


@torch.no_grad()
def test_packed_rows_give_the_same_loss(session: Session) -> None:
    collate = Collator(session.plan, ["turn"])
    alone = session.model.losses(collate([TEXT, TALK, NOISE]), ["turn"])["turn"]
    packed = session.model.losses(PackedCollator(collate)([[TEXT, TALK], [NOISE]]), ["turn"])["turn"]
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-5)  # float32, sums of another length


def test_unknown_state_names_its_row(plan: Plan) -> None:
    assert plan.template
    other = replace(plan, template=replace(plan.template, states={"audio": "1"}))
    with pytest.raises(DataError, match="Row noise: An answer has the state 'noise', but the template has audio"):
        Collator(other, ["text"])([NOISE])


def test_session_gives_probabilities_for_each_audio(session: Session) -> None:
    found = session.turn_probabilities([TEXT, TALK])
    assert [len(row) for row in found] == [0, 4]
    assert all(set(one) == {"audio", "noise"} and 0 < sum(one.values()) < 1 for one in found[1])


@pytest.mark.parametrize(("label", "state"), [(0, "audio"), (1, "noise")])
def test_head_decides_where_the_template_has_no_states(session: Session, label: int, state: str) -> None:
    session.model.get_submodule("turn.head").output.bias.data = torch.tensor([50.0 if n == label else -50.0 for n in range(3)])
    answers = session.answers([NOISE, question(text="a")])
    assert [answer.state for answer in answers] == [state, "text"]
    assert (answers[0].text == "" and answers[0].waveform is None) == (state == "noise")
    events = list(session.stream(WAVES[0]))
    assert events[0].state == state and (len(events) == 1) == (state == "noise")


def test_session_without_the_head_is_refused(plan: Plan) -> None:
    outputs = {name: output for name, output in plan.outputs.items() if name != "turn"}
    with pytest.raises(PlanError, match="has no turn-detection head; add one, for example turn/head=state"):
        build(replace(plan, outputs=outputs)).turn_probabilities([NOISE])


def test_stage_without_spoken_rows_is_refused(plan: Plan) -> None:
    with pytest.raises(DataError, match=r"branch turn would not be trained, because no row of dataset rows .2 rows. has audio"
                                        " in a question with an answer behind it"):
        check_supervised("understand", plan, ["turn"], {"rows": [TEXT, TEXT]})  # type: ignore[dict-item]  # a list reads alike
