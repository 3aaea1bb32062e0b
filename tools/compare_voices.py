"""Compare a run's two vocoders on the same codes: that of a stage `voice`, and what made the codes (Griffin-Lim).

    python tools/compare_voices.py llama_omni/tiny      # needs its ASR model; ten minutes on one core

Two kinds of speech are compared on the recipe's held-out data. *Copies* decode each frame's true code, so that only the
vocoder differs from the recording; *answers* decode what the model's head gave, repeats merged, so that durations are
predicted.
Word error rates are the ASR model's, against the text; the distance is the mean absolute difference of natural log-mel
magnitudes (80 bands, hop 256) between a copy and its recording.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, cast

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from omnikit.contracts.protocols import LabellingCodec, Vocoder
from omnikit.contracts.types import Sample
from omnikit.data.batch.signals import answer_audio, load_waveform
from omnikit.data.text.templates import answer_texts
from omnikit.errors import OmnikitError, RunError
from omnikit.evaluation.metrics import word_errors
from omnikit.inference.session import Session, load
from omnikit.progress import progress
from omnikit.training.codecs.spectral_losses import MelLoss

Spoken = list[tuple[Tensor, str]]  # waveform or codes, and their text
T = TypeVar("T")
BATCH = 32


def main() -> None:
    """Decode, transcribe and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--asr", help="the run of the ASR model; the recipe's without it")
    parser.add_argument("--limit", type=int, help="answers at most of each dataset")
    given = parser.parse_args()
    try:
        compare(load(given.run), given.asr, given.limit)
    except OmnikitError as error:
        raise SystemExit(f"compare_voices: {error}") from error


def compare(session: Session, asr: str | None, limit: int | None) -> None:
    """Print one table for a run."""
    output, name = session.speech, asr or session.plan.recipe.evaluate.asr
    if output is None or output.units is None or not output.units.decodes or name is None:
        raise RunError("the run needs speech.codec and speech.units that both decode, and an ASR model.")
    asr, rate = load(Path(name) if Path(name).exists() else name), output.units.spec.sample_rate
    samples = [reader[index] for title in session.plan.recipe.evaluate.data.values()
               for reader in [session.plan.readers[title].build()] for index in range(len(reader))[:limit]]
    recordings = _recordings(samples, rate)
    table = Table("voice", "copies: WER", "copies: log-mel distance", "answers: WER")
    table.add_row("recording", _wer(asr, recordings, rate), "0", "")
    answers = _answers(session, samples)
    for title, copy, speak in _voices(session, output.name):
        copies, spoken_answers = _spoken(title, recordings, copy), _spoken(f"{title}, answers", answers, speak)
        distance = _distance(MelLoss(rate), recordings, copies)
        table.add_row(title, _wer(asr, copies, rate), f"{distance:.3f}", _wer(asr, spoken_answers, rate))
    Console().print(f"{len(recordings)} different recordings, {len(answers)} answers", table)


def _voices(session: Session, branch: str) -> list[tuple[str, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]]:
    """Give each vocoder: its title, how it copies a recording, how it decodes codes."""
    units, codec = cast(LabellingCodec, session.model.units(branch)), session.model.codec(branch)
    speak = getattr(units, "speak", None)
    if speak is None:
        raise RunError("speech.units decodes no frames (it has no `speak`), so it cannot copy a recording.")
    return [("speech.units, Griffin-Lim", lambda waveform: speak(units.label(waveform)), lambda codes: units.decode(codes)),
            ("speech.codec", lambda waveform: cast(Vocoder, codec).generate(units.label(waveform)[None])[0],
             lambda codes: codec.decode(codes))]


def _recordings(samples: Sequence[Sample], rate: int) -> Spoken:
    """Give each different spoken answer once."""
    found = {answer_texts(sample.messages)[-1]: load_waveform(part, rate, sample.id)
             for sample in samples for part in answer_audio(sample)[:1]}
    return [(torch.from_numpy(waveform), text) for text, waveform in found.items()]


def _answers(session: Session, samples: Sequence[Sample]) -> Spoken:
    found: Spoken = []
    with progress("answers") as report:
        for batch in _batches(samples):
            found += [(torch.tensor(a.codes), a.text) for a in session.answers(batch, greedy=True) if a.codes]
            report(len(found) / len(samples))
    return found


@torch.no_grad()
def _spoken(title: str, rows: Spoken, voice: Callable[[Tensor], Tensor]) -> Spoken:
    found: Spoken = []
    with progress(title) as report:
        for row, text in rows:
            found.append((voice(row), text))
            report(len(found) / len(rows))
    return found


def _wer(asr: Session, rows: Spoken, rate: int) -> str:
    transcripts = [text for batch in _batches(rows) for text in asr.transcribe([waveform.numpy() for waveform, _ in batch],
                                                                               rate)]
    wrong, words = map(sum, zip(*word_errors(transcripts, [text for _, text in rows]), strict=True))
    return f"{wrong / words:.1%}"


def _batches(rows: Sequence[T]) -> list[Sequence[T]]:
    return [rows[start:start + BATCH] for start in range(0, len(rows), BATCH)]


def _distance(mel: MelLoss, recordings: Spoken, copies: Spoken) -> float:
    distances = []
    for (true, _), (made, _) in zip(recordings, copies, strict=True):
        length = min(len(true), len(made))
        distances.append(mel(made[None, :length], true[None, :length]))
    return float(torch.stack(distances).mean())


if __name__ == "__main__":
    main()
