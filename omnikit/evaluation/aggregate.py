"""From what was kept to numbers: right answers, understandable speech, speech rate, latency. Runs no model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from omnikit.evaluation.estimates import Estimate, quantile, ratio, share
from omnikit.evaluation.metrics import Pair, character_errors, exact, normalised, word_errors
from omnikit.evaluation.records import Record, Timing

Numbers = dict[str, Estimate | None]  # None: not measured

MEANINGS = {
    "exact": "share of answers equal to the expected text; case and punctuation count",
    "exact_with_other_audio": "the same when the model hears another question's audio: high means that it does not listen",
    "exact_with_other_picture": "the same when it sees the images of another question of its kind that has another answer:"
                                " high means that it does not look",
    "exact_with_other_film": "the same for videos",
    "text_wer": "wrong, missing and extra words of the text answer for each expected word",
    "text_cer": "the same for characters",
    "transcript_wer": "the same between what the transcript head hears in the question and what is said in it",
    "transcript_cer": "the same for characters",
    "speech_wer": "word errors between what the ASR model hears in the generated speech and the text answer",
    "speech_cer": "the same for characters",
    "natural_wer": "the ASR model's own word error on the data's natural speech of the same rows: no speech can be expected"
                   " to do better",
    "natural_cer": "the same for characters",
    "codec_wer": "the ASR model's word error on that speech after it went through the codec alone: no head can be expected to"
                 " be understood better",
    "codec_cer": "the same for characters",
    "mel_distance": "of that sound from the data's own: L1 of natural log-mel magnitudes",
    "stoi": "how intelligible that sound is beside the data's own (STOI), 1 for the same",
    "code_usage": "share of the codec's codes that the data's natural speech becomes",
    "speaker_similarity": "likeness of the generated voice to that of the data's natural speech: correlation of their long-term"
                          " average spectra",
    "words_per_second": "words of the text answer for each second of generated speech",
    "natural_words_per_second": "the same of the data's natural speech",
    "units_per_second": "codes for each second of generated speech",
    "natural_units_per_second": "the same of the data's natural speech",
    "first_text": "seconds from the question until the first text is there; the middle of all rows",
    "first_sound": "seconds from the question until the first sound is there; the middle of all rows",
    "first_sound_90": "the time within which nine in ten answers sound",
    "whole": "seconds from the question until all is there; the middle of all rows",
    "real_time_factor": "seconds of work for each second of generated speech; below 1 it is faster than it sounds",
}


def scores(rows: Sequence[Record]) -> Numbers:
    """Give the numbers of one dataset."""
    heard = [(row.heard, row.answer) for row in rows if row.heard is not None]
    natural = [(row.natural, row.expected) for row in rows if row.natural is not None]
    return {
        **answers(rows),
        "speech_wer": ratio(word_errors([h for h, _ in heard], [s for _, s in heard])),
        "speech_cer": ratio(character_errors([h for h, _ in heard], [s for _, s in heard])),
        "natural_wer": ratio(word_errors([h for h, _ in natural], [s for _, s in natural])),
        "natural_cer": ratio(character_errors([h for h, _ in natural], [s for _, s in natural])),
        **_codec(rows),
        **_rates(rows),
    }


def answers(rows: Sequence[Record]) -> Numbers:
    """Give the numbers of text answers and of what the transcript head hears."""
    scored = [row for row in rows if row.scored]
    found, expected = [row.answer for row in scored], [row.expected for row in scored]
    heard = [text for row in rows for text in row.transcripts]
    said = [text for row in rows if row.transcripts for text in row.said]
    return {
        "exact": share([exact(row.answer, row.expected) for row in scored]),
        "exact_with_other_audio": _control(scored, lambda row: row.other),
        "exact_with_other_picture": _control(scored, lambda row: row.other_image),
        "exact_with_other_film": _control(scored, lambda row: row.other_video),
        "text_wer": ratio(word_errors(found, expected)), "text_cer": ratio(character_errors(found, expected)),
        "transcript_wer": ratio(word_errors(heard, said)), "transcript_cer": ratio(character_errors(heard, said)),
    }


def _control(rows: Sequence[Record], answer: Callable[[Record], str | None]) -> Estimate | None:
    return share([exact(found, row.expected) for row in rows if (found := answer(row)) is not None])


def kinds(rows: Sequence[Record]) -> dict[str, Numbers]:
    """Give the numbers of answers of each kind of question; nothing where there is one kind only."""
    return _apart(rows, lambda row: row.facts.get("kind", ""))


def languages(rows: Sequence[Record]) -> dict[str, Numbers]:
    """Give the same of each language."""
    return _apart(rows, lambda row: row.facts.get("language", ""))


def modalities(rows: Sequence[Record]) -> dict[str, Numbers]:
    """Give the same of each set of media that questions are made of."""
    return _apart(rows, lambda row: row.modality)


GROUPS = {"kinds": kinds, "languages": languages, "modalities": modalities}


def counted(found: Numbers) -> int:
    """Give the rows behind the first number that was measured."""
    return next((one.count for one in found.values() if one), 0)


def _apart(rows: Sequence[Record], word: Callable[[Record], str]) -> dict[str, Numbers]:
    found = defaultdict(list)
    for row in rows:
        found[word(row)].append(row)
    if len(found) < 2:
        return {}
    return {name: numbers for name, some in sorted(found.items()) if any((numbers := answers(some)).values())}


def latency(timings: Sequence[Timing]) -> dict[str, Numbers]:
    """Give the numbers of each Ω, "offline" for answers that came whole, in the order in which they were measured."""
    by_omega = defaultdict(list)
    for timing in timings:
        by_omega[setting(timing)].append(timing)
    return {name: {
        "first_text": quantile([t.first_text for t in some], 0.5),
        "first_sound": quantile([t.first_sound for t in some if t.first_sound is not None], 0.5),
        "first_sound_90": quantile([t.first_sound for t in some if t.first_sound is not None], 0.9),
        "whole": quantile([t.whole for t in some], 0.5),
        "real_time_factor": ratio([(t.whole, t.seconds) for t in some if t.seconds]),
    } for name, some in by_omega.items()}


def setting(timing: Timing) -> str:
    """Name a timing's Ω."""
    return "offline" if timing.omega is None else str(timing.omega)


def _codec(rows: Sequence[Record]) -> Numbers:
    """Give what the codec alone does to the data's own speech, and whose voice the generated one is."""
    again = [(row.resynthesised, row.expected) for row in rows if row.resynthesised is not None]
    drawable = max((row.drawable or 0 for row in rows), default=0)  # all rows have the same codec
    drawn = {code for row in rows for code in row.drawn}
    return {
        "codec_wer": ratio(word_errors([h for h, _ in again], [s for _, s in again])),
        "codec_cer": ratio(character_errors([h for h, _ in again], [s for _, s in again])),
        "mel_distance": ratio([(row.mel_distance, 1.0) for row in rows if row.mel_distance is not None]),
        "stoi": ratio([(row.stoi, 1.0) for row in rows if row.stoi is not None]),
        "code_usage": Estimate(len(drawn) / drawable, None, None, sum(bool(row.drawn) for row in rows)) if drawn else None,
        "speaker_similarity": ratio([(row.speaker, 1.0) for row in rows if row.speaker is not None]),
    }


def _rates(rows: Sequence[Record]) -> Numbers:
    generated = [row for row in rows if row.seconds]
    natural = [row for row in rows if row.natural_seconds]
    coded: list[Pair] = [(row.natural_codes, row.natural_seconds or 0.0) for row in natural if row.natural_codes is not None]
    return {
        "words_per_second": ratio([(_words(row.answer), row.seconds or 0.0) for row in generated]),
        "natural_words_per_second": ratio([(_words(row.expected), row.natural_seconds or 0.0) for row in natural]),
        "units_per_second": ratio([(len(row.codes), row.seconds or 0.0) for row in generated]),
        "natural_units_per_second": ratio(coded),
    }


def _words(text: str) -> int:
    return len(normalised(text).split())
