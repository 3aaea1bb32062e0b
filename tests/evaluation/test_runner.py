"""Records of an evaluation, with a session that always gives the same answer."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from doubles import RATE, FakeCodec, FakeEncoder, FakeHead
from numpy.typing import NDArray
from torch import Tensor

from omnikit.contracts.specs import CodecSpec, FeatureSpec, SignalSpec
from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.evaluation.runner import EvalRunner
from omnikit.inference.answer import Answer
from omnikit.plan.plan import InputBranch, OutputBranch
from omnikit.recipe.media import MediaLimits

SPOKEN = ContentPart("audio", audio=np.ones(30, dtype=np.float32), sample_rate=RATE)
SPEECH = OutputBranch("speech", FakeHead("hidden", "codes"), FeatureSpec(4, count=1), FakeCodec(), FakeCodec().spec, 0,
                      FakeCodec())


class Units:
    """Makes one code of each sample, and speaks each as three samples."""

    def encode(self, wave: Tensor) -> Tensor:
        return torch.zeros(len(wave), 1, dtype=torch.int64)

    def decode(self, codes: Tensor) -> Tensor:
        return torch.full((3 * len(codes),), 0.5)


class Codec:
    """Speaks each code as one sample."""

    def decode(self, codes: Tensor) -> Tensor:
        return torch.ones(len(codes))


class FakeSession:
    """A session that answers every question with one word and ten samples of sound for its two codes."""

    recipe = SimpleNamespace(name="saying", media=MediaLimits())
    plan = SimpleNamespace(recipe=recipe, backbone=object(), template=None, outputs={})
    model = SimpleNamespace(units=lambda name: Units(), codec=lambda name: Codec())
    device = torch.device("cpu")

    def __init__(self, speech: OutputBranch | None) -> None:
        self.speech = speech

    def answers(self, samples: Sequence[Sample], *, speak: bool, greedy: bool) -> list[Answer]:
        assert greedy
        spoken = Answer("one", np.full(10, 0.1, dtype=np.float32), RATE, ((4,), (5,)))
        return [spoken if speak and self.speech else Answer("one")] * len(samples)


class FakeASR:
    """An ASR model whose transcript is the number of samples it gets, at twice the rate of the model's codec."""

    asr = replace(FakeEncoder())
    # type: ignore[arg-type]  # a double
    plan = SimpleNamespace(inputs={"audio": InputBranch("audio", SimpleNamespace(input=SignalSpec("audio", Fraction(2 * RATE))),
                                                  asr.output, None, None)},
                           outputs={"words": SimpleNamespace(head=SimpleNamespace(target="transcript", tap="audio.encoder"))})

    def transcribe(self, waves: Sequence[NDArray[np.float32]], sample_rate: int) -> list[str]:
        return [f"{len(wave)} at {sample_rate}" for wave in waves]


def row(name: str, *answer: ContentPart) -> Sample:
    asked = ContentPart("audio", text=name, audio=np.ones(5, dtype=np.float32), sample_rate=RATE)
    return Sample(name, (Message("user", (asked,)), Message("assistant", (ContentPart("text", text="one"), *answer))),
                  {"kind": "k"})


def runner(speech: OutputBranch | None = SPEECH, asr: object = None, **more: object) -> EvalRunner:
    return EvalRunner(FakeSession(speech), asr, **more)  # type: ignore[arg-type]  # doubles


def test_generated_and_ground_truth_speech_are_transcribed_and_measured() -> None:
    found = runner(asr=FakeASR()).records([row("a", SPOKEN), row("b")], "x")
    assert [(r.speech_transcript, r.seconds, r.codes) for r in found] == [("10 at 100", 0.1, (4, 5))] * 2
    assert [(r.ground_truth_transcript, r.ground_truth_seconds, r.ground_truth_code_count)
            for r in found] == [("60 at 200", 0.3, 30), (None, None, None)]
    assert [(r.expected, r.shuffled_audio, r.question, r.facts) for r in found] == [
        ("one", "one", ("a",), {"kind": "k"}), ("one", "one", ("b",), {"kind": "k"})]


def test_ground_truth_speech_is_transcribed_after_the_codec_alone() -> None:
    found, silent = runner(asr=FakeASR()).records([row("a", SPOKEN), row("b")], "x")
    assert (found.codec_transcript, found.mel_distance, found.used_codes, found.codebook_size) == ("30 at 100", None, (0,), 9)
    assert (silent.codec_transcript, silent.mel_distance, silent.used_codes, silent.codebook_size) == (None, None, (), None)


class Pair(FakeCodec):
    """Two codebooks, each frame coded."""

    @property
    def spec(self) -> CodecSpec:
        return CodecSpec(RATE, Fraction(RATE, 5), 2, self.size)


def test_audio_of_equal_times_is_compared_and_codes_of_each_book_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Units, "encode", lambda self, wave: torch.tensor([[1, 0]]).expand(len(wave), 2))
    [found] = runner(replace(SPEECH, codec=Pair(), units=Pair()), FakeASR()).records([row("a", SPOKEN)], "x")
    assert (found.mel_distance, found.stoi) == (0.0, None)  # the same ones; too short for STOI
    assert (found.used_codes, found.codebook_size, found.ground_truth_code_count) == ((1, 9), 18, 30)
    assert found.ltas_correlation is not None and 0.5 < found.ltas_correlation < 1  # steady, too, but shorter


def test_row_of_two_turns_is_transcribed_at_its_last_answer() -> None:
    first = replace(SPOKEN, audio=np.zeros(7, dtype=np.float32))
    talk = Sample("talk", (*row("a", first).messages, *row("b", SPOKEN).messages))
    [found] = runner(asr=FakeASR()).records([talk], "x")
    assert found.ground_truth_transcript == "60 at 200"


def test_units_decode_the_same_codes_instead_of_the_codec() -> None:
    [found] = runner(asr=FakeASR(), speaks_with="units").records([row("a")], "x")
    assert (found.codes, found.speech_transcript, found.seconds) == ((4, 5), "6 at 100", 0.06)


def test_speech_without_an_asr_model_is_measured_but_not_transcribed() -> None:
    [found] = runner().records([row("a", SPOKEN)], "x")
    assert (found.speech_transcript, found.ground_truth_transcript, found.seconds, found.ground_truth_seconds,
            found.ground_truth_code_count) == (None, None, 0.1, 0.3, 30)


def test_run_without_speech_has_its_texts() -> None:
    [found] = runner(speech=None).records([row("a", SPOKEN)], "x")
    assert (found.answer, found.codes, found.seconds, found.ground_truth_seconds) == ("one", (), None, None)


def test_audio_of_the_first_rows_is_saved(tmp_path: Path) -> None:
    found = runner(wavs=tmp_path / "wavs", batch_size=2, saved=3).records([row(name) for name in "abcd"], "x")
    assert [r.wav is not None for r in found] == [True, True, True, False]


def test_rows_are_numbered_over_batches_in_their_audio_files(tmp_path: Path) -> None:
    found = runner(wavs=tmp_path / "wavs", batch_size=2).records([row("a"), row("b"), row("c")], "x")
    assert [r.wav for r in found] == [f"wavs/x/0000{i}.wav" for i in range(3)]
    assert sorted(path.name for path in (tmp_path / "wavs" / "x").iterdir()) == ["00000.wav", "00001.wav", "00002.wav"]
