"""Ablations: questions with another row's audio, image or video, to show whether answers depend on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.batch.signals import question_media
from omnikit.data.text.templates import answer_texts

MEDIA = ("audio", "image", "video")  # types of parts that are shuffled
NAMES = {"image": "image", "video": "video", "audio": "audio", "text": "text"}  # in the order in which they are named


def shuffled(samples: Sequence[Sample], medium: str) -> list[Sample | None]:
    """Give each sample with another one's medium; None where that cannot be, or where no answer is expected."""
    return shuffled_audio(samples) if medium == "audio" else shuffled_visual(samples, medium)


def shuffled_audio(samples: Sequence[Sample]) -> list[Sample | None]:
    """Give each sample with the audio of another whose question is different; None for a sample without audio.

    All audios are rotated by one shift: the smallest that leaves the fewest samples with a question of the same text, and
    those few have None too. Rows of noise are left out.
    """
    spoken = [index for index, sample in enumerate(samples) if _has(sample, "audio") and state_of(sample) != "noise"]
    texts = [" ".join(p.text or str(index) for p in question_media(samples[index])) for index in spoken]
    shift = _shift(texts)
    result: list[Sample | None] = [None] * len(samples)
    for position, index in enumerate(spoken):
        other = (position + shift) % len(spoken)
        if texts[position] != texts[other]:
            result[index] = _with(samples[index], samples[spoken[other]], "audio")
    return result


def shuffled_visual(samples: Sequence[Sample], medium: str) -> list[Sample | None]:
    """Give each sample with the images (or videos) of another of its kind and language with another expected answer.

    The next such row of its kind after half of them, so that it is not a neighbour; None where there is none. A model that
    uses the images is then always wrong; one that guesses without them is as right as before.
    """
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        if _has(sample, medium) and answer_texts(sample.messages) and state_of(sample) != "noise":
            groups[sample.facts.get("kind", ""), sample.facts.get("language", "")].append(index)
    result: list[Sample | None] = [None] * len(samples)
    for group in groups.values():
        answers = [answer_texts(samples[index].messages)[-1].split() for index in group]
        for position, index in enumerate(group):
            candidates = ((position + len(group) // 2 + step) % len(group) for step in range(len(group)))
            other = next((other for other in candidates if answers[other] != answers[position]), None)
            if other is not None:
                result[index] = _with(samples[index], samples[group[other]], medium)
    return result


def state_of(sample: Sample) -> str:
    """Give the state of a sample's last question: that of its answer, or "audio" where it holds some, else "text"."""
    states = [message.state for message in sample.messages if message.role == "assistant"]
    if states and states[-1] is not None:
        return states[-1]
    last = [message for message in sample.messages if message.role == "user"][-1:]
    return "audio" if any(part.type == "audio" for message in last for part in message.content) else "text"


def modality(sample: Sample) -> str:
    """Name the media of a sample's questions: "image, audio"."""
    types = {part.type for message in sample.messages if message.role == "user" for part in message.content}
    return ", ".join(name for medium, name in NAMES.items() if medium in types)


def _has(sample: Sample, medium: str) -> bool:
    return any(part.type == medium for part in question_media(sample))


def _shift(texts: Sequence[str]) -> int:
    """Give the smallest shift after which the fewest positions hold the same text as before."""
    best, fewest = 0, len(texts)
    for shift in range(1, len(texts)):
        same = sum(a == b for a, b in zip(texts, [*texts[shift:], *texts[:shift]], strict=True))
        if same < fewest:
            best, fewest = shift, same
        if not fewest:
            break
    return best


def _with(sample: Sample, other: Sample, medium: str) -> Sample:
    """Give a sample whose question's parts of a medium are another's, in order; the other's last one where they run out."""
    found = [part for part in question_media(other) if part.type == medium]
    replacing: Iterator[ContentPart] = iter(found)
    messages: list[Message] = []
    for message in sample.messages:
        parts = message.content
        if message.role != "assistant":
            parts = tuple(next(replacing, found[-1]) if part.type == medium else part for part in parts)
        messages.append(replace(message, content=parts))
    return replace(sample, messages=tuple(messages))
