"""Voices in files: taken from a recording by `ticodec`, spoken with, and refused where they are somebody else's."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from omnikit_vita.ticodec import TiCodec
from omnikit_vita.ticodec_model import TiCodecModel

from omnikit.cli import main
from omnikit.data.media.audio import save_audio
from omnikit.errors import DataError, RunError
from omnikit.inference import builder_runs
from omnikit.inference.voices import extract, read, use
from omnikit.plan.plan import OutputBranch
from omnikit.recipe.media import MediaLimits

SMALL = TiCodec(codes=16, dim=32, channels=32, rates=(4, 3), kernels=(8, 5), block_kernels=(3,), block_dilations=((1, 2),),
                encoder_channels=8, global_dim=16, global_groups=4, global_codes=32, global_hidden=4, sample_rate=8000)


def build(seed: int = 2, config: TiCodec = SMALL) -> TiCodecModel:
    torch.manual_seed(seed)
    module = TiCodecModel(config).eval()
    for name, weight in module.named_parameters():
        if "embedding" in name:
            torch.nn.init.normal_(weight)
    return module


def output(codec: TiCodecModel) -> OutputBranch:
    return cast(OutputBranch, SimpleNamespace(name="speech", codec=codec.config))  # all that is asked of one


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    wave = 0.3 * np.random.default_rng(1).standard_normal(4000).astype(np.float32)
    save_audio(tmp_path / "ref.wav", wave, 8000)
    return tmp_path / "ref.wav"


def test_voice_of_a_recording_goes_through_a_file(reference: Path, tmp_path: Path) -> None:
    codec = build()
    voice = extract(output(codec), codec, reference)
    voice.save(tmp_path / "a.json")
    assert read(tmp_path / "a.json") == voice and voice.source == "ref.wav" and len(voice.tokens) == 4
    before = codec.decode(torch.tensor([[3], [1], [4]]))
    use(output(codec), codec, tmp_path / "a.json")
    assert codec.voice.tolist() == list(voice.tokens)
    assert not torch.equal(codec.decode(torch.tensor([[3], [1], [4]])), before)


def test_a_codec_that_speaks_in_another_voice_encodes_the_same(reference: Path) -> None:
    codec = build()
    first = extract(output(codec), codec, reference)
    codec.voice.copy_(torch.tensor([1, 2, 3, 4]))
    assert extract(output(codec), codec, reference) == first


def test_voice_of_other_weights_is_refused(reference: Path, tmp_path: Path) -> None:
    codec, other = build(), build(3)
    extract(output(codec), codec, reference).save(tmp_path / "a.json")
    with pytest.raises(RunError, match=r"a\.json is a voice of other weights .* extract it again with omnikit voice extract"):
        use(output(other), other, tmp_path / "a.json")


def test_voice_of_another_length_is_refused(reference: Path, tmp_path: Path) -> None:
    codec = build()
    voice = extract(output(codec), codec, reference)
    replace(voice, tokens=(1, 2)).save(tmp_path / "a.json")
    with pytest.raises(RunError, match=r"has 2 tokens, but a voice of speech\.codec has 4"):
        use(output(codec), codec, tmp_path / "a.json")


@pytest.mark.parametrize(("text", "sentence"), [
    ("{", r"v\.json is not JSON"),
    ("[1]", r"v\.json is not a voice file"),
    ("{}", r"v\.json is not a voice file: it must have a list of tokens"),
    ('{"voice": [1, "two"]}', "is not a voice file"),
    ('{"voice": []}', "is not a voice file"),
])
def test_other_files_are_refused(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text(text)
    with pytest.raises(RunError, match=sentence):
        read(tmp_path / "v.json")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"v\.json is missing"):
        read(tmp_path / "v.json")


def test_a_recording_shorter_than_a_frame_is_refused(tmp_path: Path) -> None:
    save_audio(tmp_path / "s.wav", np.ones(5, np.float32), 8000)
    with pytest.raises(DataError, match="take some seconds of speech"):
        extract(output(build()), build(), tmp_path / "s.wav")


def test_codec_without_voices_is_refused(reference: Path) -> None:
    plain = SimpleNamespace(encode=None, decode=None)
    with pytest.raises(RunError, match=r"speech\.codec has one voice only, .* pick a codec with voices: ticodec"):
        extract(output(build()), plain, reference)


# ---- the command ----


def test_command_keeps_a_voice(reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                               capsys: pytest.CaptureFixture[str]) -> None:
    codec = build()
    monkeypatch.setattr(builder_runs.BuilderRuns, "codec", lambda self, run: (output(codec), codec))
    monkeypatch.setattr(builder_runs, "media_limits", lambda run: MediaLimits())
    assert main(["voice", "extract", str(reference), "--out", str(tmp_path / "a.json"), "some/run"]) == 0
    saved = json.loads((tmp_path / "a.json").read_text())
    assert saved["voice"] == codec.voice_tokens(torch.from_numpy(wave_of(reference))).tolist() and saved["sample_rate"] == 8000
    assert " ".join(map(str, saved["voice"])) in capsys.readouterr().out


@pytest.mark.parametrize(("words", "sentence"), [
    (["ref.wav", "--out", "a.wav", "run"], "a voice is written to a JSON file"),
    (["ref.wav", "--out", "gone/a.json", "run"], "there is no folder gone"),
    (["ref.wav", "--out", "a.json", "no/run"], "no/run is not a run"),
    (["ref.wav", "--out", "a.json", "asr/tiny"], "cannot speak, because asr/tiny has no speech branch"),
    (["ref.wav", "run"], "required: --out"),
])
def test_command_refuses(words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                         capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["voice", "extract", *words]) == 2
    assert re.search(sentence, capsys.readouterr().err)


def wave_of(path: Path) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    from omnikit.data.media.audio import load_audio

    return load_audio(path, 8000)
