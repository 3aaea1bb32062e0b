"""A file of questions answered in batches: order, refusals, resuming, audio beside, matrices in 8 and 4 bits."""

import json
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
from engines import plan, sharpened
from torch import nn

from omnikit.cli import main
from omnikit.errors import DataError, PlanError, RunError
from omnikit.inference import answer_file
from omnikit.inference import session as sessions
from omnikit.inference.answer_file import AnswerFile
from omnikit.inference.engine import AnswerOptions
from omnikit.inference.question import question
from omnikit.inference.question_file import QuestionFile
from omnikit.inference.scheduler.batch import BatchEngine, engine_for
from omnikit.inference.session import Session, build
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose
from omnikit.store.quantise import quantise_layers

TEXTS = ("what is two plus one", "why", "and how many of them are there", "a")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return sharpened(plan(tmp_path_factory.mktemp("session")))


@pytest.fixture
def loaded(session: Session, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr(sessions, "load", lambda run, load_in=None: session)
    return session


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Texts, one as messages, one by audio, and three that cannot be answered."""
    wave = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    soundfile.write(tmp_path / "q.wav", wave, 16000, subtype="FLOAT")
    rows: list[object] = [{"id": f"t{number}", "text": text} for number, text in enumerate(TEXTS)]
    rows[1:1] = [{"id": "gone", "audio": "gone.wav"}, {"id": "spoken", "audio": "q.wav"}]
    rows += [{"messages": [{"role": "user", "content": "why"}]}, {"id": "typo", "txt": "why"}]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "\nnot JSON\n")
    return path


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_answers_stand_in_the_order_of_their_questions(loaded: Session, questions: Path,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    out = questions.with_name("answers.jsonl")
    assert main(["answer", "run", str(questions), "--out", str(out), "--batch-size", "3"]) == 1
    found = lines(out)
    assert [line["id"] for line in found] == ["t0", "gone", "spoken", "t1", "t2", "t3", "7", "typo", "10"]
    assert [name for line in found for name in line if name == "error"] == ["error"] * 3
    for line, text in zip([found[0], *found[3:6], found[6]], (*TEXTS, "why"), strict=True):
        answer = loaded.answer(text=text)
        assert (line["text"], line["seconds"]) == (answer.text, round(answer.seconds, 3))
        np.testing.assert_allclose(soundfile.read(out.parent / str(line["audio"]))[0], answer.waveform, atol=1e-4)  # 16 bits
    assert found[2]["text"] == loaded.answer(questions.with_name("q.wav")).text
    assert "there is no file" in str(found[1]["error"]) and "unknown key 'txt'" in str(found[7]["error"])
    assert "questions.jsonl, line 10 is not JSON" in str(found[8]["error"])
    assert capsys.readouterr().out == f"{out} holds 9 answers: 6 made, 3 refused (see their lines)\n"
    assert not list(out.parent.glob(".*"))


def test_text_only(loaded: Session, questions: Path) -> None:
    out = questions.with_name("answers.jsonl")
    assert main(["answer", "run", str(questions), "--out", str(out), "--no-audio", "--max-new-tokens", "2"]) == 1
    assert {line.get("tokens") for line in lines(out)} == {2, None}
    assert not any("audio" in line for line in lines(out)) and not (out.parent / "answers-audio").exists()


def answer_and_die(argv: list[str]) -> None:
    """Be killed in the middle of the third line."""
    def half(descriptor: int, data: bytes) -> int:
        write(descriptor, data[:len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    write = os.write
    writes = iter([write, write, half])
    answer_file.os.write = lambda descriptor, data: next(writes)(descriptor, data)  # type: ignore[assignment]
    main(argv)


def test_killed_process_resumes_where_it_was(loaded: Session, questions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, out = questions.with_name("whole.jsonl"), questions.with_name("answers.jsonl")
    options = ["--no-audio", "--temperature", "2.0", "--seed", "3"]
    main(["answer", "run", str(questions), "--out", str(whole), *options])
    child = multiprocessing.get_context("fork").Process(target=answer_and_die, args=(
        ["answer", "run", str(questions), "--out", str(out), *options],))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert out.read_bytes().count(b"\n") == 2 and not out.read_bytes().endswith(b"\n")
    assert main(["answer", "run", str(questions), "--out", str(out), *options]) == 1
    assert out.read_bytes() == whole.read_bytes()
    assert main(["answer", "run", str(questions), "--out", str(out), *options]) == 1  # nothing is left, three were refused
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"{out} holds 9 answers: 5 made, 2 were there, 3 refused (see their lines)",
        f"{out} holds 9 answers: 0 made, 9 were there, 3 refused (see their lines)"]


def test_output_of_other_questions_is_left_alone(session: Session, questions: Path) -> None:
    out = questions.with_name("answers.jsonl")
    out.write_text('{"id": "other", "text": "mine"}\n')
    with pytest.raises(RunError, match=r"has the answer 'other' in line 1, but the question there is 't0'"):
        AnswerFile(QuestionFile(questions), out, BatchEngine(session), AnswerOptions()).write()
    assert out.read_text() == '{"id": "other", "text": "mine"}\n'


@pytest.mark.parametrize(("row", "message"), [
    ({"audio": 3}, "audio is 3, but must be the path of a file"), ({"text": 3}, "text is 3, but must be a text"),
    ({"audio": ["q.wav", "q.wav"]}, "audio names 2 files"), ({"id": "x"}, "neither audio nor text"),
    ({"image": [""]}, 'image is "", but must be the path')])
def test_question_that_is_none_names_its_line(tmp_path: Path, row: dict[str, object], message: str) -> None:
    (tmp_path / "q.wav").touch()
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps({"text": "a"}) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(DataError, match=f"questions.jsonl, line 2: .*{message}"):
        QuestionFile(path)[1]


def test_command_line_is_refused_before_the_model_is_loaded(questions: Path, tmp_path: Path,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["answer", "run", str(questions), "--out", str(questions)]) == 2
    assert main(["answer", "run", str(questions), "--out", str(tmp_path / "gone" / "a.jsonl")]) == 2
    assert main(["answer", "run", str(questions), "--out", "a.jsonl", "--temperature", "hot"]) == 2
    assert main(["answer", "run", str(tmp_path / "none.jsonl"), "--out", str(tmp_path / "a.jsonl")]) == 2
    error = capsys.readouterr().err
    assert all(words in error for words in ("holds the questions", "there is no folder", "hot is not a number",
                                            "none.jsonl does not exist"))


def test_model_that_cannot_stream_is_one_error(questions: Path, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*given: object, **named: object) -> None:
        raise PlanError("speech.head gives its codes only when the answer is complete.")

    monkeypatch.setattr(session, "speech_stream", refused)
    with pytest.raises(PlanError, match="only when the answer is complete"):
        AnswerFile(QuestionFile(questions), questions.with_name("a.jsonl"), BatchEngine(session), AnswerOptions()).write()


@pytest.mark.parametrize(("load_in", "tolerance"), [("8bit", 0.02), ("4bit", 0.3)])
def test_backbone_in_fewer_bits_is_close_and_answers(load_in: str, tolerance: float) -> None:
    made = build(make(compose("llama_omni/tiny", ["generate.max_new_tokens=4"])), device="cpu")
    prompt = made.prompt([question(text="why")]).batch
    backbone = made.model.get_submodule("backbone")
    backbone.requires_grad_(False)
    before = backbone(made.model.language_model().embed(prompt.tokens), prompt.tokens >= 0)
    count = sum(type(layer) is nn.Linear for layer in backbone.model.layers.modules())
    assert quantise_layers(backbone, load_in) == count > 0  # type: ignore[arg-type]
    after = backbone(made.model.language_model().embed(prompt.tokens), prompt.tokens >= 0)
    assert 0 < float((after - before).norm() / before.norm()) < tolerance
    engine = engine_for(made)
    answers = [engine.begin(question(text=text), AnswerOptions(speak=False)) for text in TEXTS[:2]]
    while engine.step():
        pass
    assert [answer.answer_tokens for answer in answers] == [4, 4]
