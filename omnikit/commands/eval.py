"""`omnikit eval RUN`: score a trained run on its held-out questions, or on a file of yours; writes a report (JSON, HTML) and
prints its main numbers."""

import sys
from argparse import ArgumentTypeError
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnikit.commands.arguments import Parser, at_least_one, names
from omnikit.errors import ConfigError
from omnikit.text_table import columns

if TYPE_CHECKING:
    from omnikit.evaluation.changes import ScoreChange

EXAMPLE = ("examples: omnikit eval llama_omni/tiny --asr asr/tiny --limit 300; omnikit eval llama_omni/tiny --data"
           " mine=rows.jsonl")
MEASURES = ("asr", "limit", "batch_size", "latency_rows", "omega", "keep_wavs", "data")  # what --rescore cannot change

COLUMNS = {
    "exact": "exact", "shuffled_audio": "shuffled audio", "shuffled_image": "shuffled image",
    "shuffled_video": "shuffled video", "text_wer": "text WER", "text_cer": "CER", "transcript_wer": "transcript WER",
    "transcript_cer": "CER", "speech_wer": "speech WER", "speech_cer": "CER", "ground_truth_wer": "ground-truth WER",
    "ground_truth_cer": "CER", "codec_wer": "codec WER"}
GROUPS = ("kinds", "languages", "modalities")
WAYS = {"answer": "the answer", "head": "the head"}


def run(argv: list[str]) -> int:
    """Score a run; its answers, numbers and report are saved in its folder under eval/."""
    parser = Parser("omnikit eval", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("run", help="a run's folder, a link to one, or a recipe's name")
    parser.add_argument("--asr", help="run of the ASR model that transcribes the answers; by default the recipe's")
    parser.add_argument("--limit", type=at_least_one, help="score at most so many rows of each dataset")
    parser.add_argument("--batch-size", type=at_least_one, help="questions at a time (32)")
    parser.add_argument("--latency-rows", type=at_least_zero,
                        help="answers whose latency is measured for each omega (20; 0 for none)")
    parser.add_argument("--omega", type=omegas, help="codes of a segment at least, where latency is measured"
                        " (10,20,40,80)")
    parser.add_argument("--speak-with", choices=("codec", "units"), default="codec", help="units: the part that makes the"
                        " codes decodes them, for comparison; saved under eval_units/")
    parser.add_argument("--keep-wavs", action="store_true", default=None, help="save all of the generated speech, not only"
                        " the examples on the page")
    parser.add_argument("--stage", help="score the weights as they were after this stage; saved under eval_after_STAGE/")
    parser.add_argument("--data", type=data_words, action="extend", metavar="TITLE|FILE|TITLE=FILE", help="score only these:"
                        " titles of evaluate.data (images,videos), or files of rows; several: one --data for each")
    parser.add_argument("--against", metavar="STAGE", help="also print how far numbers are from those of --stage STAGE, which"
                        " must be scored before")
    parser.add_argument("--rescore", action="store_true", help="compute the report again from the saved answers, without the"
                        " model")
    arguments = parser.parse_args(argv)
    given = {name: value for name in MEASURES if (value := getattr(arguments, name)) is not None}
    if arguments.rescore and given:
        raise ConfigError(f"--rescore computes from saved answers, so --{next(iter(given)).replace('_', '-')} cannot change"
                          " anything; leave one of them out.")

    from omnikit.evaluation.changes import changes
    from omnikit.evaluation.score import Options, read_report, rescore, score

    before = read_report(arguments.run, arguments.against, arguments.speak_with) if arguments.against else {}
    if arguments.rescore:
        folder, report = rescore(arguments.run, arguments.speak_with, arguments.stage)
    else:
        given |= {"omegas": given.pop("omega")} if "omega" in given else {}
        given |= {"data": tuple(given.pop("data"))} if "data" in given else {}
        folder, report = score(arguments.run, Options(speaks_with=arguments.speak_with, stage=arguments.stage, **given))
    sys.stdout.write(f"\n{table(report)}")
    if arguments.against:
        sys.stdout.write(f"\n{changes_table(changes(report, before), arguments.against)}")
    sys.stdout.write(f"\nThe report is {folder}/report.html; numbers and answers are beside it.\n")
    return 0


def table(report: Mapping[str, Any]) -> str:
    """Format a report's main numbers: a line for each dataset, then one for each kind of question, language and modality in
    it; and the accuracy of states."""
    there = [(name, words) for name, words in COLUMNS.items() if any(found["numbers"].get(name) for found in _scores(report))]
    rows: list[tuple[str, ...]] = [("data", "rows", *(words for _, words in there))]
    for title, found in report["scores"].items():
        rows.append((title, str(found["rows"]), *(_percent(found["numbers"].get(name)) for name, _ in there)))
        rows += [(f"  {word or '–'}", str(_count(some)), *(_percent(some[name]) if some.get(name) else "" for name, _ in there))
                 for group in GROUPS for word, some in found.get(group, {}).items()]
    return columns(rows) + _states(report) + _soon(report["latency"]) + _notes(report)


def _scores(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(report["scores"].values())


def _count(numbers: Mapping[str, Any]) -> int:
    return next((int(one["count"]) for one in numbers.values() if one), 0)


def _states(report: Mapping[str, Any]) -> str:
    """Format the accuracy of states, and which was predicted as which."""
    rows: list[tuple[str, ...]] = [("states", "predicted by", "accuracy", "noise precision", "noise recall", "true: predicted")]
    for title, found in report["scores"].items():
        for way, some in found.get("states", {}).items():
            rows.append((title, WAYS[way], *map(_percent, some["numbers"].values()), _decisions(some["confusion"])))
            rows += [(f"  {name}", "", *map(_percent, those.values()), "") for name, those in some["conditions"].items()]
    return f"\n{columns(rows)}" if len(rows) > 1 else ""


def _decisions(confusion: Mapping[str, Mapping[str, int]]) -> str:
    counts = {state: ", ".join(f"{count} {decided}" for decided, count in row.items() if count)
            for state, row in confusion.items()}
    return "; ".join(f"{state}: {words}" for state, words in counts.items() if words)


def changes_table(found: Iterable["ScoreChange"], stage: str) -> str:
    """Format how far metrics are from those after an earlier stage, in percentage points."""
    lines: list[tuple[str, ...]] = []
    names: dict[str, None] = {}
    for change in found:
        names |= dict.fromkeys(change.points)
        label = change.dataset if change.group is None else f"  {change.group or '–'}"
        note = f"scored on {change.rows_before} other rows; score both with the same --limit" if change.rows_before else ""
        lines.append((label, note, *("–" if points is None else f"{points:+.1f}" for points in change.points.values())))
    return columns([("data", f"points since {stage}:", *(COLUMNS[name] for name in names)), *lines])


def _soon(latency: Mapping[str, Any]) -> str:
    """Format the time to first audio, or the time to first token of a run without speech."""
    words = [f"{some['time_to_first_audio']['value']:.2f} s {f'at Ω {name}' if name != 'offline' else name}"
             for name, some in latency.items() if some["time_to_first_audio"]]
    if latency and not words:
        text = next(iter(latency.values()))["ttft"]["value"]
        return f"\n  Time to first token {text:.2f} s (median).\n"
    return f"\n  Time to first audio {', '.join(words)} (median).\n" if words else ""


def _notes(report: Mapping[str, Any]) -> str:
    """State what was scored earlier than the rest, and whose speech was not transcribed."""
    lines = []
    dates = {title: report["conditions"][found["conditions"]]["date"] for title, found in report["scores"].items()}
    for title, date in dates.items():
        if date != max(dates.values()):
            lines.append(f"  {title} was scored before, on {date}.\n")
    lines += [f"  The speech of {title} was not transcribed, because {found['untranscribed']}: text metrics only.\n"
              for title, found in report["scores"].items() if found["untranscribed"]]
    return "\n" + "".join(lines) if lines else ""


def _percent(number: Mapping[str, float] | None) -> str:
    return "–" if number is None else f"{100 * number['value']:.1f} %"


def data_words(word: str) -> list[str]:
    """Read what is scored, for argparse: TITLE=FILE, a file, or titles with commas between."""
    return [word] if "=" in word or Path(word).exists() else list(names(word))


def at_least_zero(word: str) -> int:
    """Read a count that may be 0, for argparse."""
    return 0 if word == "0" else at_least_one(word)


def omegas(word: str) -> tuple[int, ...]:
    """Read counts with commas between, for argparse."""
    found = tuple(at_least_one(part.strip()) for part in word.split(","))
    if len(set(found)) < len(found):
        raise ArgumentTypeError(f"{word} names one number twice")
    return found
