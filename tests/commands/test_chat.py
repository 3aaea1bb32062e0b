"""Talking to a run of doubles on the command line."""

import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import soundfile
from doubles import RATE, CtcCodeModule, make_plan, speak, write_tokenizer

from omnikit.cli import main
from omnikit.commands.chat import Question, _example, _read
from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.media.wav_writer import wav_segments
from omnikit.errors import RunError
from omnikit.inference import session
from omnikit.inference.session import Session
from omnikit.recipe.media import MediaLimits
from omnikit.store.runs import find
from omnikit.training.stage import run_stages


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chat")


@pytest.fixture(scope="module")
def run(folder: Path) -> str:
    plan = make_plan(write_tokenizer(folder), steps=150)
    run_stages(plan, folder / "run", "")
    return str(folder / "run")


@pytest.fixture(autouse=True)
def doubles_are_installed(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(str(Path(run).parent / "tokenizer.json"), steps=150)
    monkeypatch.setattr(session, "load_plan", lambda path: plan if find(path) else None)


def test_spoken_question_gives_text_and_a_wave(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "q.wav", np.repeat(speak("three"), 160), 16000, subtype="FLOAT")
    assert main(["chat", run, "--audio", str(tmp_path / "q.wav"), "--out", str(tmp_path / "a.wav")]) == 0
    info = soundfile.info(tmp_path / "a.wav")
    assert (info.subtype, info.samplerate) == ("PCM_16", 100)
    assert str(tmp_path / "a.wav") in capsys.readouterr().out


def test_loop_answers_line_by_line_and_outlives_a_bad_one(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ngone.wav\n\ntwo\n:q\nnever read\n"))
    assert main(["chat", run, "--out", str(tmp_path / "a.wav")]) == 0
    assert sorted(path.name for path in tmp_path.glob("*.wav")) == ["a-1.wav", "a-3.wav"]
    assert "gone.wav does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(("lines", "answers", "helps"), [
    ("/help\n/exit\nnever read\n", 0, 2), ("quit\nnever read\n", 0, 1), ("EXIT\n", 0, 1), ("", 0, 1), ("\n \n", 0, 1),
    ("/nothing\ntwo\n", 1, 2), ("\x01\x1b[A\n/quit\n", 1, 1)], ids=ascii)
def test_words_of_the_loop_are_not_questions(run: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
                                             lines: str, answers: int, helps: int) -> None:
    asked: list[Question] = []
    monkeypatch.setattr("omnikit.commands.chat.Chat.ask", lambda self, question, out: asked.append(question))
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert main(["chat", run]) == 0
    assert len(asked) == answers and capsys.readouterr().out.count("A line is a question") == helps


def test_streamed_audio_equals_the_offline_audio(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", run, "--text", "two three four", "--out", str(tmp_path / "whole.wav")]) == 0
    text = capsys.readouterr().out.splitlines()[0]
    (tmp_path / "a-segments").mkdir()
    (tmp_path / "a-segments" / "009.wav").touch()  # of an answer before
    options = ["--stream", "--omega", "1", "--out", str(tmp_path / "a.wav")]
    assert main(["chat", run, "--text", "two three four", *options]) == 0
    printed = capsys.readouterr().out.splitlines()
    pieces = [soundfile.read(path)[0] for path in sorted((tmp_path / "a-segments").iterdir())]
    assert printed[0] == text and f"{len(pieces)} segments in {tmp_path / 'a-segments'}" in printed[1] and len(pieces) > 1
    assert re.fullmatch(r"times  time to first token [\d.]+ s, time to first audio [\d.]+ s, real-time factor [\d.]+ \(.*\)",
                        printed[2])
    np.testing.assert_array_equal(np.concatenate(pieces), soundfile.read(tmp_path / "a.wav")[0])
    np.testing.assert_array_equal(soundfile.read(tmp_path / "a.wav")[0], soundfile.read(tmp_path / "whole.wav")[0])
    assert not list(tmp_path.glob("*.part*"))


def test_growing_file_is_a_waveform_at_every_moment_and_goes_if_it_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), wav_segments(tmp_path / "a.wav", RATE) as growing:
        for count, word in enumerate(("one", "two", "three")):
            assert len(soundfile.read(growing.growing)[0]) == 5 * count
            growing.write(speak(word))
        raise KeyboardInterrupt
    assert sorted(path.name for path in tmp_path.rglob("*.wav")) == ["001.wav", "002.wav", "003.wav"]


def test_segments_of_an_answer_before_go(tmp_path: Path) -> None:
    for words in (("one", "two", "three"), ("four",)):
        with wav_segments(tmp_path / "a.wav", RATE) as growing:
            for word in words:
                growing.write(speak(word))
    assert [path.name for path in (tmp_path / "a-segments").iterdir()] == ["001.wav"]


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a-segments"
    folder.mkdir()
    for name in ("001.wav", "mine.wav"):
        (folder / name).write_bytes(b"mine")
    with pytest.raises(RunError, match=r"a-segments holds mine.wav, which is not a segment of an answer, so its files"), \
            wav_segments(tmp_path / "a.wav", RATE):
        pass
    assert [path.read_bytes() for path in folder.iterdir()] == [b"mine"] * 2 and list(tmp_path.iterdir()) == [folder]


def test_audio_that_cannot_be_written_is_one_sentence(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a-segments").touch()  # a file where the folder shall be
    assert main(["chat", run, "--text", "one", "--stream", "--out", str(tmp_path / "a.wav")]) == 2
    assert capsys.readouterr().err.count("a.wav cannot be written: File exists.\n") == 1


@pytest.mark.parametrize("options", [[], ["--stream"]], ids=["whole", "streamed"])
def test_answer_without_a_code_is_reported_and_writes_nothing(
    run: str, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(CtcCodeModule, "decode", lambda head, features: [[]] * len(features.data))
    monkeypatch.setattr(CtcCodeModule, "step", lambda head, features, state: ([[]], state))
    out = tmp_path / "a.wav"
    assert main(["chat", run, "--text", "two", "--out", str(out), *options]) == 0
    assert capsys.readouterr().out.splitlines()[1] == (
        f"The speech head gave no codes, so there is no audio and {out} was not written.")
    assert not list(tmp_path.iterdir())


def test_loop_streams(run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    assert main(["chat", run, "--stream", "--independent", "--out", str(tmp_path / "a.wav")]) == 0
    assert sorted(path.name for path in tmp_path.glob("*.wav")) == ["a-1.wav", "a-2.wav"]
    assert capsys.readouterr().out.count("times  time to first token") == 2


@pytest.mark.parametrize(("options", "text"), [
    (["--omega", "0", "--stream"], "0 is not a whole number of at least 1"),
    (["--omega", "5"], "--omega shapes a stream; add --stream"),
    (["--independent"], "--independent shapes a stream; add --stream"),
])
def test_wrong_options_of_a_stream_are_one_sentence(
    run: str, options: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chat", run, "--text", "one", *options]) == 2
    assert text in capsys.readouterr().err


def test_missing_folder_for_the_answer_is_reported_before_the_model_loads(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", run, "--text", "one", "--out", "no/such/a.wav"]) == 2
    assert "there is no folder no/such" in capsys.readouterr().err


def test_folder_for_the_answer_s_file_is_refused(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", run, "--text", "one", "--out", "."]) == 2
    assert capsys.readouterr().err.count("which is a folder; name a wav file") == 1


@pytest.mark.parametrize("option", ["--limit=0", "--limit=-1", "--batch-size=0", "--batch-size=x"])
def test_impossible_count_is_one_sentence(run: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", run, option]) == 2
    assert "is not a whole number of at least 1" in capsys.readouterr().err


def test_unknown_run_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "no/run", "--text", "one"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_score_is_printed_as_a_table(run: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from omnikit.evaluation import score

    monkeypatch.setattr(score, "load_plan", session.load_plan)
    assert main(["eval", run, "--limit", "8", "--batch-size", "3"]) == 0
    printed = capsys.readouterr().out
    assert "echo" in printed and f"{run}/eval" in printed
    assert (Path(run) / "eval" / "echo.jsonl").read_text().count("\n") == 8


@pytest.mark.parametrize(("line", "asked"), [
    ("why is it", Question(text="why is it")),
    ("a.PNG  b.jpg what differs?", Question(text="what differs?", image=["a.PNG", "b.jpg"])),
    ("a.mp4 q.wav", Question(audio="q.wav", video=["a.mp4"])),
    ("what is in a.png?", Question(text="what is in a.png?")),
], ids=["words", "images", "video and sound", "no path"])
def test_a_line_is_split(line: str, asked: Question) -> None:
    assert _read(line) == asked


def test_a_path_with_spaces_is_a_line_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "my cat.png").touch()
    assert _read(f"{tmp_path}/my cat.png") == Question(image=[f"{tmp_path}/my cat.png"])


def test_images_without_a_branch_are_one_sentence(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", run, "--text", "one", "--image", str(tmp_path / "no.png"), "--image", "b.png"]) == 2
    assert "holds image in a question, but the recipe has no input branch for image" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "text"), [
    (["--image", " "], "--image is empty"),
    (["--example", "--video", "a.mp4"], "--example brings its own question, so --video would not be asked"),
])
def test_images_that_would_be_dropped_are_refused(
    run: str, options: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chat", run, *options]) == 2
    assert text in capsys.readouterr().err


def example(message: Message, out: Path | None) -> Question:
    """What --example asks of a dataset whose first row is this question."""
    reader = SimpleNamespace(build=lambda: [Sample("row", (message,))])
    recipe = SimpleNamespace(name="r", evaluate=SimpleNamespace(data={"shown": "rows"}), media=MediaLimits())
    plan = SimpleNamespace(recipe=recipe, readers={"rows": reader})
    return _example(cast(Session, SimpleNamespace(plan=plan)), out)


def test_an_example_may_be_about_images_and_videos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.full((8, 8, 3), 200, np.uint8)
    parts = (ContentPart("image", pixels=pixels), ContentPart("image", pixels=pixels),
             ContentPart("video", pixels=np.stack([pixels] * 3)),
             ContentPart("text", "which way"))
    asked = example(Message("user", parts), tmp_path / "a.wav")
    assert asked == Question(None, "which way", [f"{tmp_path}/a-question.png", f"{tmp_path}/a-question-2.png"],
                          [f"{tmp_path}/a-question.mp4"])
    assert all(Path(path).stat().st_size for path in [*(asked.image or []), *(asked.video or [])])
    assert "question  which way" in capsys.readouterr().out


def test_an_example_takes_the_files_of_its_row(tmp_path: Path) -> None:
    assert example(Message("user", (ContentPart("image", path="shown/p.png"),)), None) == Question(image=["shown/p.png"])


def test_an_example_with_a_learned_prompt_is_refused() -> None:
    with pytest.raises(RunError, match="Row row of rows asks with a prompt, which chat cannot; ask with --audio or --text"):
        example(Message("user", (ContentPart("prompt"),)), None)
