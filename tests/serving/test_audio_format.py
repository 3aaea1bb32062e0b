"""Audio on the wire, held against libsndfile's own G.711."""

import io

import numpy as np
import pytest
import soundfile

from omnikit.serving.protocol.audio_format import AudioFormat, read_format
from omnikit.serving.protocol.fields import Fields, ProtocolError

SUBTYPES = {"audio/pcmu": "ULAW", "audio/pcma": "ALAW"}
ALL = np.arange(-32768, 32768, dtype=np.int16)


def reference(samples: np.ndarray, subtype: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 8000, format="RAW", subtype=subtype)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", SUBTYPES)
def test_every_code_is_decoded_as_libsndfile_does(kind: str) -> None:
    codes = bytes(range(256))
    expected, _ = soundfile.read(io.BytesIO(codes), format="RAW", subtype=SUBTYPES[kind], samplerate=8000, channels=1,
                                 dtype="int16")
    assert (AudioFormat(kind).decode(codes) * 32768).tolist() == expected.tolist()


@pytest.mark.parametrize("kind", SUBTYPES)
def test_a_sample_becomes_the_nearest_code_or_its_neighbour(kind: str) -> None:
    wave = ALL.astype(np.float32) / 32768
    found = AudioFormat(kind).decode(AudioFormat(kind).encode(wave))
    expected = AudioFormat(kind).decode(reference(ALL, SUBTYPES[kind]))
    step = np.maximum(np.abs(wave) / 16, 16 / 32768)  # a step is at most 1/16 of the amplitude; 16 near silence
    assert (np.abs(found - wave) <= step).all()
    assert (np.abs(found - expected) <= step).all()


def test_pcm_round_trip_is_exact() -> None:
    data = ALL.astype("<i2").tobytes()
    assert AudioFormat().encode(AudioFormat().decode(data)) == data


def test_pcm_clips_and_leaves_out_half_a_sample() -> None:
    assert AudioFormat().encode(np.array([2.0, -2.0], np.float32)) == b"\xff\x7f\x00\x80"
    assert len(AudioFormat().decode(b"\x00\x00\x01")) == 1


def test_another_rate_is_refused() -> None:
    with pytest.raises(ProtocolError, match=r"'format\.rate' is 16000, but must be 24000; resample"):
        read_format(Fields({"type": "audio/pcm", "rate": 16000}, "format"))
