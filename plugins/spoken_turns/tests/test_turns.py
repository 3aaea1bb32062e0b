"""Whole builds: what is spoken, what stays, states of noise, and the same bytes whenever a build was killed."""

import hashlib
import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from omnikit_basics.config import MessagesJsonl
from omnikit_espeak.config import Espeak
from omnikit_spoken_turns.config import NOISES, BackgroundNoise, NoiseAudio, SpokenQuestions, Voices
from omnikit_spoken_turns.noises import at_level, mix_at_snr, noise
from omnikit_spoken_turns.synthesis import NotSynthesizedError, Synthesizer

from omnikit import cli
from omnikit.contracts.builders import TextGenerator, Units
from omnikit.errors import ConfigError, DataError, OmnikitError, RunError

ENGLISH, MANDARIN = "What is the capital of France?", "法国的首都是哪里？"


class Runs:
    """A model that answers each text with its last word."""

    version = "1"

    def text_generator(self, run: str) -> TextGenerator:
        return self

    def units(self, run: str) -> Units:
        raise RunError("no run is there")

    def __call__(self, instructions: str, texts: Sequence[str]) -> list[str]:
        return [text.split()[-1] for text in texts]


def row(name: str, *parts: dict[str, object], answer: str = "Paris.") -> dict[str, object]:
    return {"id": name, "messages": [{"role": "user", "content": list(parts)}, {"role": "assistant", "content": answer}]}


def text_part(text: str) -> dict[str, object]:
    return {"type": "text", "text": text}


def write(folder: Path, *rows: dict[str, object]) -> str:
    (folder / "rows.jsonl").write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in rows))
    return str(folder / "rows.jsonl")


def many(folder: Path, count: int = 30) -> str:
    return write(folder, *(row(f"q{number}", text_part((ENGLISH, MANDARIN)[number % 2])) for number in range(count)))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and ".build" not in path.parts}


def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def test_about_a_fraction_of_the_questions_is_spoken_by_voices_of_their_language(tmp_path: Path) -> None:
    SpokenQuestions(many(tmp_path), fraction=0.5).build().make(tmp_path / "out", Runs())
    parts = [(value["messages"][0]["content"][0], value["facts"]) for value in rows(tmp_path / "out")]
    spoken = [(part["text"], facts["voice"]) for part, facts in parts if part["type"] == "audio"]
    assert 8 < len(spoken) < 22 and len({voice for _, voice in spoken}) > 5
    assert {(text, voice.startswith("cmn")) for text, voice in spoken} == {(ENGLISH, False), (MANDARIN, True)}
    assert all(set(part) == {"type", "text"} for part, _ in parts if part["type"] == "text")


def test_audio_is_the_voices_output(tmp_path: Path) -> None:
    SpokenQuestions(write(tmp_path, row("q", text_part(ENGLISH))), fraction=1).build().make(tmp_path / "out", Runs())
    found = rows(tmp_path / "out")[0]
    facts = found["facts"]
    wave, rate = Espeak().build().speak(ENGLISH, facts["voice"], int(facts["speed"]), int(facts["pitch"]))
    audio, found_rate = soundfile.read(tmp_path / "out" / found["messages"][0]["content"][0]["path"], dtype="float32")
    assert found_rate == rate
    np.testing.assert_allclose(audio, wave, atol=2 / 32768)  # 16-bit samples


def test_images_stay_before_the_audio_and_marks_of_answers_too(tmp_path: Path) -> None:
    (tmp_path / "p.png").touch()
    value = row("q", {"type": "image", "path": "p.png"}, text_part("What is it?"))
    value["messages"][1] |= {"state": "audio", "cut": True}
    SpokenQuestions(write(tmp_path, value), fraction=1).build().make(tmp_path / "out", Runs())
    sample = MessagesJsonl(str(tmp_path / "out" / "train.jsonl")).build()[0]
    image, audio = sample.messages[0].content
    assert (image.type, Path(image.path).resolve()) == ("image", tmp_path / "p.png")
    assert (audio.type, audio.text) == ("audio", "What is it?")
    assert (sample.messages[1].state, sample.messages[1].cut) == ("audio", True)


def test_what_cannot_be_synthesized_stays_text(tmp_path: Path) -> None:
    source = write(tmp_path, row("long", text_part("word " * 400)), row("signs", text_part("?!")),
                   row("ok", text_part(ENGLISH)))
    SpokenQuestions(source, fraction=1).build().make(tmp_path / "out", Runs())
    kinds = {value["id"]: value["messages"][0]["content"][0]["type"] for value in rows(tmp_path / "out")}
    counts = json.loads((tmp_path / "out" / "manifest.json").read_text())["counts"]
    assert kinds == {"long": "text", "signs": "text", "ok": "audio"}
    assert counts["left_as_text"] == {"no word in it": 1, "sounds too long": 1}


def test_row_that_the_reader_refuses_is_rejected_with_its_sentence(tmp_path: Path) -> None:
    source = write(tmp_path, row("ok", text_part(ENGLISH)), row("bad", {"type": "image", "path": "none.png"}))
    built = SpokenQuestions(source).build().make(tmp_path / "out", Runs())
    rejected = json.loads((tmp_path / "out" / "rejected.jsonl").read_text())
    assert built.rows == 1 and sum(built.rejected.values()) == 1
    assert "there is no file" in rejected["sentence"]


def test_other_readers_are_read_with_their_options(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").touch()
    value = {"set": "s", "id": "v", "image": "a.png", "conversations": [
        {"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "a cat"}]}
    (tmp_path / "v.json").write_text(json.dumps([value]))
    options = {"folders": {"s": str(tmp_path / "photos")}}
    SpokenQuestions(str(tmp_path / "v.json"), "vita_json", options, fraction=1).build().make(tmp_path / "out", Runs())
    assert [part["type"] for part in rows(tmp_path / "out")[0]["messages"][0]["content"]] == ["image", "audio"]


def test_manifest_names_every_file_with_its_hash(tmp_path: Path) -> None:
    SpokenQuestions(many(tmp_path, 6)).build().make(tmp_path / "out", Runs())
    found = content(tmp_path / "out")
    manifest = json.loads(found.pop("manifest.json"))
    assert manifest["files"] == {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}


@pytest.mark.parametrize("builder", ["spoken_questions", "noise_audio"])
def test_killed_build_goes_on_to_the_same_files(tmp_path: Path, builder: str) -> None:
    config = {"spoken_questions": SpokenQuestions, "noise_audio": NoiseAudio}[builder]
    options = {"noise": BackgroundNoise(fraction=0.5)}
    whole = config(many(tmp_path), **options).build().make(tmp_path / "whole", Runs())
    folder = tmp_path / "out"
    words = ["data", "build", builder, f"source={tmp_path / 'rows.jsonl'}", f"out={folder}", "noise={fraction: 0.5}"]
    process = subprocess.Popen([sys.executable, "-c", "import sys; from omnikit.cli import main; main(sys.argv[1:])", *words])
    journal = folder / ".build" / "audio.jsonl"
    while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") > 2):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    done = journal.read_bytes().count(b"\n")
    with journal.open("ab") as file:
        file.write(b'{"name": "cut sho')  # what a kill within a write leaves
    (folder / "audio" / ".half.wav.1.part").write_bytes(b"half")
    found = config(str(tmp_path / "rows.jsonl"), **options).build().make(folder, Runs())
    assert content(folder) == content(tmp_path / "whole")
    assert found == replace(whole, made=whole.made - done)


def test_statements_and_noises_are_answered_as_noise_and_read_back(tmp_path: Path) -> None:
    source = write(tmp_path, row("s", text_part("Nice weather today."), answer="Yes, it is."),
                   row("mute", text_part("Hm."), answer=" "))
    built = NoiseAudio(source, noises=7).build().make(tmp_path / "out", Runs())
    reader = MessagesJsonl(str(tmp_path / "out" / "train.jsonl")).build()
    samples = [reader[index] for index in range(len(reader))]
    assert built.rejected == {"no answer": 1} and built.provides == ("audio", "answer")
    assert [sample.messages[1].state for sample in samples] == ["noise"] * 8
    assert samples[0].messages[0].content[0].text == "Nice weather today."
    assert samples[0].messages[1].content[0].text == "Yes, it is."
    assert [sample.facts["kind"] for sample in samples] == ["statement", *NOISES, "white"]
    seconds = [soundfile.info(str(sample.messages[0].content[0].path)).duration for sample in samples[1:]]
    assert all(1 <= value <= 5 for value in seconds) and len(set(seconds)) == 7


def test_model_answers_the_statements(tmp_path: Path) -> None:
    source = write(tmp_path, *(row(f"s{number}", text_part(f"It is number {number}"), answer=" ") for number in range(20)))
    NoiseAudio(source, writer="run").build().make(tmp_path / "out", Runs())
    assert [value["messages"][1]["content"][0]["text"] for value in rows(tmp_path / "out")] == [str(n) for n in range(20)]


def test_noise_lies_under_speech_at_the_stated_distance(tmp_path: Path) -> None:
    wave = 0.1 * np.sin(np.arange(16000) / 9).astype(np.float32)
    soundfile.write(tmp_path / "q.wav", wave, 16000, subtype="FLOAT")
    value = row("q", {"type": "audio", "path": "q.wav"})
    options = BackgroundNoise(fraction=1, snr_db=(12.0, 12.0), kinds=("pink",))
    SpokenQuestions(write(tmp_path, value), noise=options).build().make(tmp_path / "out", Runs())
    found = rows(tmp_path / "out")[0]
    audio, _ = soundfile.read(tmp_path / "out" / found["messages"][0]["content"][0]["path"], dtype="float32")
    ratio = 10 * np.log10(np.mean(wave**2) / np.mean((audio - wave) ** 2))
    assert ratio == pytest.approx(12, abs=0.05)  # 16-bit samples
    assert found["facts"] == {"noise": "pink", "noise_snr_db": "12.0"}


SLOPES = {"white": 0.0, "pink": -3.01, "brown": -6.02}  # dB per octave


@pytest.mark.parametrize("kind", list(SLOPES))
def test_coloured_noise_falls_by_its_slope(kind: str) -> None:
    wave = noise(kind, 1 << 17, 16000, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(wave)) ** 2
    octaves = [10 * np.log10(spectrum[start : 2 * start].mean()) for start in (1024, 2048, 4096, 8192, 16384, 32768)]
    assert np.diff(octaves).mean() == pytest.approx(SLOPES[kind], abs=0.2)
    assert np.mean(wave**2) == pytest.approx(1, rel=1e-4)


def test_hum_stands_on_the_mains_and_clicks_are_short() -> None:
    hum = np.abs(np.fft.rfft(noise("hum", 16000, 16000, np.random.default_rng(0))))  # 1 Hz a place
    assert int(hum.argmax()) % 50 == 0 or int(hum.argmax()) % 60 == 0
    clicks = noise("clicks", 16000, 16000, np.random.default_rng(0))
    assert np.mean(np.abs(clicks) < 0.05) > 0.7 and np.abs(clicks).max() > 5


def test_mixing_never_clips() -> None:
    wave = 0.9 * np.ones(1000, np.float32)
    other = noise("white", 1000, 16000, np.random.default_rng(0))
    assert np.abs(mix_at_snr(wave, other, 0)).max() <= 1 and np.abs(at_level(other, 0)).max() <= 1


def test_finished_build_makes_nothing_again_and_other_options_are_refused(tmp_path: Path) -> None:
    options = SpokenQuestions(many(tmp_path, 4))
    built = options.build().make(tmp_path / "out", Runs())
    assert options.build().make(tmp_path / "out", Runs()) == replace(built, made=0)
    with pytest.raises(RunError, match=r"was built with options.seed 0, but it is 1 now"):
        replace(options, seed=1).build().make(tmp_path / "out", Runs())


MISTAKES = {
    "no source": ("spoken_questions source=none.jsonl out=o", DataError, "none.jsonl does not exist, but should hold the rows"),
    "voice": ("spoken_questions source=rows.jsonl out=o 'voices={english: [xx]}'", ConfigError, "voices: .* no voice 'xx'"),
    "reader option": ("spoken_questions source=rows.jsonl out=o 'options={spilt: x}'", ConfigError, "options.spilt is not a"),
    "fraction": ("spoken_questions source=rows.jsonl out=o fraction=2", ConfigError,
                 "fraction is 2, but a fraction is between 0 and 1"),
    "kinds": ("noise_audio source=rows.jsonl out=o kinds=[rain]", ConfigError, "holds 'rain', but must be one of white"),
    "loud": ("noise_audio source=rows.jsonl out=o noise_db=[-3,3]", ConfigError, "noise_db ends with 3, but nothing is louder"),
}


@pytest.mark.parametrize("case", list(MISTAKES))
def test_mistake_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    words, error, message = MISTAKES[case]
    many(tmp_path, 1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OmnikitError, match=message) as caught:
        cli._run(["data", "build", *shlex.split(words)])
    assert isinstance(caught.value, error)


def test_synthesizer_states_why_it_refuses_a_text() -> None:
    with pytest.raises(NotSynthesizedError, match="sounds too long"):
        Synthesizer(Voices(seconds=0.1))("A question that is longer than that", "0")


def test_rows_of_one_id_are_warned_of_once_with_both_positions(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = write(tmp_path, *(row(name, text_part(ENGLISH)) for name in ("a", "b", "a", "b", "a")))
    SpokenQuestions(source).build().make(tmp_path / "out", Runs())
    assert [record.message for record in caplog.records] == [
        "Rows 0 and 2 of the source have the same id, a; they get the same voice and noise, so give each row an id of its own."]


def test_question_in_another_script_stays_text(tmp_path: Path) -> None:
    source = write(tmp_path, row("a", text_part("こんにちは、元気ですか")), row("b", text_part(ENGLISH)))
    SpokenQuestions(source, fraction=1.0).build().make(tmp_path / "out", Runs())
    kinds = [value["messages"][0]["content"][0]["type"] for value in rows(tmp_path / "out")]
    assert kinds == ["text", "audio"]


def test_voice_of_the_other_language_is_refused(tmp_path: Path) -> None:
    options = SpokenQuestions(write(tmp_path, row("a", text_part(ENGLISH))), voices=Voices(english=("cmn",)))
    with pytest.raises(ConfigError, match="english holds 'cmn', a voice of Mandarin, which would speak English texts"):
        options.build().make(tmp_path / "out", Runs())
