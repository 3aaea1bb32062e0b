"""Which frames of a video the released code hands to its reader, and where it gives up."""

from parity.case import Case

from omnikit.data.media.video import VideoFile, frames_by_rate
from omnikit.errors import DataError


def matches(case: Case) -> bool:
    return "frame sampling" in case.words


def replay(case: Case) -> None:
    for index, row in enumerate(case.words_out["table"]):
        span = None if row.get("start_s") is None or row.get("end_s") is None else (row["start_s"], row["end_s"])
        video = VideoFile(row["num_frames_in_file"], row["fps"])
        try:
            found = frames_by_rate(video, row["frames_per_second"], row["min_frames"], row["max_frames"], span)
        except DataError:
            found = None  # the original fails as well, with an error of its own
        case.equal(f"table {index}", found, None if row.get("error") else row["frame_indices"])
