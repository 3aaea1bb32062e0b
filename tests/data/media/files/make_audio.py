"""python make_audio.py SRC NAME: write a file that no encoder writes as it is, of a WAV of 16 bits and one channel."""

import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

source, name = Path(sys.argv[1]), sys.argv[2]
PCM = source.read_bytes()[-16000:]


def chunk(kind: bytes, content: bytes, size: int | None = None) -> bytes:
    return kind + struct.pack("<I", len(content) if size is None else size) + content + b"\0" * (len(content) % 2)


def form(tag: int = 1, channels: int = 1, bits: int = 16, extra: bytes = b"") -> bytes:
    step = max(1, channels * bits // 8)
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, 16000, 16000 * step, step, bits) + extra)


def wav(*chunks: bytes, riff: int | None = None, kind: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return kind + struct.pack("<I", len(body) if riff is None else riff) + body


def rf64(promised: int) -> bytes:
    sizes = chunk(b"ds64", struct.pack("<QQQI", min(promised + 72, 2**64 - 1), promised, promised // 2, 0))
    return wav(sizes, form(), chunk(b"data", PCM, 0xFFFFFFFF), riff=0xFFFFFFFF, kind=b"RF64")


def encoded(arguments: str) -> bytes:
    return subprocess.run(arguments.split(), check=True, capture_output=True).stdout


def mp3(rate: int, layout: str = "m") -> bytes:
    return encoded(f"lame --quiet -t -b 64 --resample {rate / 1000} -m {layout} {source} -")


def garbage(count: int) -> bytes:
    return bytes(random.Random(1).choices(range(256), k=count))


def ape_tag() -> bytes:
    items = b"\xff\xfb\x90\x64" * 100
    head = struct.pack("<IIII", 2000, len(items) + 32, 1, 0xA0000000)
    foot = struct.pack("<IIII", 2000, len(items) + 32, 1, 0x80000000)
    return b"APETAGEX" + head + b"\0" * 8 + items + b"APETAGEX" + foot + b"\0" * 8


def swapped() -> bytes:
    body = b"".join(PCM[at + 1:at + 2] + PCM[at:at + 1] for at in range(0, len(PCM), 2))
    return (b"RIFX" + struct.pack(">I", 36 + len(body)) + b"WAVEfmt " + struct.pack(">IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16)
            + b"data" + struct.pack(">I", len(body)) + body)


def wide() -> bytes:
    extra = struct.pack("<HHI", 22, 24, 4) + bytes.fromhex("0100000000001000800000aa00389b71")
    content = b"".join(b"\0\0" + PCM[at:at + 2] for at in range(0, 8000, 2))
    return wav(form(0xFFFE, bits=32, extra=extra), chunk(b"data", content))


WHOLE = wav(form(), chunk(b"data", PCM))
MAKERS: dict[str, Callable[[], bytes]] = {
    "size_ffffffff.wav": lambda: wav(form(), chunk(b"data", PCM, 0xFFFFFFFF), riff=0xFFFFFFFF),
    "size_7fffffff.wav": lambda: wav(form(), chunk(b"data", PCM, 0x7FFFFFFF), riff=0x7FFFFFFF),
    "riff_0.wav": lambda: wav(form(), chunk(b"data", PCM), riff=0),
    "list_behind.wav": lambda: wav(form(), chunk(b"data", PCM), chunk(b"LIST", b"INFOISFT\x06\0\0\0Lavf\0\0")),
    "odd_chunk.wav": lambda: wav(chunk(b"LIST", b"INFOISFT\x05\0\0\0Lavf\0"), form(), chunk(b"fact", b"\x63\0\0\0"),
                                 chunk(b"data", PCM)),
    "align_0.wav": lambda: wav(chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 16000, 0, 0, 16)), chunk(b"data", PCM)),
    "rifx.wav": swapped, "s24_in_32.wav": wide,
    "piped_rf64.wav": lambda: rf64(0), "unstated_rf64.wav": lambda: rf64(2**64 - 1), "cut_rf64.wav": lambda: rf64(2 * len(PCM)),
    "joined.wav": lambda: WHOLE + WHOLE,
    "joined_pipes.wav": lambda: 2 * wav(form(), chunk(b"data", PCM, 0x7FFFF000), riff=0x7FFFF024),
    "garbage_first.mp3": lambda: garbage(777) + mp3(16000),
    "garbage_between.mp3": lambda: mp3(16000)[:2304] + garbage(777) + mp3(16000)[2304:],
    "zeros_first.mp3": lambda: b"\0" * 3000 + mp3(16000),
    "ape_behind.mp3": lambda: mp3(16000) + ape_tag(), "ape_first.mp3": lambda: ape_tag() + mp3(16000),
    "two_rates.mp3": lambda: mp3(16000) + mp3(24000), "cut_in_frame.mp3": lambda: mp3(16000)[:-100],
    "codec_unknown.wav": lambda: wav(form(0x1234), chunk(b"data", PCM)),
    "no_channel.wav": lambda: wav(form(channels=0), chunk(b"data", PCM)),
    "no_fmt.wav": lambda: wav(chunk(b"data", PCM)), "no_samples.wav": lambda: wav(form(), chunk(b"data", b"")),
    "integers_as_floats.wav": lambda: wav(form(3, bits=32), chunk(b"data", struct.pack("<4f", 0, 12000, -9000, 5) * 100)),
    "not_finite.wav": lambda: wav(form(3, bits=32), chunk(b"data", struct.pack("<4f", 0, float("nan"), 1, 0) * 100)),
    "playlist.mp3": lambda: b"#EXTM3U\n/etc/hostname\n", "concat.wav": lambda: b"ffconcat version 1.0\nfile s16.wav\n",
    "lfs.wav": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 100\n",
    "utf16.txt": lambda: "no audio".encode("utf-16")}
Path(name).write_bytes(MAKERS[name]())
