"""The three lines of Python, on doubles."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from doubles import RATE, EchoDataset, EchoReader, FakeBackbone, make_asr, make_plan, speak, stages, write_tokenizer
from torch import nn
from vision_doubles import image, make_vision_plan

from omnikit.contracts.types import Message, Sample
from omnikit.data.media.image import save_image
from omnikit.data.media.video import save_video
from omnikit.errors import DataError, PlanError, RunError
from omnikit.inference.answer import Answer
from omnikit.inference.question import question
from omnikit.inference.session import Session, build, restore
from omnikit.plan.plan import Plan
from omnikit.store.hashes import hashes, weights_hash
from omnikit.store.lineage import lineage
from omnikit.training.stage import run_stages


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make_plan(write_tokenizer(tmp_path), steps=1)


@pytest.fixture
def session(plan: Plan) -> Session:
    return build(plan)


def test_answer_takes_samples_a_file_or_text(session: Session, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "q.wav", np.repeat(speak("one two"), 160), 16000)
    waveform = np.repeat(speak("one two"), 160)
    answers = [session.answer(tmp_path / "q.wav"), session.answer(audio=waveform), session.answer(text="one two")]
    assert all(isinstance(answer.text, str) for answer in answers)
    assert answers[0].text == answers[1].text


def test_answers_in_a_batch_are_those_alone(session: Session) -> None:
    samples = [EchoReader(EchoDataset(textual=3))[index] for index in range(6)]
    together, alone = session.answers(samples), [session.answers([sample])[0] for sample in samples]
    assert [a.text for a in together] == [a.text for a in alone]
    assert [a.codes for a in together] == [a.codes for a in alone]


def test_no_questions_have_no_answers(session: Session) -> None:
    assert session.answers([]) == []


def test_waveform_is_the_codec_s(session: Session) -> None:
    answer = session.answer(text="one two")
    assert answer.sample_rate == RATE
    assert answer.waveform is not None and len(answer.waveform) == 5 * len(answer.codes)


def test_a_backbone_s_own_ends_end_an_answer(plan: Plan) -> None:
    @dataclass(frozen=True)
    class Ending(FakeBackbone):
        ends: tuple[int, ...] = (11, 12)

    ending = build(replace(plan, backbone=Ending(plan.backbone.tokenizer)))
    assert ending._prepare([question(text="one")], greedy=True)[2].ends == (4, 11, 12)  # <end>, then the backbone's
    assert build(plan)._prepare([question(text="one")], greedy=True)[2].ends == (4,)


def test_only_untrained_parts_are_hashed_beside_the_loading(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_stages(plan, tmp_path / "run", "")
    hashed: list[nn.Module] = []
    monkeypatch.setattr("omnikit.store.load.weights_hash", lambda module: hashed.append(module) or weights_hash(module))
    parts = restore(plan, tmp_path / "run").model.parts()
    assert hashed == [parts[part] for part in parts if part not in lineage(plan, tmp_path / "run")]


def test_speech_is_left_out_on_request(session: Session) -> None:
    assert session.answers([question(text="one")], speak=False)[0].waveform is None


def test_history_grows_and_is_in_the_prompt(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Sample] = []
    answers = session.answers
    monkeypatch.setattr(session, "answers", lambda samples: asked.extend(samples) or answers(samples))
    history: list[Message] = []
    session.answer(text="one", system="two", history=history)
    session.answer(text="three", history=history)
    assert [message.role for message in history] == ["system", "user", "assistant", "user", "assistant"]
    assert asked[1].messages[:3] == tuple(history[:3])


def test_saved_answer_is_a_wav_file(tmp_path: Path) -> None:
    Answer("one", speak("one"), RATE).save(tmp_path / "a.wav")
    data, rate = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(data, speak("one"), atol=1 / 32768)  # 16 bits


def test_answer_without_audio_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"a.wav cannot be written: the answer has no audio"):
        Answer("one").save(tmp_path / "a.wav")


def test_question_needs_audio_or_text() -> None:
    with pytest.raises(DataError, match="A question has neither audio nor text"):
        question()


def test_long_question_is_refused(session: Session) -> None:
    with pytest.raises(DataError, match=r"Row question has .* positions, but the backbone's context is 64"):
        session.answer(text="one " * 70)


def test_context_leaves_room_for_one_token_at_least(session: Session) -> None:
    assert len(session.answer(text="one " * 60).text.split()) <= 2


def test_asr_model_transcribes_and_gives_nothing_for_silence(tmp_path: Path) -> None:
    plan = make_asr(write_tokenizer(tmp_path), steps=150)
    run_stages(plan, tmp_path / "run", "")
    session = restore(plan, tmp_path / "run")
    waves = [speak("one"), np.zeros(0, np.float32), speak("two three four"), np.zeros(2, np.float32)]
    assert session.transcribe(waves, RATE) == ["one", "", "two three four", ""]


def test_asr_model_cannot_answer(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="doubles/asr has no backbone, so it cannot answer"):
        build(make_asr(write_tokenizer(tmp_path))).answer(text="one")


def test_model_without_transcripts_cannot_transcribe(plan: Plan) -> None:
    text_only = replace(plan, outputs={"text": plan.outputs["text"]})
    with pytest.raises(PlanError, match="has no head that gives transcripts"):
        build(text_only).transcribe([speak("one")], RATE)


def test_unfinished_run_is_one_sentence(plan: Plan, tmp_path: Path) -> None:
    run_stages(make_plan(plan.tokenizer or "", only={"listen": stages(1)["listen"]}), tmp_path / "run", "")
    with pytest.raises(RunError, match=r"Stage listen of .* is not finished|Stage units of .* is not finished"):
        restore(plan, tmp_path / "run")


def test_untrained_part_must_be_the_one_trained_with(plan: Plan, tmp_path: Path) -> None:
    only = {name: stage for name, stage in stages(1).items() if name == "understand"}
    partial = make_plan(plan.tokenizer or "", only=only)
    run_stages(partial, tmp_path / "run", "")
    restored = hashes(restore(partial, tmp_path / "run").model)
    other = replace(partial, recipe=replace(partial.recipe, seed=5))
    (tmp_path / "run" / "understand" / "done").write_text(_hash(other))
    with pytest.raises(RunError, match=rf"beside audio.encoder with weights of hash {restored['audio.encoder']}"):
        restore(other, tmp_path / "run")


def _hash(plan: Plan) -> str:
    from omnikit.store.facts import stage_hash

    return stage_hash(plan, "understand")


def test_answer_takes_images_and_videos(tmp_path: Path) -> None:
    session = build(make_vision_plan(write_tokenizer(tmp_path)))
    save_image(tmp_path / "a.png", image(16, 8))
    save_video(tmp_path / "a.mp4", np.stack([image(seed=index) for index in range(3)]), 1.0)
    from_file = session.answer(image=tmp_path / "a.png", video=str(tmp_path / "a.mp4"), text="one")
    assert from_file.text == session.answer(image=[image(16, 8)], video=[tmp_path / "a.mp4"], text="one").text


def test_images_stand_first_and_then_the_audio_last() -> None:
    asked = question("a.wav", "why", image=["a.png", image()], video="a.mp4").messages[0].content
    assert [(part.type, part.path) for part in asked] == [("image", "a.png"), ("image", None), ("video", "a.mp4"),
                                                          ("text", None), ("audio", "a.wav")]
    assert [part.type for part in question("a.wav", "why").messages[0].content] == ["audio", "text"]
