"""A run answers its held-out questions, again with another row's media, and an ASR model hears what it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from omnikit.contracts.types import ContentPart, Sample
from omnikit.data.batch.signals import answer_audio, load_waveform, question_media
from omnikit.data.media.audio import save_audio
from omnikit.data.text.templates import answer_texts
from omnikit.errors import DataError, PlanError
from omnikit.evaluation.ablations import MEDIA, changed, modality, state_of
from omnikit.evaluation.audio_metrics import ltas_correlation, mel_distance, stoi_score
from omnikit.evaluation.records import NONE, Record
from omnikit.inference.answer import Answer
from omnikit.inference.session import Session
from omnikit.inference.turn_detection import state_branch
from omnikit.plan.plan import InputBranch, Plan
from omnikit.progress import progress

Sound = tuple[NDArray[np.float32], int]


@dataclass(frozen=True)
class CodecRoundTrip:
    """What the codec makes of a row's own spoken answer; all None without one, or without a codec that makes codes.

    Args:
        codes: how many it becomes.
        drawn: the different ones among them, those of a second codebook behind all of the first.
        drawable: how many different ones there are.
        sound: what they become.
        mel_distance: of that sound from the row's own; None where times differ.
        stoi: its intelligibility beside it; None as above.
    """

    codes: int | None = None
    drawn: tuple[int, ...] = ()
    drawable: int | None = None
    sound: Sound | None = None
    mel_distance: float | None = None
    stoi: float | None = None


@dataclass(frozen=True)
class EvalRunner:
    """Asks a session and keeps what came of it.

    Args:
        ear: the ASR model's session; None where nothing shall be heard.
        speaks_with: "codec" lets the model speak as always, "units" lets what makes the codes speak them.
        wavs: folder for the generated speech; None keeps none.
        kept: of each dataset the first so many sounds are kept; None for all.
    """

    session: Session
    asr: Session | None = None
    speaks_with: str = "codec"
    wavs: Path | None = None
    batch_size: int = 32
    kept: int | None = None

    def __post_init__(self) -> None:
        output = self.session.speech
        if self.speaks_with == "units" and not (output and output.units and output.units.decodes):
            raise PlanError(f"{self.session.plan.recipe.name} has no speech.units that speak, so --speak-with units cannot be"
                            " heard; leave it out, or train a recipe whose units decode (mel_units).")

    def records(self, samples: Sequence[Sample], title: str) -> list[Record]:
        """Ask every question of a dataset."""
        others = {medium: changed(samples, medium) for medium in MEDIA}
        rows: list[Record] = []
        with progress(f"eval {title}") as report:
            for start in range(0, len(samples), self.batch_size):
                part = slice(start, start + self.batch_size)
                controls = zip(*(self._texts(others[medium][part]) for medium in MEDIA), strict=True)
                sounds = sum(row.seconds is not None for row in rows)
                rows += [replace(row, other=audio, other_image=image, other_video=video) for row, (audio, image, video)
                         in zip(self._batch(samples[part], title, start, sounds), controls, strict=True)]
                report(len(rows) / len(samples))
        return rows

    def _batch(self, samples: Sequence[Sample], title: str, start: int, sounds: int) -> list[Record]:
        """Ask the questions from place `start` of a dataset, before which `sounds` were answered aloud."""
        expected = [self._expected(sample) for sample in samples]
        answers = [self._spoken(answer) for answer in self._answers(samples)]
        told, transcripts = self._told(samples), self._transcripts(samples)
        making = _making(self.session)
        hearing = _rate(self.asr) if self.asr else making
        natural = [self._natural(sample, hearing) for sample in samples]
        made = natural if hearing == making else [self._natural(sample, making) for sample in samples]
        again = [self._again(*row) for row in zip(samples, made, strict=True)]
        heard, natural_heard = self._heard([_sound(answer) for answer in answers]), self._heard(natural)
        again_heard = self._heard([one.sound for one in again])
        before = list(accumulate((answer.waveform is not None for answer in answers), initial=sounds))
        return [Record(
            sample.id, expected[i], answers[i].text, tuple(part.text for part in question_media(sample)), dict(sample.facts),
            None, heard[i], natural_heard[i], answers[i].codes, _seconds(_sound(answers[i])), _seconds(natural[i]),
            again[i].codes, self._keep(answers[i], title, start + i, before[i]), modality=modality(sample),
            expected_state=state_of(sample), state=self._state(answers[i]), told=told[i],
            said=_said(sample), transcripts=transcripts[i], resynthesised=again_heard[i], mel_distance=again[i].mel_distance,
            stoi=again[i].stoi, speaker=self._speaker(sample, answers[i]), drawn=again[i].drawn, drawable=again[i].drawable)
            for i, sample in enumerate(samples)]

    def _texts(self, samples: Sequence[Sample | None]) -> list[str | None]:
        """Give the text answers; None where nothing is asked."""
        asked = [sample for sample in samples if sample is not None]
        answers = iter(self.session.answers(asked, speak=False, greedy=True) if asked and self._writes else [])
        return [next(answers).text if sample is not None and self._writes else None for sample in samples]

    @property
    def _writes(self) -> bool:
        return self.session.plan.backbone is not None

    def _answers(self, samples: Sequence[Sample]) -> list[Answer]:
        """Give the answers; empty ones of a run that only transcribes."""
        if not self._writes:
            return [Answer("")] * len(samples)
        return self.session.answers(samples, speak=self.session.speech is not None, greedy=True)

    def _expected(self, sample: Sample) -> str:
        """Give the text that a row's answer has; "" where only its sound is written down."""
        answers = answer_texts(sample.messages)
        if not answers and not (_said(sample) and transcribes(self.session.plan)):
            raise DataError(f"Row {sample.id} has no answer, so it cannot be scored; give it one.")
        return answers[-1] if answers and self._writes else ""

    def _state(self, answer: Answer) -> str | None:
        """Give the state that an answer begins with, "none" for none; None where the template has no states."""
        template = self.session.plan.template
        return (answer.state or NONE) if template and template.states else None

    def _told(self, samples: Sequence[Sample]) -> list[str | None]:
        """Give what the head that tells states says of each last question that is heard; None without head or sound."""
        if state_branch(self.session.plan) is None:
            return [None] * len(samples)
        shares = self.session.turns(samples)
        return [max(found[-1], key=found[-1].__getitem__) if found and _heard_last(sample) else None
                for sample, found in zip(samples, shares, strict=True)]

    def _transcripts(self, samples: Sequence[Sample]) -> list[tuple[str, ...]]:
        """Give what the transcript head hears in each sound of the questions whose words are known."""
        input_branch = transcribes(self.session.plan)
        if input_branch is None:
            return [()] * len(samples)
        rate = int(input_branch.encoder.input.rate or 0)
        waves = [[load_waveform(part, rate, sample.id) for part in _sayings(sample)] for sample in samples]
        texts = iter(self.session.transcribe([wave for some in waves for wave in some], rate))
        return [tuple(next(texts) for _ in some) for some in waves]

    @torch.no_grad()
    def _spoken(self, answer: Answer) -> Answer:
        """Give the answer in the voice that was asked for."""
        output = self.session.speech
        if self.speaks_with == "codec" or output is None or output.units is None or not answer.codes:
            return answer
        codes = torch.tensor(answer.codes, device=self.session.device)
        wave = self.session.model.units(output.name).decode(codes).float().cpu().numpy()
        return replace(answer, waveform=wave, sample_rate=output.units.spec.sample_rate)

    def _natural(self, sample: Sample, rate: int | None) -> Sound | None:
        """Give the row's own spoken answer, if it has one."""
        parts = [part for part in answer_audio(sample)[-1:] if part.path or part.audio is not None]
        if not parts or rate is None or self.session.speech is None:
            return None
        return load_waveform(parts[0], rate, sample.id), rate

    def _heard(self, sounds: Sequence[Sound | None]) -> list[str | None]:
        """Give what the ASR model hears; None where there is no sound or no ASR model."""
        there = [sound for sound in sounds if sound is not None]
        if self.asr is None or not there:
            return [None] * len(sounds)
        texts = iter(self.asr.transcribe([wave for wave, _ in there], there[0][1]))
        return [next(texts) if sound is not None else None for sound in sounds]

    @torch.no_grad()
    def _again(self, sample: Sample, sound: Sound | None) -> CodecRoundTrip:
        """Send a row's own spoken answer, at the rate that codes are made of, through the codec."""
        output = self.session.speech
        if sound is None or output is None or output.code_source is None:
            return CodecRoundTrip()
        model, spec = self.session.model, output.code_source.spec
        codes = model.units(output.name).encode(torch.from_numpy(sound[0]).to(self.session.device))
        books = codes.reshape(-1, spec.codebooks).cpu() + spec.cardinality * torch.arange(spec.codebooks)
        found = CodecRoundTrip(len(codes), tuple(sorted(set(books.flatten().tolist()))), spec.codebooks * spec.cardinality)
        config = output.units if self.speaks_with == "units" else output.codec
        if config is None or not len(codes):
            return found
        codec, rate = (model.units if self.speaks_with == "units" else model.codec)(output.name), config.spec.sample_rate
        made, true = codec.decode(codes).float().cpu(), sound if sound[1] == rate else self._natural(sample, rate)
        found = replace(found, sound=(made.numpy(), rate))
        if spec.merged or true is None:
            return found
        wave = torch.from_numpy(true[0])
        return replace(found, mel_distance=mel_distance(made, wave, rate), stoi=stoi_score(made, wave, rate))

    def _speaker(self, sample: Sample, answer: Answer) -> float | None:
        """Give the likeness of an answer's voice to that of the row's own spoken answer."""
        natural = self._natural(sample, answer.sample_rate) if answer.waveform is not None else None
        if answer.waveform is None or natural is None:
            return None
        return ltas_correlation(torch.from_numpy(answer.waveform), torch.from_numpy(natural[0]), answer.sample_rate)

    def _keep(self, answer: Answer, title: str, index: int, before: int) -> str | None:
        if self.wavs is None or answer.waveform is None or (self.kept is not None and before >= self.kept):
            return None
        file = self.wavs / title / f"{index:05d}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        save_audio(file, answer.waveform, answer.sample_rate)
        return f"{self.wavs.name}/{title}/{file.name}"


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


def transcribes(plan: Plan) -> InputBranch | None:
    """Give the input branch whose sound a head writes down; None where no head gives transcripts."""
    output = next((output for output in plan.outputs.values() if output.head.target == "transcript"), None)
    return plan.inputs[output.head.tap.partition(".")[0]] if output else None


def _sayings(sample: Sample) -> list[ContentPart]:
    return [part for part in question_media(sample) if part.type == "audio" and part.text]


def _said(sample: Sample) -> tuple[str, ...]:
    return tuple(part.text or "" for part in _sayings(sample))


def _heard_last(sample: Sample) -> bool:
    """Say whether the last question holds sound."""
    last = [message for message in sample.messages if message.role == "user"][-1:]
    return any(part.type == "audio" for message in last for part in message.content)


def _sound(answer: Answer) -> Sound | None:
    return None if answer.waveform is None else (answer.waveform, answer.sample_rate)


def _seconds(sound: Sound | None) -> float | None:
    return None if sound is None else len(sound[0]) / sound[1]


def _rate(asr: Session) -> int:
    """Give the sample rate that an ASR model hears.

    Raises:
        PlanError: it writes nothing down.
    """
    input_branch = transcribes(asr.plan)
    if input_branch is None:
        raise PlanError(f"{asr.plan.recipe.name} has no head that gives transcripts, so it cannot recognise speech; name"
                        " another ASR model.")
    return int(input_branch.encoder.input.rate or 0)


def _making(session: Session) -> int | None:
    """Give the sample rate of the waves that codes are made of; None for a run without speech."""
    output = session.speech
    if output is None or output.codes is None:
        return None
    return output.code_source.spec.sample_rate if output.code_source else output.codes.sample_rate
