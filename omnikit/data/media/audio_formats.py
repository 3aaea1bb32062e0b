"""Which container an audio file is, by its first bytes, and who reads it. Nothing else is opened: no playlist, no address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from omnikit.data.media.containers import container_format
from omnikit.data.media.mp3_frames import has_frames

PLAIN = ("WAV, FLAC, OGG, MP3, M4A, AAC, WebM, AIFF, AU, CAF, W64, AMR, WMA, WavPack, TTA, Monkey's Audio, AC-3 or the audio"
         " of an MP4, MKV, AVI, FLV or MPEG file")
SNDFILE = ("wav", "w64", "aiff", "au", "caf", "flac", "ogg", "nistsphere")  # formats that libsndfile reads
FFMPEG = ("mp3", "aac", "loas", "mov", "matroska", "asf", "amr", "avi", "flv", "mpegts", "mpeg", "wv", "tta", "ape", "ac3",
          "eac3", "voc")  # voc: libsndfile takes the header of a block for audio
SEARCHED = 1 << 16  # bytes in which the first frame of an MP3 must lie: a recording of a stream begins inside one


@dataclass(frozen=True)
class Container:
    """A declared container format.

    Args:
        name: FFmpeg's name of it.
        by_ffmpeg: whether FFmpeg reads it; False: libsndfile.
    """

    name: str
    by_ffmpeg: bool


def find_container(file: BinaryIO) -> Container | None:
    """Give the container of a file, read from its start; None where it is none that is declared."""
    name = container_format(file)
    if name in SNDFILE:
        return Container(name, False)
    if name in FFMPEG:
        return Container(name, True)
    file.seek(0)
    return Container("mp3", True) if name is None and has_frames(file.read(SEARCHED)) else None
