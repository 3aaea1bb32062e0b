"""python measure.py: what other programs make of each file that is accepted, written to measured.yaml.

Audio: ffmpeg's command, whose FFmpeg is older than PyAV's and has its own code for what libsndfile reads; where it stops at the
first of joined files, each of them by itself; where it misreads a header, sox, or the samples themselves. Videos: ffmpeg's
command and the time stamps that ffprobe prints. Neither uses anything of omnikit.
"""

import json
import shlex
import subprocess
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

HERE = Path(__file__).parent
VALUES = 24  # of a file's audio, evenly spaced
GRID = (3, 4)  # rows and columns of a frame whose mean colours are written
JOINED = {"joined_tagged.mp3": 2, "joined.wav": 2, "joined_pipes.wav": 2, "joined.flac": 2, "joined.m4a": 2,
          "joined.aiff": 2, "joined.webm": 2, "joined.wma": 2, "chained.ogg": 2}  # of equal files
SOX = ("vorbis.ogg", "chained.ogg", "rifx.wav", "big_endian.wav")  # ffmpeg 5 keeps what a last page cuts off, swaps RIFX
RAW = ("piped_rf64.wav", "unstated_rf64.wav", "pipe.w64", "s24_in_32.wav")  # ffmpeg takes their headers otherwise
SKIPPED = ("two_rates.mp3", "chained_codecs.ogg", "garbage_between.mp3", "cut_in_frame.mp3")  # ffmpeg drops or changes frames
TAG_BEHIND = {"id3v1.mp3": 128}  # bytes that ffmpeg 5 counts as a frame
REASONS = {  # codec: largest difference of a sample, why
    "opus": 0.03, "speex": 0.01,  # libsndfile decodes Opus at the rate that was encoded, and it is resampled
    "adpcm_ima_qt": 0.006, "adpcm_ima_wav": 0.002, "adpcm_ms": 0.002,  # libsndfile rounds a step otherwise
    "mp3": 0.0001, "aac": 0.0001, "vorbis": 0.0001, "ac3": 0.0001}  # floats, of other versions and instruction sets


def run(command: str, given: bytes | None = None) -> bytes:
    return subprocess.run(shlex.split(command), input=given, capture_output=True, check=False).stdout


def facts(path: Path) -> dict[str, str]:
    found = run(f"ffprobe -v error -select_streams a:0 -show_entries stream=codec_name,sample_rate,channels -of json {path}")
    streams: list[dict[str, str]] = json.loads(found)["streams"]
    return streams[0]


def decode(path: Path, channels: int, tool: str) -> NDArray[np.float32]:
    raw = run(f"sox {path} -t f32 -") if tool == "sox" else run(f"ffmpeg -v error -i {path} -map 0:a:0 -f f32le -")
    return np.frombuffer(raw, np.float32).reshape(-1, channels).mean(axis=1)


def raw_samples(path: Path) -> tuple[NDArray[np.float32], str]:
    """Give the audio of files whose headers ffmpeg takes otherwise."""
    if path.suffix == ".w64":
        return np.frombuffer(path.read_bytes()[-6400:], "<i2") / np.float32(32768), "the last 6400 bytes"
    if path.name == "s24_in_32.wav":
        return np.frombuffer(path.read_bytes()[-16000:], "<i4") / np.float32(2**31), "the last 16000 bytes"
    return np.frombuffer(path.read_bytes()[-16000:], "<i2") / np.float32(32768), "the last 16000 bytes"


def audio(path: Path) -> dict[str, object]:
    if path.name in RAW:
        found, by = raw_samples(path)
        return summary(found, 16000, by, 1e-6)
    stream = facts(path)
    rate, channels, codec = int(stream["sample_rate"]), int(stream["channels"]), stream["codec_name"]
    by = tool = "sox" if path.name in SOX else "ffmpeg"
    if path.name in TAG_BEHIND:
        data, by = path.read_bytes(), "ffmpeg, without the tag behind the last frame"
        bare = path.with_name(f"bare{path.suffix}")
        bare.write_bytes(data[:-TAG_BEHIND[path.name]])
        found = decode(bare, channels, tool)
        bare.unlink()
    elif path.name in JOINED:
        data, by = path.read_bytes(), f"{tool}, each half"
        half = path.with_name(f"half{path.suffix}")
        half.write_bytes(data[:len(data) // JOINED[path.name]])
        found = np.tile(decode(half, channels, tool), JOINED[path.name])
        half.unlink()
    else:
        found = decode(path, channels, tool)
    return summary(found, rate, by, REASONS.get(codec.removesuffix("_latm").replace("eac3", "ac3"), 1e-6))


def summary(found: NDArray[np.float32], rate: int, by: str, tolerance: float) -> dict[str, object]:
    at = np.linspace(0, len(found) - 1, VALUES).astype(int)
    return {"by": by, "rate": rate, "samples": len(found), "tolerance": tolerance,
            "values": [round(float(value), 6) for value in found[at]]}


def video(path: Path) -> dict[str, object]:
    shown = run(f"ffprobe -v error -select_streams v:0 -show_entries frame=pts_time,best_effort_timestamp_time,pkt_dts_time"
                f" -of json {path}")
    frames = json.loads(shown)["frames"]
    size = run(f"ffmpeg -v error -i {path} -map 0:v:0 -frames:v 1 -f image2 -c:v ppm -").split(maxsplit=3)[1:3]
    width, height = int(size[0]), int(size[1])
    decoder = "-c:v libvpx-vp9 " if path.name == "alpha.webm" else ""  # FFmpeg's own VP9 has no transparency
    raw = run(f"ffmpeg -v error {decoder}-i {path} -map 0:v:0 -vsync passthrough -pix_fmt rgba -f rawvideo -")
    pixels = np.frombuffer(raw, np.uint8).reshape(-1, height, width, 4).astype(float)
    colours, alpha = pixels[..., :3], pixels[..., 3:] / 255
    white = colours * alpha + 255 * (1 - alpha)
    times = shown_times(path, frames)
    rate = 1 / float(np.median(np.diff(times))) if len(times) > 1 else 25.0
    chosen = [int(np.searchsorted(times, number / rate + 1e-4, side="right")) - 1 for number in sampled(times, rate)]
    return {"by": "ffmpeg", "frames": count(times, rate), "size": [width, height],
            "tolerance": 6 if path.name == "two_sizes.webm" else 4,  # resized, too
            "sampled": [grid(white[number]) for number in chosen]}


def shown_times(path: Path, frames: list[dict[str, str]]) -> NDArray[np.float64]:
    """Give when frames are shown; where time stamps are missing or go back, as at a joint, frames follow evenly."""
    times = np.array([float(frame.get("best_effort_timestamp_time", frame.get("pts_time", "nan"))) for frame in frames])
    if np.isfinite(times).all() and (np.diff(times) > 0).all():
        return times - times[0]
    stated = run(f"ffprobe -v error -select_streams v:0 -show_entries stream=r_frame_rate -of csv=p=0 {path}").split()
    over, under = stated[0].strip(b",").split(b"/")
    return np.arange(len(frames)) * int(under) / int(over)


def count(times: NDArray[np.float64], rate: float) -> int:
    """Give the frames that a video has at its usual rate; its last one is shown as long as most."""
    return round(float(times[-1]) * rate + 1)


def sampled(times: NDArray[np.float64], rate: float) -> list[int]:
    """Give the frames, counted at the usual rate, that VITA-1.5 takes: 4 below 4 s, one a second to 16 (arXiv:2501.01957)."""
    frames = count(times, rate)
    seconds = frames / rate
    if 4 <= seconds <= 16:
        return [min(round(second * rate), frames - 1) for second in range(int(seconds))]
    return [round(number) for number in np.linspace(0, frames - 1, 4 if seconds < 4 else 16).tolist()]


def grid(frame: NDArray[np.float64]) -> list[int]:
    rows = [part for band in np.array_split(frame, GRID[0], axis=0) for part in np.array_split(band, GRID[1], axis=1)]
    return [int(value + 0.5) for part in rows for value in part.mean(axis=(0, 1)).tolist()]


found: dict[str, dict[str, object]] = {}
for entry in yaml.safe_load((HERE / "files.yaml").read_text())["files"]:
    kind, name = entry["name"].split("/")
    if "refused" in entry or kind == "image" or name in SKIPPED:
        continue
    found[entry["name"]] = audio(HERE / entry["name"]) if kind == "audio" else video(HERE / entry["name"])
(HERE / "measured.yaml").write_text(yaml.safe_dump(found, default_flow_style=None, width=125, sort_keys=False))
