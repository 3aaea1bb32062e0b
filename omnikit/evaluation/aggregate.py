"""From saved records to numbers: exact answers, word errors, speech rate, latency. Runs no model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from omnikit.evaluation.estimates import Estimate, fraction, quantile, ratio
from omnikit.evaluation.metrics import Pair, character_errors, exact, normalise, word_errors
from omnikit.evaluation.records import Record, Timing

Numbers = dict[str, Estimate | None]  # None: not measured

MEANINGS = {
    "exact": "fraction of answers equal to the expected text; case and punctuation count",
    "shuffled_audio": "the same with the audio of another question: high means that answers do not depend on the audio",
    "shuffled_image": "the same with the images of another question of its kind that has another answer: high means that"
                      " answers do not depend on the images",
    "shuffled_video": "the same for videos",
    "text_wer": "wrong, missing and extra words of the text answer for each expected word",
    "text_cer": "the same for characters",
    "transcript_wer": "word errors between the transcript head's transcript of the question and its text",
    "transcript_cer": "the same for characters",
    "speech_wer": "word errors between the ASR model's transcript of the generated speech and the text answer",
    "speech_cer": "the same for characters",
    "ground_truth_wer": "the ASR model's own word errors on the data's spoken answers of the same rows: generated speech is"
                        " not expected to have fewer",
    "ground_truth_cer": "the same for characters",
    "codec_wer": "the ASR model's word errors on that speech after encoding and decoding by the codec alone: a head with this"
                 " codec is not expected to have fewer",
    "codec_cer": "the same for characters",
    "mel_distance": "L1 of natural log-mel magnitudes between that audio and the data's own",
    "stoi": "intelligibility of that audio against the data's own (STOI), 1 for the same",
    "codebook_utilisation": "fraction of the codebook that the data's spoken answers use",
    "ltas_correlation": "correlation of the long-term average spectra of the generated speech and of the data's: a measure of"
                        " voice and channel, not of identity",
    "words_per_second": "words of the text answer for each second of generated speech",
    "ground_truth_words_per_second": "the same of the data's spoken answers",
    "codes_per_second": "codes for each second of generated speech",
    "ground_truth_codes_per_second": "the same of the data's spoken answers",
    "ttft": "time to first token: seconds from the question to it; the median of all rows",
    "time_to_first_audio": "seconds from the question to the first audio; the median of all rows",
    "time_to_first_audio_p90": "the same, 90th percentile",
    "total_time": "seconds from the question to the end of the answer; the median of all rows",
    "real_time_factor": "seconds of work for each second of generated speech; below 1 is faster than real time",
}


def scores(rows: Sequence[Record]) -> Numbers:
    """Give the numbers of one dataset."""
    generated = [(row.speech_transcript, row.answer) for row in rows if row.speech_transcript is not None]
    true = [(row.ground_truth_transcript, row.expected) for row in rows if row.ground_truth_transcript is not None]
    return {
        **answer_numbers(rows),
        "speech_wer": ratio(word_errors([h for h, _ in generated], [r for _, r in generated])),
        "speech_cer": ratio(character_errors([h for h, _ in generated], [r for _, r in generated])),
        "ground_truth_wer": ratio(word_errors([h for h, _ in true], [r for _, r in true])),
        "ground_truth_cer": ratio(character_errors([h for h, _ in true], [r for _, r in true])),
        **_codec(rows),
        **_rates(rows),
    }


def answer_numbers(rows: Sequence[Record]) -> Numbers:
    """Give the numbers of text answers and of question transcripts."""
    scored = [row for row in rows if row.scored]
    found, expected = [row.answer for row in scored], [row.expected for row in scored]
    transcripts = [text for row in rows for text in row.transcripts]
    references = [text for row in rows if row.transcripts for text in row.reference_transcripts]
    return {
        "exact": fraction([exact(row.answer, row.expected) for row in scored]),
        "shuffled_audio": _ablation(scored, lambda row: row.shuffled_audio),
        "shuffled_image": _ablation(scored, lambda row: row.shuffled_image),
        "shuffled_video": _ablation(scored, lambda row: row.shuffled_video),
        "text_wer": ratio(word_errors(found, expected)), "text_cer": ratio(character_errors(found, expected)),
        "transcript_wer": ratio(word_errors(transcripts, references)),
        "transcript_cer": ratio(character_errors(transcripts, references)),
    }


def _ablation(rows: Sequence[Record], answer: Callable[[Record], str | None]) -> Estimate | None:
    return fraction([exact(found, row.expected) for row in rows if (found := answer(row)) is not None])


def kinds(rows: Sequence[Record]) -> dict[str, Numbers]:
    """Give the answer numbers of each kind of question; nothing where there is one kind only."""
    return _grouped(rows, lambda row: row.facts.get("kind", ""))


def languages(rows: Sequence[Record]) -> dict[str, Numbers]:
    """Give the same of each language."""
    return _grouped(rows, lambda row: row.facts.get("language", ""))


def modalities(rows: Sequence[Record]) -> dict[str, Numbers]:
    """Give the same of each set of media that questions are made of."""
    return _grouped(rows, lambda row: row.modality)


GROUPS = {"kinds": kinds, "languages": languages, "modalities": modalities}


def row_count(found: Numbers) -> int:
    """Give the rows behind the first number that was measured."""
    return next((one.count for one in found.values() if one), 0)


def _grouped(rows: Sequence[Record], key: Callable[[Record], str]) -> dict[str, Numbers]:
    found = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    if len(found) < 2:
        return {}
    return {name: numbers for name, some in sorted(found.items()) if any((numbers := answer_numbers(some)).values())}


def latency(timings: Sequence[Timing]) -> dict[str, Numbers]:
    """Give the latency of each Ω, "offline" for answers without streaming, in the order in which they were measured."""
    by_omega = defaultdict(list)
    for timing in timings:
        by_omega[setting(timing)].append(timing)
    return {name: {
        "ttft": quantile([t.ttft for t in some], 0.5),
        "time_to_first_audio": quantile([t.time_to_first_audio for t in some if t.time_to_first_audio is not None], 0.5),
        "time_to_first_audio_p90": quantile([t.time_to_first_audio for t in some if t.time_to_first_audio is not None], 0.9),
        "total_time": quantile([t.total_time for t in some], 0.5),
        "real_time_factor": ratio([(t.total_time, t.audio_seconds) for t in some if t.audio_seconds]),
    } for name, some in by_omega.items()}


def setting(timing: Timing) -> str:
    """Name a timing's Ω."""
    return "offline" if timing.omega is None else str(timing.omega)


def _codec(rows: Sequence[Record]) -> Numbers:
    """Give the numbers of the codec alone on the data's spoken answers, and of the generated voice."""
    resynthesised = [(row.codec_transcript, row.expected) for row in rows if row.codec_transcript is not None]
    size = max((row.codebook_size or 0 for row in rows), default=0)  # all rows have the same codec
    used = {code for row in rows for code in row.used_codes}
    return {
        "codec_wer": ratio(word_errors([h for h, _ in resynthesised], [r for _, r in resynthesised])),
        "codec_cer": ratio(character_errors([h for h, _ in resynthesised], [r for _, r in resynthesised])),
        "mel_distance": ratio([(row.mel_distance, 1.0) for row in rows if row.mel_distance is not None]),
        "stoi": ratio([(row.stoi, 1.0) for row in rows if row.stoi is not None]),
        "codebook_utilisation": Estimate(len(used) / size, None, None, sum(bool(row.used_codes) for row in rows)) if used
        else None,
        "ltas_correlation": ratio([(row.ltas_correlation, 1.0) for row in rows if row.ltas_correlation is not None]),
    }


def _rates(rows: Sequence[Record]) -> Numbers:
    generated = [row for row in rows if row.seconds]
    true = [row for row in rows if row.ground_truth_seconds]
    coded: list[Pair] = [(row.ground_truth_code_count, row.ground_truth_seconds or 0.0) for row in true
                         if row.ground_truth_code_count is not None]
    return {
        "words_per_second": ratio([(_word_count(row.answer), row.seconds or 0.0) for row in generated]),
        "ground_truth_words_per_second": ratio([(_word_count(row.expected), row.ground_truth_seconds or 0.0) for row in true]),
        "codes_per_second": ratio([(len(row.codes), row.seconds or 0.0) for row in generated]),
        "ground_truth_codes_per_second": ratio(coded),
    }


def _word_count(text: str) -> int:
    return len(normalise(text).split())
