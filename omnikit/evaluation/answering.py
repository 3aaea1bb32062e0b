"""A run answers its held-out questions, again with another question's audio, and a recogniser hears what it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from omnikit.data.media import save_audio
from omnikit.data.signals import questions, spoken, waveform
from omnikit.data.templates import said
from omnikit.errors import DataError, PlanError
from omnikit.evaluation.records import Record
from omnikit.inference.session import Session
from omnikit.training.progress import progress
from omnikit.types import Answer, Message, Part, Sample

Sound = tuple[NDArray[np.float32], int]


@dataclass(frozen=True)
class Examiner:
    """Asks a session and keeps what came of it.

    Args:
        ear: the recogniser's session; None where nothing shall be heard.
        speaks_with: "codec" lets the model speak as always, "units" lets what makes the codes speak them.
        wavs: folder for the generated speech; None keeps none.
    """

    session: Session
    ear: Session | None = None
    speaks_with: str = "codec"
    wavs: Path | None = None
    batch_size: int = 32

    def __post_init__(self) -> None:
        outlet = self.session.speech
        if self.speaks_with == "units" and not (outlet and outlet.units and outlet.units.decodes):
            raise PlanError(f"{self.session.plan.recipe.name} has no speech.units that speak, so --speak-with units cannot be"
                            " heard; leave it out, or train a recipe whose units decode (mel_units).")

    def records(self, samples: Sequence[Sample], title: str) -> list[Record]:
        """Ask every question of a dataset."""
        others = rotated(samples)
        rows: list[Record] = []
        with progress(f"eval {title}") as report:
            for start in range(0, len(samples), self.batch_size):
                part = slice(start, start + self.batch_size)
                rows += self._batch(samples[part], others[part], title, start)
                report(len(rows) / len(samples))
        return rows

    def _batch(self, samples: Sequence[Sample], others: Sequence[Sample | None], title: str, start: int) -> list[Record]:
        expected = [_expected(sample) for sample in samples]
        answers = [self._spoken(a) for a in self.session.answers(samples, speak=self.session.speech is not None, greedy=True)]
        controls = self._texts(others)
        making = _making(self.session)
        hearing = _rate(self.ear) if self.ear else making
        natural = [self._natural(sample, hearing) for sample in samples]
        made = natural if hearing == making else [self._natural(sample, making) for sample in samples]
        heard, natural_heard = self._heard([_sound(answer) for answer in answers]), self._heard(natural)
        return [Record(
            sample.id, expected[i], answers[i].text, tuple(part.text for part in questions(sample)), dict(sample.facts),
            controls[i], heard[i], natural_heard[i], answers[i].codes, _seconds(_sound(answers[i])), _seconds(natural[i]),
            self._codes(made[i]), self._keep(answers[i], title, start + i)) for i, sample in enumerate(samples)]

    def _texts(self, samples: Sequence[Sample | None]) -> list[str | None]:
        """Give the text answers; None where nothing is asked."""
        asked = [sample for sample in samples if sample is not None]
        answers = iter(self.session.answers(asked, speak=False, greedy=True) if asked else [])
        return [next(answers).text if sample is not None else None for sample in samples]

    @torch.no_grad()
    def _spoken(self, answer: Answer) -> Answer:
        """Give the answer in the voice that was asked for."""
        outlet = self.session.speech
        if self.speaks_with == "codec" or outlet is None or outlet.units is None or not answer.codes:
            return answer
        codes = torch.tensor(answer.codes, device=self.session.device)
        wave = self.session.model.units(outlet.name).decode(codes).float().cpu().numpy()
        return replace(answer, waveform=wave, sample_rate=outlet.units.spec.sample_rate)

    def _natural(self, sample: Sample, rate: int | None) -> Sound | None:
        """Give the row's own spoken answer, if it has one."""
        parts = [part for part in spoken(sample)[:1] if part.path or part.audio is not None]
        if not parts or rate is None or self.session.speech is None:
            return None
        return waveform(parts[0], rate, sample.id), rate

    def _heard(self, sounds: Sequence[Sound | None]) -> list[str | None]:
        """Give what the recogniser hears; None where there is no sound or no recogniser."""
        there = [sound for sound in sounds if sound is not None]
        if self.ear is None or not there:
            return [None] * len(sounds)
        texts = iter(self.ear.transcribe([wave for wave, _ in there], there[0][1]))
        return [next(texts) if sound is not None else None for sound in sounds]

    @torch.no_grad()
    def _codes(self, sound: Sound | None) -> int | None:
        """Count the codes that natural speech becomes; None where the run cannot make codes."""
        outlet = self.session.speech
        if sound is None or outlet is None or outlet.maker is None:
            return None
        return len(self.session.model.units(outlet.name).encode(torch.from_numpy(sound[0]).to(self.session.device)))

    def _keep(self, answer: Answer, title: str, index: int) -> str | None:
        if self.wavs is None or answer.waveform is None:
            return None
        file = self.wavs / title / f"{index:05d}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        save_audio(file, answer.waveform, answer.sample_rate)
        return f"{self.wavs.name}/{title}/{file.name}"


def rotated(samples: Sequence[Sample]) -> list[Sample | None]:
    """Give each sample with the audio of another whose question is different; None for a sample without audio.

    All audios move on by one shift: the smallest that leaves the fewest samples with a question of the same words, and
    those few have None too.
    """
    sounding = [index for index, sample in enumerate(samples) if any(p.type == "audio" for p in questions(sample))]
    words = [" ".join(p.text or str(index) for p in questions(samples[index])) for index in sounding]
    shift = _shift(words)
    result: list[Sample | None] = [None] * len(samples)
    for place, index in enumerate(sounding):
        other = (place + shift) % len(sounding)
        if words[place] != words[other]:
            result[index] = _with_audio(samples[index], samples[sounding[other]])
    return result


def some(kinds: Sequence[str], limit: int | None) -> list[int]:
    """Give the indices of at most `limit` rows, in order: of each kind as many as of the others, as far as it has them, spread
    over its own."""
    places: dict[str, list[int]] = {}
    for index, kind in enumerate(kinds):
        places.setdefault(kind, []).append(index)
    turns = (kind for turn in range(len(kinds)) for kind, own in places.items() if turn < len(own))
    counts = Counter(islice(turns, limit))
    return sorted(own[place] for kind, own in places.items() for place in spread(len(own), counts[kind]))


def spread(length: int, limit: int | None) -> list[int]:
    """Give at most `limit` indices, spread over `length` rows: from each of as many equal parts one, always one place further
    into its part, so that rows whose kinds come in turns are not all of one kind."""
    if limit is None or limit >= length:
        return list(range(length))
    return [index * length // limit + index % (length // limit) for index in range(limit)]


def _shift(words: Sequence[str]) -> int:
    """Give the smallest shift after which the fewest places hold the words they held before."""
    best, fewest = 0, len(words)
    for shift in range(1, len(words)):
        kept = sum(a == b for a, b in zip(words, [*words[shift:], *words[:shift]], strict=True))
        if kept < fewest:
            best, fewest = shift, kept
        if not fewest:
            break
    return best


def _with_audio(sample: Sample, other: Sample) -> Sample:
    """Give a sample whose question's audio parts are another's, in order; the other's last one where they run out."""
    sounds = [part for part in questions(other) if part.type == "audio"]
    replacing: Iterator[Part] = iter(sounds)
    messages: list[Message] = []
    for message in sample.messages:
        parts = message.content
        if message.role != "assistant":
            parts = tuple(next(replacing, sounds[-1]) if part.type == "audio" else part for part in parts)
        messages.append(replace(message, content=parts))
    return replace(sample, messages=tuple(messages))


def _expected(sample: Sample) -> str:
    answers = said(sample.messages)
    if not answers:
        raise DataError(f"Row {sample.id} has no answer, so it cannot be scored; give it one.")
    return answers[-1]


def _sound(answer: Answer) -> Sound | None:
    return None if answer.waveform is None else (answer.waveform, answer.sample_rate)


def _seconds(sound: Sound | None) -> float | None:
    return None if sound is None else len(sound[0]) / sound[1]


def _rate(ear: Session) -> int:
    """Give the sample rate that a recogniser hears."""
    return int(next(iter(ear.plan.inputs.values())).encoder.input.rate or 0)


def _making(session: Session) -> int | None:
    """Give the sample rate of the waves that codes are made of; None for a run without speech."""
    outlet = session.speech
    if outlet is None or outlet.codes is None:
        return None
    return outlet.maker.spec.sample_rate if outlet.maker else outlet.codes.sample_rate
