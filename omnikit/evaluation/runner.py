"""A run answers its held-out questions, again with another row's media, and an ASR model transcribes its speech."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from omnikit.contracts.codes import to_file
from omnikit.contracts.types import ContentPart, Sample
from omnikit.data.batch.signals import answer_audio, load_waveform, question_media
from omnikit.data.media.audio import save_audio
from omnikit.data.text.templates import answer_texts
from omnikit.errors import DataError, PlanError
from omnikit.evaluation.ablations import MEDIA, modality, shuffled, state_of
from omnikit.evaluation.audio_metrics import ltas_correlation, mel_distance, stoi_score
from omnikit.evaluation.records import NONE, Record
from omnikit.inference.answer import Answer
from omnikit.inference.session import Session
from omnikit.inference.turn_detection import turn_branch
from omnikit.plan.plan import InputBranch, Plan
from omnikit.progress import progress

SampledAudio = tuple[NDArray[np.float32], int]


@dataclass(frozen=True)
class CodecRoundTrip:
    """A row's own spoken answer after the codec alone; all None without one, or without a codec that makes codes.

    Args:
        code_count: number of its codes.
        used_codes: the distinct ones among them, those of a second codebook behind all of the first.
        codebook_size: number of codes there are.
        audio: what they are decoded to.
        mel_distance: of that audio from the row's own; None where times differ.
        stoi: its intelligibility beside it; None as above.
    """

    code_count: int | None = None
    used_codes: tuple[int, ...] = ()
    codebook_size: int | None = None
    audio: SampledAudio | None = None
    mel_distance: float | None = None
    stoi: float | None = None


@dataclass(frozen=True)
class EvalRunner:
    """Asks a session and records its answers.

    Args:
        asr: the ASR model's session; None for no transcripts of speech.
        speaks_with: "codec" as in any answer, "units" for the part that makes the codes.
        wavs: folder for the generated speech; None saves none.
        saved: number of WAV files saved of each dataset, the first ones; None for all.
    """

    session: Session
    asr: Session | None = None
    speaks_with: str = "codec"
    wavs: Path | None = None
    batch_size: int = 32
    saved: int | None = None

    def __post_init__(self) -> None:
        output = self.session.speech
        if self.speaks_with == "units" and not (output and output.units and output.units.decodes):
            raise PlanError(f"{self.session.plan.recipe.name} has no speech.units that decode, so --speak-with units is"
                            " impossible; leave it out, or train a recipe whose units decode (mel_units).")

    def records(self, samples: Sequence[Sample], title: str) -> list[Record]:
        """Ask every question of a dataset."""
        others = {medium: shuffled(samples, medium) for medium in MEDIA}
        rows: list[Record] = []
        with progress(f"eval {title}") as report:
            for start in range(0, len(samples), self.batch_size):
                part = slice(start, start + self.batch_size)
                ablations = zip(*(self._texts(others[medium][part]) for medium in MEDIA), strict=True)
                spoken_before = sum(row.seconds is not None for row in rows)
                rows += [replace(row, shuffled_audio=audio, shuffled_image=image, shuffled_video=video) for row,
                         (audio, image, video)
                         in zip(self._batch(samples[part], title, start, spoken_before), ablations, strict=True)]
                report(len(rows) / len(samples))
        return rows

    def _batch(self, samples: Sequence[Sample], title: str, start: int, spoken_before: int) -> list[Record]:
        """Ask the questions from row `start` of a dataset, before which `spoken_before` had spoken answers."""
        expected = [self._expected(sample) for sample in samples]
        answers = [self._decoded(answer) for answer in self._answers(samples)]
        head_states, transcripts = self._head_states(samples), self._transcripts(samples)
        codec_rate = _codec_rate(self.session)
        asr_rate = _asr_rate(self.asr) if self.asr else codec_rate
        true = [self._ground_truth(sample, asr_rate) for sample in samples]
        coded = true if asr_rate == codec_rate else [self._ground_truth(sample, codec_rate) for sample in samples]
        trips = [self._round_trip(*row) for row in zip(samples, coded, strict=True)]
        generated, true_texts = self._transcribed([_audio(answer) for answer in answers]), self._transcribed(true)
        codec_texts = self._transcribed([one.audio for one in trips])
        before = list(accumulate((answer.waveform is not None for answer in answers), initial=spoken_before))
        return [Record(
            sample.id, expected[i], answers[i].text, tuple(part.text for part in question_media(sample)), dict(sample.facts),
            None, generated[i], true_texts[i], tuple(to_file(answers[i].codes)), _seconds(_audio(answers[i])),
            _seconds(true[i]), trips[i].code_count, self._save(answers[i], title, start + i, before[i]),
            modality=modality(sample), expected_state=state_of(sample), state=self._state(answers[i]),
            head_state=head_states[i], reference_transcripts=_spoken_texts(sample), transcripts=transcripts[i],
            codec_transcript=codec_texts[i],
            mel_distance=trips[i].mel_distance, stoi=trips[i].stoi, ltas_correlation=self._ltas(sample, answers[i]),
            used_codes=trips[i].used_codes, codebook_size=trips[i].codebook_size)
            for i, sample in enumerate(samples)]

    def _texts(self, samples: Sequence[Sample | None]) -> list[str | None]:
        """Give the text answers; None where nothing is asked."""
        asked = [sample for sample in samples if sample is not None]
        answers = iter(self.session.answers(asked, speak=False, greedy=True) if asked and self._generates else [])
        return [next(answers).text if sample is not None and self._generates else None for sample in samples]

    @property
    def _generates(self) -> bool:
        return self.session.plan.backbone is not None

    def _answers(self, samples: Sequence[Sample]) -> list[Answer]:
        """Give the answers; empty ones of a run that only transcribes."""
        if not self._generates:
            return [Answer("")] * len(samples)
        return self.session.answers(samples, speak=self.session.speech is not None, greedy=True)

    def _expected(self, sample: Sample) -> str:
        """Give the text that a row's answer has; "" where its audio is only transcribed."""
        answers = answer_texts(sample.messages)
        if not can_be_scored(self.session.plan, sample):
            raise DataError(f"Row {sample.id} has no answer, so it cannot be scored; give it one.")
        return answers[-1] if answers and self._generates else ""

    def _state(self, answer: Answer) -> str | None:
        """Give the state that an answer begins with, "none" for none; None where the template has no states."""
        template = self.session.plan.template
        return (answer.state or NONE) if template and template.states else None

    def _head_states(self, samples: Sequence[Sample]) -> list[str | None]:
        """Give the turn-detection head's state of each last spoken question; None without head or audio."""
        if turn_branch(self.session.plan) is None:
            return [None] * len(samples)
        probabilities = self.session.turn_probabilities(samples)
        return [max(found[-1], key=found[-1].__getitem__) if found and _ends_spoken(sample) else None
                for sample, found in zip(samples, probabilities, strict=True)]

    def _transcripts(self, samples: Sequence[Sample]) -> list[tuple[str, ...]]:
        """Give the transcript head's transcript of each audio of the questions whose text is given."""
        input_branch = transcribed_branch(self.session.plan)
        if input_branch is None:
            return [()] * len(samples)
        rate = int(input_branch.encoder.input.rate or 0)
        limits = self.session.plan.recipe.media
        waveforms = [[load_waveform(part, rate, sample.id, limits) for part in _spoken_parts(sample)] for sample in samples]
        texts = iter(self.session.transcribe([one for some in waveforms for one in some], rate))
        return [tuple(next(texts) for _ in some) for some in waveforms]

    @torch.no_grad()
    def _decoded(self, answer: Answer) -> Answer:
        """Give the answer, its codes decoded as asked for."""
        output = self.session.speech
        if self.speaks_with == "codec" or output is None or output.units is None or not answer.codes:
            return answer
        codes = torch.tensor(answer.codes, device=self.session.device)
        audio = self.session.model.units(output.name).decode(codes).float().cpu().numpy()
        return replace(answer, waveform=audio, sample_rate=output.units.spec.sample_rate)

    def _ground_truth(self, sample: Sample, rate: int | None) -> SampledAudio | None:
        """Give the row's own spoken answer, if it has one."""
        parts = [part for part in answer_audio(sample)[-1:] if part.path or part.data or part.audio is not None]
        if not parts or rate is None or self.session.speech is None:
            return None
        return load_waveform(parts[0], rate, sample.id, self.session.plan.recipe.media), rate

    def _transcribed(self, audios: Sequence[SampledAudio | None]) -> list[str | None]:
        """Give the ASR model's transcripts; None where there is no audio or no ASR model."""
        there = [audio for audio in audios if audio is not None]
        if self.asr is None or not there:
            return [None] * len(audios)
        texts = iter(self.asr.transcribe([samples for samples, _ in there], there[0][1]))
        return [next(texts) if audio is not None else None for audio in audios]

    @torch.no_grad()
    def _round_trip(self, sample: Sample, audio: SampledAudio | None) -> CodecRoundTrip:
        """Encode and decode a row's own spoken answer, at the codec's input rate."""
        output = self.session.speech
        if audio is None or output is None or output.code_source is None:
            return CodecRoundTrip()
        model, spec = self.session.model, output.code_source.spec
        codes = model.units(output.name).encode(torch.from_numpy(audio[0]).to(self.session.device))
        books = codes.reshape(-1, spec.codebooks).cpu() + spec.cardinality * torch.arange(spec.codebooks)
        found = CodecRoundTrip(len(codes), tuple(sorted(set(books.flatten().tolist()))), spec.codebooks * spec.cardinality)
        config = output.units if self.speaks_with == "units" else output.codec
        if config is None or not len(codes):
            return found
        codec, rate = (model.units if self.speaks_with == "units" else model.codec)(output.name), config.spec.sample_rate
        made, true = codec.decode(codes).float().cpu(), audio if audio[1] == rate else self._ground_truth(sample, rate)
        found = replace(found, audio=(made.numpy(), rate))
        if spec.merged or true is None:
            return found
        target = torch.from_numpy(true[0])
        return replace(found, mel_distance=mel_distance(made, target, rate), stoi=stoi_score(made, target, rate))

    def _ltas(self, sample: Sample, answer: Answer) -> float | None:
        """Give the LTAS correlation of an answer with the row's own spoken answer."""
        true = self._ground_truth(sample, answer.sample_rate) if answer.waveform is not None else None
        if answer.waveform is None or true is None:
            return None
        return ltas_correlation(torch.from_numpy(answer.waveform), torch.from_numpy(true[0]), answer.sample_rate)

    def _save(self, answer: Answer, title: str, index: int, before: int) -> str | None:
        if self.wavs is None or answer.waveform is None or (self.saved is not None and before >= self.saved):
            return None
        file = self.wavs / title / f"{index:05d}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        save_audio(file, answer.waveform, answer.sample_rate)
        return f"{self.wavs.name}/{title}/{file.name}"


def stratified(kinds: Sequence[str], limit: int | None) -> list[int]:
    """Give the indices of at most `limit` rows, in order: of each kind as many as of the others, as far as it has them, spread
    over its own."""
    indices: dict[str, list[int]] = {}
    for index, kind in enumerate(kinds):
        indices.setdefault(kind, []).append(index)
    turns = (kind for turn in range(len(kinds)) for kind, own in indices.items() if turn < len(own))
    counts = Counter(islice(turns, limit))
    return sorted(own[position] for kind, own in indices.items() for position in spread(len(own), counts[kind]))


def spread(length: int, limit: int | None) -> list[int]:
    """Give at most `limit` indices, spread over `length` rows: from each of as many equal parts one, always one position
    further
    into its part, so that rows whose kinds alternate are not all of one kind."""
    if limit is None or limit >= length:
        return list(range(length))
    return [index * length // limit + index % (length // limit) for index in range(limit)]


def can_be_scored(plan: Plan, sample: Sample) -> bool:
    """Say whether a row has an answer, or audio with its text that a head of the run transcribes."""
    return bool(answer_texts(sample.messages) or (_spoken_texts(sample) and transcribed_branch(plan)))


def transcribed_branch(plan: Plan) -> InputBranch | None:
    """Give the input branch whose audio a head transcribes; None where no head gives transcripts."""
    output = next((output for output in plan.outputs.values() if output.head.target == "transcript"), None)
    return plan.inputs[output.head.tap.partition(".")[0]] if output else None


def _spoken_parts(sample: Sample) -> list[ContentPart]:
    return [part for part in question_media(sample) if part.type == "audio" and part.text]


def _spoken_texts(sample: Sample) -> tuple[str, ...]:
    return tuple(part.text or "" for part in _spoken_parts(sample))


def _ends_spoken(sample: Sample) -> bool:
    """Say whether the last question holds audio."""
    last = [message for message in sample.messages if message.role == "user"][-1:]
    return any(part.type == "audio" for message in last for part in message.content)


def _audio(answer: Answer) -> SampledAudio | None:
    return None if answer.waveform is None else (answer.waveform, answer.sample_rate)


def _seconds(audio: SampledAudio | None) -> float | None:
    return None if audio is None else len(audio[0]) / audio[1]


def _asr_rate(asr: Session) -> int:
    """Give the sample rate that an ASR model takes.

    Raises:
        PlanError: it gives no transcripts.
    """
    input_branch = transcribed_branch(asr.plan)
    if input_branch is None:
        raise PlanError(f"{asr.plan.recipe.name} has no head that gives transcripts, so it cannot recognise speech; name"
                        " another ASR model.")
    return int(input_branch.encoder.input.rate or 0)


def _codec_rate(session: Session) -> int | None:
    """Give the sample rate of the waveforms that codes are made of; None for a run without speech."""
    output = session.speech
    if output is None or output.codes is None:
        return None
    return output.code_source.spec.sample_rate if output.code_source else output.codes.sample_rate
