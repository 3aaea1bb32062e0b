"""The limits of a recipe's media reach every place that opens a file of audio, an image or a video."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import omnikit
from omnikit.contracts.types import ContentPart
from omnikit.data.batch.signals import check_header, load_waveform, recorded_samples
from omnikit.data.media.audio import audio_length, check_audio, load_audio
from omnikit.errors import DataError
from omnikit.recipe.media import MediaLimits
from omnikit.serving.settings import Limits

ROOT = Path(omnikit.__file__).parent
DOORS = {  # function: the number of its arguments before the limits
    "load_audio": 2, "audio_length": 3, "check_audio": 2, "load_image": 1, "image_size": 1, "open_video": 1, "load_frames": 2,
    "read_frames": 2, "load_signals": 3, "load_tiles": 2, "count_tiles": 2, "load_waveform": 3, "recorded_samples": 3,
    "audio_seconds": 1, "check_header": 1, "find_speech": 4, "MixtureDataset": 2, "as_question": 1, "read_problems": 3}


def calls(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in DOORS:
            has_limits = len(node.args) > DOORS[node.func.id] or any(word.arg == "limits" for word in node.keywords)
            yield "" if has_limits else f"{path.relative_to(ROOT)}:{node.lineno} {node.func.id}"


def test_every_call_passes_limits() -> None:
    found = [call for path in ROOT.rglob("*.py") for call in calls(path)]
    assert len(found) > 30 and not list(filter(None, found))


@pytest.fixture
def two_seconds(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", np.full(32000, 0.1), 16000)
    return tmp_path / "a.wav"


def test_a_longer_recording_is_refused_in_a_row(two_seconds: Path) -> None:
    part = ContentPart("audio", path=str(two_seconds))
    with pytest.raises(DataError, match=r"Row 1: .*a.wav has 2.0 s of audio, but at most 1.5 s are allowed"):
        load_waveform(part, 16000, "1", MediaLimits(max_seconds=1.5))


def test_a_larger_file_is_refused_by_every_door(two_seconds: Path) -> None:
    small, part = MediaLimits(max_bytes=1000), ContentPart("audio", path=str(two_seconds))
    with pytest.raises(DataError, match="at most 1,000 are allowed"):
        load_audio(two_seconds, 16000, limits=small)
    with pytest.raises(DataError, match="at most 1,000 are allowed"):
        check_audio(two_seconds, "a.wav", small)
    with pytest.raises(DataError, match="at most 1,000 are allowed"):
        check_header(part, small)
    assert audio_length(two_seconds, limits=small) == recorded_samples(part, 16000, limits=small) == 0


def test_a_server_keeps_to_the_smaller_limits() -> None:
    found = Limits(audio_seconds=60.0).within(MediaLimits(max_seconds=90.0, max_pixels=1000))
    assert found == replace(Limits(), audio_seconds=60.0, video_seconds=90.0, image_pixels=1000)
