"""Codes that the backbone reads: training against sums by hand, answers against decoding without a cache."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from engines import drained, same
from omnikit_codes.delayed_codes import DelayedCodesHead
from torch import Tensor

from omnikit.contracts.types import Batch, ContentPart, Message, Sample, Targets
from omnikit.data.batch.collate import Collator
from omnikit.errors import DataError, PlanError
from omnikit.inference.engine import AnswerOptions
from omnikit.inference.generate import DecodingStep, Sampling, decoding_steps, generate
from omnikit.inference.prefix_cache import PrefixCache
from omnikit.inference.question import question
from omnikit.inference.scheduler.batch import BatchEngine
from omnikit.inference.scheduler.single import SingleEngine
from omnikit.inference.session import Session
from omnikit.model import OmniModel
from omnikit.plan.cache_points import cache_points
from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose
from omnikit.taps import Taps

BOOKS, DELAY, MOST = 8, 1, 6  # codebooks; steps; frames of an answer at most
LIMIT = 4  # tokens of an answer's text


def plan_of(*overrides: str) -> Plan:
    return make(compose("survey/mini_omni2/tiny", [f"speech.head.max_frames={MOST}", *overrides]))


@pytest.fixture(scope="module")
def model() -> OmniModel:
    return OmniModel(plan_of()).eval()


def codes(frames: int, seed: int) -> tuple[tuple[int, ...], ...]:
    draws = torch.randint(0, 64, (frames, BOOKS), generator=torch.Generator().manual_seed(seed))
    return tuple(tuple(frame) for frame in draws.tolist())


def row(text: str, frames: int, question: str = "how many are there") -> Sample:
    return Sample(text, (Message("user", (ContentPart("text", text=question),)), Message("assistant", (
        ContentPart("text", text=text), ContentPart("audio", text=text, codes=codes(frames, frames))))))


ROWS = [row("two", 9), row("there are two cats and a dog in it", 1), row("a dog", 4, "what")]


def cells(given: Sequence[Sequence[int]]) -> list[list[int | None]]:
    """What stands at each step, codebook by codebook: None is empty, 64 the end."""
    steps = DELAY + max(len(given) + 1, len(given) + BOOKS - 1)
    found: list[list[int | None]] = [[None] * BOOKS for _ in range(steps)]
    for frame, frame_codes in enumerate(given):
        for book, code in enumerate(frame_codes):
            found[DELAY + frame + book][book] = code
    found[DELAY + len(given)][0] = 64
    return found


def summed(head: DelayedCodesHead, step: Sequence[int | None]) -> Tensor:
    """The embeddings of one step's cells, added up; a codebook's table has 64 codes, the end and the empty cell."""
    ids = [book * 66 + (65 if code is None else code) for book, code in enumerate(step)]
    return head.embedding.weight[ids].sum(0)


def batch_of(model: OmniModel, rows: Sequence[Sample] = ROWS) -> Batch:
    return Collator(model.plan, ["text", "speech"])(rows)


@torch.no_grad()
def test_the_backbone_reads_the_sum_of_a_token_and_the_codes_of_the_step_before(model: OmniModel) -> None:
    batch, head = batch_of(model), model.get_submodule("speech.head")
    assert isinstance(head, DelayedCodesHead)
    inputs, tokens = Taps(model, batch).inputs, model.language_model().embed(batch.tokens)
    for index, sample in enumerate(ROWS):
        given = sample.messages[1].content[1].codes
        assert given is not None
        first, length = int(batch.answers[index, 0]), int(batch.lengths[index])
        expected = tokens[index, :length].clone()
        for step, cell in enumerate(cells(given)[:-1]):  # the last step's codes are read by none
            expected[first + step] += summed(head, cell)
        torch.testing.assert_close(inputs[index, :length], expected)


@torch.no_grad()
def test_an_answer_lasts_until_its_codes_have(model: OmniModel) -> None:
    batch = batch_of(model)
    for index, sample in enumerate(ROWS):
        given = sample.messages[1].content[1].codes
        assert given is not None
        first, last = int(batch.answers[index, 0]), int(batch.answers[index, int(batch.answer_lengths[index]) - 1])
        assert int(batch.lengths[index]) == max(last + 1, first - 1 + len(cells(given)))
        behind = batch.tokens[index, last + 1:int(batch.lengths[index])]
        assert bool((behind == batch.tokens[index, last]).all())


@torch.no_grad()
def test_the_loss_is_the_mean_of_what_each_step_s_state_gives_its_cells(model: OmniModel) -> None:
    batch, head = batch_of(model), model.get_submodule("speech.head")
    assert isinstance(head, DelayedCodesHead)
    hidden, total, count = Taps(model, batch).hidden, torch.zeros(()), 0
    for index, sample in enumerate(ROWS):
        given = sample.messages[1].content[1].codes
        assert given is not None
        for step, cell in enumerate(cells(given)):
            logits = head.classes(hidden[index, int(batch.answers[index, 0]) - 1 + step])
            for book, code in enumerate(cell):
                own = logits[book * 64:(book + 1) * 64]
                own = torch.cat([own, logits[-1:]]) if book == 0 else own
                if code is not None:
                    total, count = total - own.log_softmax(0)[code], count + 1
    assert count == sum(BOOKS * frames + 1 for frames in (9, 1, 4)) == batch.target_counts["speech"]
    torch.testing.assert_close(model.losses(batch, ["speech"])["speech"], total / count, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_rows_alone_are_as_in_a_batch(model: OmniModel) -> None:
    together, batch = Taps(model, batch_of(model)).hidden, batch_of(model)
    for index, sample in enumerate(ROWS):
        alone = Taps(model, batch_of(model, [sample])).hidden[0]
        torch.testing.assert_close(together[index, :int(batch.lengths[index])], alone, atol=1e-5, rtol=1e-5)


def test_the_text_learns_from_the_codes_and_the_codes_from_the_text(model: OmniModel) -> None:
    model.requires_grad_(True)
    model.losses(batch_of(model), ["text"])["text"].backward()
    table = model.get_submodule("speech.head").get_parameter("embedding.weight").grad
    assert table is not None and bool(table.any())
    model.zero_grad()


# ---- answers ----


def asked(model: OmniModel, *questions: str) -> Batch:
    samples = [Sample(text, (Message("user", (ContentPart("text", text=text),)),)) for text in questions]
    return Collator(model.plan, ["text"], prompt_only=True)(samples)


@torch.no_grad()
def decode_without_cache(model: OmniModel, prompt: Batch, end: int) -> tuple[list[int], list[tuple[int, ...]]]:
    """Answer one question greedily, reading everything from the beginning at each step; codes by their definition."""
    backbone, head = model.language_model(), model.get_submodule("speech.head")
    assert isinstance(head, DelayedCodesHead)
    inputs, tokens, steps, count = Taps(model, prompt).inputs, list[int](), list[list[int | None]](), None
    while count is None or len(steps) < len(cells([()] * count)):
        state = backbone(inputs, torch.ones(inputs.shape[:2], dtype=torch.bool))[0, -1]
        if end not in tokens and len(tokens) < LIMIT:
            tokens.append(int(backbone.logits(state).argmax()))
        logits, found = head.classes(state), list[int | None]()
        for book in range(BOOKS):
            frame = len(steps) - DELAY - book
            own = torch.cat([logits[book * 64:(book + 1) * 64], logits[-1:]][:1 + (book == 0)])
            code = int(own.argmax())
            if frame < 0 or (count is not None and frame >= count):
                found.append(None)
            elif book == 0 and (code == 64 or frame == MOST):
                count = frame
                found.append(64)
            else:
                found.append(code)
        steps.append(found)
        fed = backbone.embed(torch.tensor([[tokens[-1]]]))
        inputs = torch.cat([inputs, fed + summed(head, found)], 1)
    frames = [tuple(int(steps[DELAY + frame + book][book] or 0) for book in range(BOOKS)) for frame in range(count)]
    return tokens, frames


@pytest.fixture(params=[0.0, 1.5], ids=["cut", "ended"])
def speaking(model: OmniModel, request: pytest.FixtureRequest) -> OmniModel:
    """A model whose answers go on to their limit, and one whose codes end before."""
    other = OmniModel(model.plan).eval()
    torch.manual_seed(7)  # texts of 2 and 4 tokens, codes of 3 and 6 frames
    with torch.no_grad():  # fresh weights are so small that all answers are alike
        for weight in other.get_submodule("backbone").parameters():
            weight.normal_(std=weight.shape[-1] ** -0.5) if weight.dim() > 1 else None
        other.get_submodule("speech.head").get_parameter("embedding.weight").normal_(std=0.5)
        other.get_submodule("speech.head").get_parameter("classes.bias")[-1] += request.param
    return other


QUESTIONS = ("how many are there", "what is it", "a")


def test_generation_equals_decoding_without_a_cache(speaking: OmniModel) -> None:
    end = int(generate(speaking, asked(speaking, QUESTIONS[0]), Sampling((), 2)).tokens[0][-1])  # so that some texts end early
    together = generate(speaking, asked(speaking, *QUESTIONS), Sampling((end,), LIMIT))
    assert together.codes is not None
    for index, text in enumerate(QUESTIONS):
        expected = decode_without_cache(speaking, asked(speaking, text), end)
        alone = generate(speaking, asked(speaking, text), Sampling((end,), LIMIT))
        assert (alone.tokens[0], (alone.codes or [[]])[0]) == expected
        assert (together.tokens[index], together.codes[index]) == expected
    assert len({len(tokens) for tokens in together.tokens}) > 1


def test_codes_end_where_the_head_ends_them_or_at_the_limit(speaking: OmniModel, request: pytest.FixtureRequest) -> None:
    found = generate(speaking, asked(speaking, *QUESTIONS), Sampling((), LIMIT)).codes or []
    cut = "cut" in request.node.name
    assert max(map(len, found)) == MOST if cut else 0 < min(map(len, found)) < MOST


def test_drawn_codes_are_each_answer_s_own(speaking: OmniModel) -> None:
    plan = plan_of("speech.head.top_k=20")
    drawn = OmniModel(plan).eval()
    drawn.load_state_dict(speaking.state_dict())
    together = generate(drawn, asked(drawn, *QUESTIONS), Sampling((), LIMIT)).codes
    alone = [generate(drawn, asked(drawn, text), Sampling((), LIMIT)).codes for text in QUESTIONS]
    assert together == [codes[0] for codes in alone if codes]
    assert together != generate(speaking, asked(speaking, *QUESTIONS), Sampling((), LIMIT)).codes


@torch.no_grad()
def test_training_on_an_answer_gives_the_states_that_it_was_made_from(speaking: OmniModel) -> None:
    prompt = asked(speaking, QUESTIONS[0])
    steps: list[DecodingStep] = list(decoding_steps(speaking, prompt, Sampling((), LIMIT)))
    tokens = [int(step.tokens) for step in steps if step.tokens is not None]
    found = [code for step in steps for code in (step.codes or [[]])[0]]
    start = prompt.tokens.shape[1]
    rows = torch.tensor([[*prompt.tokens[0].tolist(), *tokens, *[tokens[-1]] * (len(steps) - 1 - len(tokens))]])
    batch = replace(prompt, tokens=rows, lengths=torch.tensor([rows.shape[1]]), answers=start + torch.arange(len(tokens))[None],
                    answer_lengths=torch.tensor([len(tokens)]),
                    targets={"speech": Targets(torch.tensor([found]), torch.tensor([len(found)]))})
    states = Taps(speaking, batch).features(speaking.plan.outputs["speech"]).data[0]
    torch.testing.assert_close(states[:len(steps)], torch.cat([step.hidden for step in steps]), atol=1e-4, rtol=1e-4)


def test_a_streamed_answer_is_the_answer(speaking: OmniModel) -> None:
    session = Session(speaking)
    answer = session.answer(text=QUESTIONS[0])
    events = list(session.stream(text=QUESTIONS[0], omega=2))
    assert tuple(code for event in events for code in event.codes) == answer.codes
    assert "".join(event.text for event in events) == answer.text
    waves = [event.waveform for event in events if event.waveform is not None]
    assert len(answer.codes) <= MOST and answer.waveform is not None
    np.testing.assert_allclose(np.concatenate(waves), answer.waveform, atol=1e-5)


@pytest.mark.parametrize("engine", [SingleEngine, BatchEngine])
def test_answers_beside_one_another_are_those_of_the_session(speaking: OmniModel,
                                                             engine: type[SingleEngine] | type[BatchEngine]) -> None:
    session = Session(speaking)
    running = engine(session)
    answers = [running.begin(question(text=text), AnswerOptions(omega=1, independent=True)) for text in QUESTIONS]
    for text, events in zip(QUESTIONS, drained(running, answers), strict=True):
        same(events, list(session.stream(text=text, omega=1, independent=True)))


def test_a_later_turn_reads_the_earlier_answer_as_text(speaking: OmniModel) -> None:
    """Its prompt is the conversation's text, while the states of the earlier answer were made with codes."""
    session, prefix, spoken = Session(speaking), PrefixCache(), AnswerOptions(omega=1, independent=True)
    running, history = BatchEngine(session), list[Message]()
    for text in QUESTIONS[:2]:
        expected = list(session.stream(text=text, history=list(history), omega=1, independent=True))
        answer = running.begin(question(text=text, history=history), spoken, prefix)
        found, = drained(running, [answer])
        same(found, expected)
        text_given = "".join(event.text for event in found)
        answered = Message("assistant", (ContentPart("text", text=text_given),))
        history = [*question(text=text, history=history).messages, answered]
    assert answer.cached_tokens > 0


# ---- what is refused ----


def test_rows_of_several_answers_are_refused(model: OmniModel) -> None:
    twice = Sample("twice", (*ROWS[0].messages, *ROWS[2].messages))
    with pytest.raises(DataError, match="Row twice has several answers, but the codes of branch speech are read by the"):
        batch_of(model, [twice])


def test_an_answer_longer_than_the_context_is_refused() -> None:
    model = OmniModel(plan_of("backbone.context=120"))
    with pytest.raises(DataError, match=r"Row two has \d+ positions with the steps of branch speech's codes, but the backbone's"
                                        r" context is 120; shorten its answer"):
        batch_of(model, [row("two", 150)])


@pytest.mark.parametrize("setting", ["pack", "batch_tokens"])
def test_packed_rows_are_refused(setting: str) -> None:
    with pytest.raises(PlanError, match=f"stages.speak.trainer.{setting} is 256, but the backbone reads the codes of speech"):
        plan_of(f"+stages.speak.trainer.{setting}=256")


def test_a_delay_longer_than_the_context_is_refused() -> None:
    with pytest.raises(PlanError, match=r"speech[.]head takes 608 steps of the backbone for one frame of codes, but backbone"):
        plan_of("speech.head.delay=600")


def test_a_second_such_branch_is_refused() -> None:
    with pytest.raises(PlanError, match="the backbone reads the codes of speech and song, but it can read those of one branch"):
        plan_of("+song/head=delayed_codes", "+song/codec=mimi_tiny_random")


def test_the_backbone_s_states_are_not_stored_for_it(model: OmniModel) -> None:
    stage = plan_of("stages.speak.train={speech: {head: full}}", "stages.speak.loss={speech: 1.0}").stages["speak"]
    assert not any(point.startswith("backbone") for point in cache_points(stage, model.plan.inputs, model.plan.outputs))
