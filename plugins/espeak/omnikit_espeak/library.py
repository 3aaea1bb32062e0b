"""The espeak-ng shared library behind one call: text and voice to samples.

espeak-ng keeps its settings, its random numbers and the phase of its oscillators in globals that nothing resets, so the
same words sound different the second time. Every call therefore loads the library afresh, which takes 2 ms. To find a voice it
reads the file of every language and speaker there is; so each call shows it a folder with those of its own voice alone.
Independent of omnikit's sample rates.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import NamedTuple

import espeakng_loader
import numpy as np
from numpy.typing import NDArray

SYNCHRONOUS = 2  # espeak-ng speak_lib.h: AUDIO_OUTPUT_SYNCHRONOUS
RATE, VOLUME, PITCH, RANGE = 1, 2, 3, 4  # speak_lib.h: espeak_PARAMETER
DEFAULT_VOLUME, DEFAULT_RANGE = 100, 50  # speak_lib.h: defaults of espeakVOLUME and espeakRANGE
UTF8 = 1  # speak_lib.h: espeakCHARS_UTF8
OK = 0  # speak_lib.h: EE_OK

_LOCK = Lock()
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class _Voice(ctypes.Structure):
    """One entry of espeak_ListVoices (speak_lib.h: espeak_VOICE)."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("reserved", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


class Facts(NamedTuple):
    """What the installed espeak-ng is: its version, the samples per second it gives, its languages and its speakers."""

    version: str
    sample_rate: int
    voices: tuple[str, ...]
    variants: tuple[str, ...]


@cache
def facts() -> Facts:
    """Ask the library once."""
    with _loaded(_data()) as (lib, sample_rate):
        lib.espeak_Info.restype = ctypes.c_char_p
        lib.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        version = lib.espeak_Info(None).decode().split()[0]
        entries = lib.espeak_ListVoices(None)
        voices: set[str] = set()
        for entry in entries:
            if not entry:
                break
            voices.add(entry.contents.identifier.decode().rsplit("/", 1)[-1].lower())
    variants = sorted(path.name for path in (_data() / "voices" / "!v").iterdir())
    return Facts(version, sample_rate, tuple(sorted(voices)), tuple(variants))


def synthesize(text: str, voice: str, speed: int, pitch: int) -> NDArray[np.int16]:
    """Give the samples of `text` at `facts().sample_rate`.

    Raises:
        LookupError: espeak-ng has no such voice.
    """
    chunks: list[NDArray[np.int16]] = []

    def collect(samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int | None) -> int:
        if samples and count > 0:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = _Callback(collect)
    with _loaded(_data_of(voice)) as (lib, _):
        lib.espeak_SetSynthCallback(callback)
        if lib.espeak_SetVoiceByName(voice.encode()) != OK:
            raise LookupError(voice)
        for parameter, value in ((RATE, speed), (VOLUME, DEFAULT_VOLUME), (PITCH, pitch), (RANGE, DEFAULT_RANGE)):
            lib.espeak_SetParameter(parameter, value, 0)
        lib.espeak_ng_SetRandSeed(ctypes.c_long(1))  # breath noise
        data = text.encode() + b"\0"
        status = lib.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 0, 0, UTF8, None, None)
        assert status == OK, f"espeak_Synth gave {status} for {text!r}"
        lib.espeak_Synchronize()
    return np.concatenate(chunks) if chunks else np.zeros(0, np.int16)


@contextmanager
def _loaded(data: Path) -> Iterator[tuple[ctypes.CDLL, int]]:
    """Load and start the library with a folder of data; give it and its sample rate; stop and unload it."""
    with _LOCK:
        lib = ctypes.CDLL(espeakng_loader.get_library_path())
        sample_rate: int = lib.espeak_Initialize(SYNCHRONOUS, 0, str(data).encode(), 0)
        assert sample_rate > 0, f"espeak-ng found no data in {data}"
        try:
            yield lib, sample_rate
        finally:
            lib.espeak_Terminate()
            ctypes.CDLL(None).dlclose(ctypes.c_void_p(lib._handle))


@cache
def _data_of(voice: str) -> Path:
    """Give a folder, of this process, with links to the data that one voice needs; all data where its file has another name."""
    language, _, variant = voice.partition("+")
    found = [file for file in (_data() / "lang").rglob("*") if file.is_file() and file.name.lower() == language.lower()]
    speaker = [_data() / "voices" / "!v" / variant] if variant else []
    if len(found) != 1 or not all(file.is_file() for file in speaker):
        return _data()
    folder = Path(_links().name) / voice
    for file in (*found, *speaker, *(path for path in _data().iterdir() if path.name not in ("lang", "voices"))):
        link = folder / file.relative_to(_data())
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    return folder


@cache
def _links() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="omnikit_espeak_")  # removed when the process ends


def _data() -> Path:
    return Path(espeakng_loader.get_data_path())
