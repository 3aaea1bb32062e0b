"""The builder: source → rewritten → synthesized → rows. What is finished is stored at once and never made again."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from omnikit.contracts.builders import Runs, Units
from omnikit.contracts.codes import to_file
from omnikit.contracts.protocols import TTS
from omnikit.contracts.specs import later_defaults
from omnikit.contracts.types import BuildReport
from omnikit.data.build.folder import BUILD_STATE, Journal, build_folder
from omnikit.data.build.ray_engine import map_jobs
from omnikit.data.media.audio import load_audio
from omnikit.data.text.spoken_language import HAN, check_voices
from omnikit.errors import ConfigError, OmnikitError
from omnikit.recipe.schema import plain
from omnikit.registry import component
from omnikit_spoken_instructions.config import SpokenInstructions
from omnikit_spoken_instructions.rewriter import BATCH, ByModel, Rewriter, Rewritten, Rules, unrepeated
from omnikit_spoken_instructions.rows import Spoken, finish
from omnikit_spoken_instructions.script import Job, jobs
from omnikit_spoken_instructions.sources import Entry, Rejected, read
from omnikit_spoken_instructions.worker import RowRecorder
from omnikit_spoken_instructions.worker_pool import Reply, checked, synthesize

RUNNING = ("workers", "engine", "address")  # options that change no file
NAME, FORMAT = "spoken_instructions", 2  # change the format when the same options give other files


class SpokenInstructionsBuilder:
    """Makes the dataset of some options in a folder; a second call resumes where the first was stopped."""

    def __init__(self, options: SpokenInstructions) -> None:
        self.options = options

    def make(self, folder: Path, runs: Runs) -> BuildReport:
        """Build all that is not there yet.

        Raises:
            OmnikitError: the source, a voice, a run or the folder cannot be used.
        """
        options, source = self.options, Path(self.options.source).expanduser()
        entries = read(source, options.limit)
        is_mandarin = any(isinstance(entry, Entry) and HAN.search(f"{entry.question}{entry.answer}") for entry in entries)
        speaker = _speaker(options, is_mandarin=is_mandarin)
        units = runs.units(options.units) if options.units else None
        writer = runs.text_generator(options.rewriter) if options.rewriter != "rules" else None
        versions = {"format": FORMAT, "omnikit": version("omnikit"),
                    NAME: version(f"omnikit-{NAME.replace('_', '-')}"), "tts": speaker.version,
                    "units": units.version if units else None, "rewriter": writer.version if writer else None}
        ignored = {*RUNNING, *later_defaults(options)}
        identity = {"builder": NAME, "options": {k: v for k, v in plain(options).items() if k not in ignored},
                    "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(), "versions": versions}
        with build_folder(folder, identity), _bar() as (bar, task):
            if writer:
                items = _resumed(entries, ByModel(options, writer), folder, (bar, task))
            else:
                items = _merged(entries, Rules(options)([entry for entry in entries if isinstance(entry, Entry)]))
            names = {entry.id: entry.source_id for entry in entries}
            items = [replace(item, source_id=names[item.id]) for item in unrepeated(items)]
            bar.reset(task, description="synthesizing", total=sum(isinstance(item, Rewritten) for item in items))
            spoken, made = self._spoken([item for item in items if isinstance(item, Rewritten)], folder, units, (bar, task))
            return finish(folder, identity, items, spoken, made)

    def _spoken(self, items: Sequence[Rewritten], folder: Path, units: Units | None, bar: tuple[Progress, TaskID]) -> tuple[
            dict[str, Spoken], int]:
        """Synthesize what the journal lacks; gives the synthesized rows by id, and how many rows this call made."""
        with closing(Journal(folder / BUILD_STATE / "spoken.jsonl")) as journal:
            done = {str(entry["id"]): Spoken.read(entry) for entry in journal.entries}
            done = {name: spoken for name, spoken in done.items() if spoken.is_complete(folder)}
            missing = [job for job in jobs(items, self.options) if job.id not in done]
            bar[0].update(bar[1], completed=len(items) - len(missing))
            for reply in self._replies(missing, folder):
                if units and "answer" in reply:
                    waveform = load_audio(folder / Spoken.read(reply).answer.path, units.sample_rate)
                    reply["codes"] = to_file(units(waveform))
                journal.add(reply)
                done[str(reply["id"])] = Spoken.read(reply)
                bar[0].advance(bar[1])
        return done, len(missing)


    def _replies(self, missing: Sequence[Job], folder: Path) -> Iterator[Reply]:
        """Give the reply to each job by the engine that is asked for."""
        options = self.options
        if options.engine == "local":
            return synthesize(missing, folder, options.tts, options.workers)
        jobs = [json.dumps(asdict(one)) for one in missing]
        return checked(map_jobs(jobs, RowRecorder, (str(folder.resolve()), options.tts), options.workers, options.address))


def _resumed(entries: Sequence[Entry | Rejected], rewriter: Rewriter, folder: Path,
                bar: tuple[Progress, TaskID]) -> list[Rewritten | Rejected]:
    """Rewrite in batches that do not depend on where an earlier call was stopped; each is stored when it is complete."""
    questions = [entry for entry in entries if isinstance(entry, Entry)]
    found: list[Rewritten | Rejected] = []
    bar[0].reset(bar[1], description="rewriting", total=len(questions))
    with closing(Journal(folder / BUILD_STATE / "rewritten.jsonl")) as journal:
        for index, start in enumerate(range(0, len(questions), BATCH)):
            if index >= len(journal.entries):
                batch = rewriter(questions[start:start + BATCH])
                journal.entries.append({"rewritten": [asdict(item) for item in batch]})
                journal.add(journal.entries[-1])
            items = journal.entries[index]["rewritten"]
            assert isinstance(items, list), "as it was written above"
            found += [Rejected(**item) if "reason" in item else Rewritten(**item) for item in items]
            bar[0].update(bar[1], completed=len(found))
    return _merged(entries, found)


def _merged(entries: Sequence[Entry | Rejected], rewritten: Sequence[Rewritten | Rejected]) -> list[Rewritten | Rejected]:
    """Put the rewritten entries back into the source's order, among those rejected on reading."""
    rest = iter(rewritten)
    return [entry if isinstance(entry, Rejected) else next(rest) for entry in entries]


def _speaker(options: SpokenInstructions, *, is_mandarin: bool) -> TTS:
    """Load the text-to-speech, and try every voice and the ends of the ranges, so that an error is raised at once.

    Args:
        is_mandarin: some entry is in Chinese, so that its voices are needed.
    """
    speaker: TTS = component("tts", options.tts)().build()
    low, high = zip(options.speeds, options.pitches, strict=True)
    english, mandarin = (*options.voices, options.answer_voice), (*options.mandarin_voices, options.mandarin_answer_voice)
    try:
        check_voices(english, "voices or answer_voice", "english")
        check_voices(mandarin, "mandarin_voices or mandarin_answer_voice", "mandarin")
        for voice in (*english, *(mandarin if is_mandarin else ())):
            speaker.speak("a", voice, *low)
        speaker.speak("a", options.answer_voice, *high)
    except OmnikitError as error:
        raise ConfigError(f"{NAME}: {error}") from error
    return speaker


@contextmanager
def _bar() -> Iterator[tuple[Progress, TaskID]]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress, progress.add_task("reading", total=None)


