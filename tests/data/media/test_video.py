"""Videos: which frames are seen, that they are the right ones, and videos that cannot be read."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from omnikit.contracts.specs import ImageSpec
from omnikit.data.media.video import (
    VideoFile,
    frame_indices,
    frames_by_duration,
    frames_by_rate,
    load_frames,
    open_video,
    save_video,
)
from omnikit.errors import DataError, RunError

EIGHT = ImageSpec(8)


def grey(frames: int, height: int = 16, width: int = 16) -> NDArray[np.uint8]:
    """Give frames that grow lighter evenly."""
    return np.broadcast_to(np.linspace(0, 255, frames).astype(np.uint8)[:, None, None, None], (frames, height, width, 3))


@pytest.mark.parametrize(("frames", "indices"), [
    (75, [0, 25, 49, 74]),  # 3 s: four from end to end
    (100, [0, 25, 50, 75]),  # 4 s: one a second
    (262, [0, 25, 50, 75, 100, 125, 150, 175, 200, 225]),  # 10.5 s
    (1, [0, 0, 0, 0]),
])
def test_short_videos_follow_the_paper(frames: int, indices: list[int]) -> None:
    assert frames_by_duration(VideoFile(frames, 25.0)) == indices


@pytest.mark.parametrize("frames", [401, 2500, 180_000])
def test_a_long_video_gives_sixteen_frames_from_end_to_end(frames: int) -> None:
    found = frames_by_duration(VideoFile(frames, 25.0))
    assert (len(found), found[0], found[-1]) == (16, 0, frames - 1)
    assert max(np.diff(found)) - min(np.diff(found)) <= 1


def test_a_rate_of_its_own_takes_the_released_rule() -> None:
    assert frame_indices(VideoFile(60, 30.0), ImageSpec(8, frame_rate=3.0)) == frames_by_rate(VideoFile(60, 30.0), 3.0, 4, 16)


@pytest.mark.parametrize("frames", [12, 300])
def test_frames_are_those_that_were_chosen(frames: int, tmp_path: Path) -> None:
    video = grey(frames)
    save_video(tmp_path / "a.mp4", video, 12.5)
    assert open_video(tmp_path / "a.mp4") == VideoFile(frames, 12.5)
    found = load_frames(tmp_path / "a.mp4", EIGHT)
    expected = video[frame_indices(VideoFile(frames, 12.5), EIGHT)]
    assert np.abs(found.astype(int) - expected).max() <= 3  # of 255: a video's colours are rounded; frames are 21 or 0.9 apart


def test_frames_behind_a_key_frame_are_those_of_a_whole_decode(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    save_video(tmp_path / "a.mp4", rng.integers(0, 256, (600, 16, 16, 3), dtype=np.uint8), 25.0)
    with av.open(str(tmp_path / "a.mp4")) as container:
        every = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    found = load_frames(tmp_path / "a.mp4", EIGHT)
    np.testing.assert_array_equal(found, np.stack([every[index] for index in frame_indices(VideoFile(600, 25.0), EIGHT)]))


@pytest.mark.parametrize(("degrees", "corner"), [(90, (-1, 0)), (180, (-1, -1)), (-90, (0, -1))])
def test_a_rotated_video_is_turned_back(degrees: int, corner: tuple[int, int], tmp_path: Path) -> None:
    frames = np.zeros((4, 32, 32, 3), dtype=np.uint8)
    frames[:, :16, :16] = 255  # light in the first corner
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=1)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        stream.set_display_rotation(degrees)
        container.mux([packet for frame in frames for packet in stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24"))])
        container.mux(stream.encode(None))
    found = load_frames(tmp_path / "a.mp4", EIGHT)[0]
    assert found[corner].min() > 240 and found.mean() < 80  # degrees count against the clock


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def silence(path: Path) -> None:
    from omnikit.data.media.audio import save_audio

    save_audio(path.with_suffix(".wav"), np.zeros(1600, dtype=np.float32), 16000)
    path.with_suffix(".wav").replace(path)


@pytest.mark.parametrize(("damage", "text"), [
    (Path.unlink, "a.mp4 does not exist, but a video should be there"),
    (lambda path: path.write_bytes(b"no video"), r"a.mp4 is not a readable video, but must be an MP4 .*AVI"),
    (lambda path: path.write_bytes(b""), "a.mp4 is not a readable video"),
    (cut, "a.mp4 is not a readable video|a.mp4 is cut short"),
    (silence, "a.mp4 is not a readable video, but must be an MP4"),
], ids=["missing", "text", "empty", "cut", "sound"])
def test_broken_video_is_one_sentence(damage: Callable[[Path], None], text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    save_video(path, grey(30), 10.0)
    damage(path)
    with pytest.raises(DataError, match=text):
        load_frames(path, EIGHT)


def test_a_video_that_promises_more_frames_is_cut_short(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.avi"), "w") as container:  # its header stands in front
        stream = container.add_stream("mjpeg", rate=10)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuvj420p"
        container.mux([packet for frame in grey(30) for packet in stream.encode(av.VideoFrame.from_ndarray(
            np.ascontiguousarray(frame), "rgb24"))])
    cut(tmp_path / "a.avi")
    with pytest.raises(DataError, match=r"a.avi is cut short \(\d+ of 30 frames are there\); write or copy it again"):
        load_frames(tmp_path / "a.avi", EIGHT)


@pytest.mark.parametrize(("video", "rate", "span", "text"), [
    (VideoFile(100, 10.0), 30.0, None, "The video has 10 frames a second, but 30 are asked for; set frame_rate below 20"),
    (VideoFile(100, 10.0), 1.0, (11, 12), "The video has 10 s, but second 11 of it is asked for"),
])
def test_impossible_frames_are_refused(video: VideoFile, rate: float, span: tuple[float, float] | None, text: str) -> None:
    with pytest.raises(DataError, match=text):
        frames_by_rate(video, rate, 4, 16, span)


@pytest.mark.parametrize(("frames", "text"), [
    (grey(2, 15), "has frames of 16 x 15 pixels, but a video's sides must be even"),
    (grey(2)[0], r"has pixels of shape \[16, 16, 3\] and type uint8, but must be \[frames, height, width, 3\]"),
])
def test_what_is_not_a_video_is_not_written(frames: NDArray[np.uint8], text: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=text):
        save_video(tmp_path / "a.mp4", frames, 10.0)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"a.mp4 cannot be written: No such file or directory"):
        save_video(tmp_path / "no" / "a.mp4", grey(2), 10.0)
