"""Scores of a run: does it answer right, because of what it heard, and can its speech be understood?

For each dataset of `evaluate.data`: exact text answers, in all and by kind; the same with another question's audio; and the
word error rate of the recogniser on the generated speech, beside its own on natural speech of the same rows.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnikit.data.collate import questions, spoken, waveform
from omnikit.data.templates import said
from omnikit.errors import DataError, PlanError
from omnikit.evaluation.metrics import NORMALISER, exact, word_error_rate
from omnikit.inference.session import Session, restore
from omnikit.training import lock
from omnikit.training.checkpoint import writing
from omnikit.training.progress import progress
from omnikit.training.runs import find, load_plan
from omnikit.types import Answer, Message, Part, Sample

Numbers = dict[str, object]
Sound = tuple[NDArray[np.float32], int]


@dataclass
class Scored:
    """One row with everything that was asked of the model; `other` is its answer to another question's audio."""

    sample: Sample
    expected: str
    answer: Answer
    other: str | None = None
    heard: str | None = None
    natural: str | None = None  # what the recogniser hears in the row's own spoken answer


def score(run: str | Path, recogniser: str | Path | None = None, limit: int | None = None, batch_size: int = 32) -> Numbers:
    """Score a run on each dataset that its recipe evaluates on; keeps the answers and the numbers in <run>/eval/.

    Args:
        recogniser: the run that hears the generated speech; None takes the recipe's, if it names one.
        limit: rows of each dataset at most, spread over it.

    Raises:
        OmnikitError: a run is not finished, or the recipe evaluates on nothing.
    """
    folder = find(run)
    plan = load_plan(folder)
    session, name = restore(plan, folder), recogniser or plan.recipe.evaluate.recogniser
    ear = restore(load_plan(find(name)), find(name)) if name and session.speech else None
    if not plan.recipe.evaluate.data:
        raise PlanError(f"Recipe {plan.recipe.name} names no data under `evaluate`, so there is nothing to score.")
    found: dict[str, object] = {}
    for title, dataset in plan.recipe.evaluate.data.items():
        reader = plan.readers[dataset].build()
        rows = [reader[index] for index in spread(len(reader), limit)]
        scored = answered(session, ear, rows, title, batch_size)
        found[title] = {"dataset": dataset, **summary(scored)}
        write(folder / "eval" / f"{title}.jsonl", "".join(json.dumps(_record(row)) + "\n" for row in scored))
    numbers: Numbers = {"run": str(folder), "recogniser": str(find(name)) if ear and name else None, "seed": plan.recipe.seed,
                        "decoding": {"max_new_tokens": plan.recipe.generate.max_new_tokens, "temperature": 0.0},
                        "normaliser": NORMALISER, "limit": limit, "hardware": lock.hardware(), "scores": found}
    write(folder / "eval" / "summary.json", json.dumps(numbers, indent=1) + "\n")
    return numbers


def answered(session: Session, ear: Session | None, samples: Sequence[Sample], title: str, batch_size: int) -> list[Scored]:
    """Ask every question, and again with another's audio; let the recogniser hear the answers."""
    others = rotated(samples)
    rows: list[Scored] = []
    with progress(f"eval {title}") as report:
        for start in range(0, len(samples), batch_size):
            batch = samples[start:start + batch_size]
            answers = session.answers(batch, speak=ear is not None, greedy=True)
            controls = [(i, o) for i, o in enumerate(others[start:start + batch_size]) if o is not None]
            texts = session.answers([o for _, o in controls], speak=False, greedy=True) if controls else []
            fresh = [Scored(s, _expected(s), a) for s, a in zip(batch, answers, strict=True)]
            for (index, _), text in zip(controls, texts, strict=True):
                fresh[index].other = text.text
            if ear:
                _hear(ear, fresh)
            rows += fresh
            report(len(rows) / len(samples))
    return rows


def summary(rows: Sequence[Scored]) -> Numbers:
    """Give the numbers of one dataset; shares and rates are between 0 and 1, None where nothing was measured."""
    kinds = defaultdict(list)
    for row in rows:
        kinds[row.sample.facts.get("kind", "all")].append(exact(row.answer.text, row.expected))
    controls = [exact(row.other, row.expected) for row in rows if row.other is not None]
    heard = [row for row in rows if row.heard is not None]
    natural = [row for row in rows if row.natural is not None]
    return {
        "rows": len(rows),
        "exact": _mean([exact(row.answer.text, row.expected) for row in rows]),
        "exact_by_kind": {kind: {"rows": len(right), "exact": _mean(right)} for kind, right in sorted(kinds.items())},
        "exact_with_other_audio": _mean(controls),
        "speech_wer": word_error_rate([row.heard or "" for row in heard], [row.answer.text for row in heard]),
        "natural_wer": word_error_rate([row.natural or "" for row in natural], [row.expected for row in natural]),
    }


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


def spread(length: int, limit: int | None) -> list[int]:
    """Give at most `limit` indices, evenly spread over `length` rows."""
    if limit is None or limit >= length:
        return list(range(length))
    return [index * length // limit for index in range(limit)]


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text)
        partial.replace(path)


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


def _hear(ear: Session, rows: Sequence[Scored]) -> None:
    sounds = [(row.answer.waveform, row.answer.sample_rate) for row in rows]
    for row, text in zip(rows, _transcribed(ear, [(w, r) for w, r in sounds if w is not None]), strict=True):
        row.heard = text
    speaking = [(row, part) for row in rows for part in spoken(row.sample)[:1] if part.path or part.audio is not None]
    rate = int(next(iter(ear.plan.inputs.values())).encoder.input.rate or 0)
    natural = [(waveform(part, rate, row.sample.id), rate) for row, part in speaking]
    for (row, _), text in zip(speaking, _transcribed(ear, natural), strict=True):
        row.natural = text


def _transcribed(ear: Session, sounds: Sequence[Sound]) -> list[str]:
    return ear.transcribe([wave for wave, _ in sounds], sounds[0][1]) if sounds else []


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


def _record(row: Scored) -> Mapping[str, object]:
    return {"id": row.sample.id, **row.sample.facts, "question": [part.text for part in questions(row.sample)],
            "expected": row.expected, "answer": row.answer.text, "exact": exact(row.answer.text, row.expected),
            "answer_with_other_audio": row.other, "heard": row.heard, "natural_heard": row.natural,
            "codes": list(row.answer.codes)}


def _mean(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None
