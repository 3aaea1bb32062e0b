"""The metrics of Full-Duplex-Bench by its own definitions, in seconds, so that they stand beside its published tables.

Sources: v1 arXiv:2503.04721, v1.5 arXiv:2507.23159. Its words come from an ASR model and its segments from silero-vad on the
output's audio; here both come from the times at which audio was played.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Interval = tuple[float, float]

SHORT_SECONDS, SHORT_WORDS = 1.0, 3  # what is shorter and has no more words takes no turn
BACKCHANNEL_SECONDS, BACKCHANNEL_WORDS = 1.0, 2  # what is shorter and has no more words is a back-channel
USER_GAP, MODEL_GAP = 0.6, 0.5  # seconds of silence that do not end a segment


def take_over(words: Sequence[Interval]) -> bool:
    """Give whether the model takes the turn: not where it gives no words, or at most 3 words in less than 1 s."""
    if not words:
        return False
    return not (words[-1][1] - words[0][0] < SHORT_SECONDS and len(words) <= SHORT_WORDS)


def response_latency(words: Sequence[Interval], user_end: float) -> float | None:
    """Give from the user's end to the first word, at least 0; None where the model does not take the turn (v1)."""
    return max(0.0, words[0][0] - user_end) if take_over(words) else None


def backchannel_take_over(segments: Sequence[Interval], words: Sequence[Interval]) -> bool:
    """Give whether a segment of the model's audio is more than a back-channel: at least 1 s, or more than 2 words."""
    def counted(segment: Interval) -> int:
        return sum(segment[0] <= (start + end) / 2 <= segment[1] for start, end in words)

    return any(end - start >= BACKCHANNEL_SECONDS or counted((start, end)) > BACKCHANNEL_WORDS for start, end in segments)


def backchannel_frequency(segments: Sequence[Interval], seconds: float) -> float:
    """Give segments of the model's audio a second."""
    return len(segments) / seconds if seconds else 0.0


def merged(segments: Sequence[Interval], gap: float) -> list[Interval]:
    """Join segments with at most so much silence between them."""
    found: list[Interval] = []
    for start, end in sorted(segments):
        if found and start - found[-1][1] <= gap:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def stop_latencies(user: Sequence[Interval], model: Sequence[Interval]) -> list[float]:
    """Give how long each overlap of the user's segments with the model's lasts (v1.5)."""
    overlaps = [min(a[1], b[1]) - max(a[0], b[0]) for a in merged(user, USER_GAP) for b in merged(model, MODEL_GAP)]
    return [length for length in overlaps if length > 0]


def response_latencies(user: Sequence[Interval], model: Sequence[Interval]) -> list[float]:
    """Give from the end of each user's segment to the model's next start, before the user's next one (v1.5)."""
    segments, starts = merged(user, USER_GAP), [start for start, _ in merged(model, MODEL_GAP)]
    limits = [*(after[0] for _, after in pairwise(segments)), float("inf")]
    found = [next((start - end for start in starts if end <= start < limit), None)
             for (_, end), limit in zip(segments, limits, strict=True)]
    return [one for one in found if one is not None]
