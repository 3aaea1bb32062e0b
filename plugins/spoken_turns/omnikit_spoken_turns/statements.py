"""The builder `noise_audio`: spoken statements and noises; each answer has the state "noise"."""

import random
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from omnikit.contracts.builders import Runs, TextGenerator
from omnikit.contracts.types import BuildReport, Message, Sample
from omnikit.data.build.folder import BUILD_STATE, Journal, build_folder
from omnikit.recipe.schema import plain
from omnikit_spoken_turns.audio_files import AudioFiles, audio_files, bar
from omnikit_spoken_turns.config import NoiseAudio
from omnikit_spoken_turns.noises import at_level
from omnikit_spoken_turns.rows import Rejected, finish, message, samples, source, text
from omnikit_spoken_turns.synthesis import Audio, Noises, Synthesizer

NAME, FORMAT = "noise_audio", 1  # change the format when the same options give other files
RATE = 16000  # of noises without words
BATCH = 16  # statements that a model answers at once
INSTRUCTIONS = "Answer what was said in one or two short sentences."


@dataclass(frozen=True)
class Statement:
    """A statement that is not a question, and an answer to it."""

    id: str
    text: str
    answer: str
    facts: dict[str, str]


class NoiseAudioBuilder:
    """Makes the dataset of some options in a folder; a second call resumes where the first was stopped."""

    def __init__(self, options: NoiseAudio) -> None:
        self.options = options

    def make(self, folder: Path, runs: Runs) -> BuildReport:
        """Build all that is not there yet.

        Raises:
            OmnikitError: the source, a voice, a run or the folder cannot be used.
        """
        options = self.options
        reader, digest = source(options)
        synthesizer = Synthesizer(options.voices)
        writer = runs.text_generator(options.writer) if options.writer else None
        identity = {"builder": NAME, "options": plain(options), "source_sha256": digest, "versions": {
            "format": FORMAT, "omnikit": version("omnikit"), "tts": synthesizer.tts.version,
            "writer": writer.version if writer else None}}
        found = [_statement(sample, writer is None) for sample in samples(reader, options.limit)]
        statements = [item for item in found if isinstance(item, Statement)]
        rejected = [item for item in found if isinstance(item, Rejected)]
        with build_folder(folder, identity), audio_files(folder) as files:
            if writer:
                statements = _answered(statements, writer, folder)
            noises = Noises(synthesizer, [item.text for item in statements])
            with bar("synthesizing", len(statements) + options.noises) as advance:
                rows: list[dict[str, object]] = []
                for number, item in enumerate(statements):
                    row = self._statement(item, number, noises, files)
                    rejected += [row] if isinstance(row, Rejected) else []
                    rows += [] if isinstance(row, Rejected) else [row]
                    advance()
                for number in range(options.noises):
                    rows.append(self._noise(number, noises, files))
                    advance()
            built, _ = finish(folder, identity, rows, rejected, files.entries)
        return replace(built, made=files.made)

    def _statement(self, item: Statement, number: int, noises: Noises, files: AudioFiles) -> dict[str, object] | Rejected:
        if not item.answer.strip():  # a model may give an empty answer
            return Rejected(item.id, "no answer")
        seed = f"{self.options.seed} {item.id}"
        entry = files(f"said-{number:06}", lambda: noises.add(noises.synthesizer(item.text, seed), self.options.noise, seed))
        if "reason" in entry:
            return Rejected(item.id, str(entry["reason"]))
        facts = entry["facts"]
        assert isinstance(facts, dict), "as audio_files.py writes it"
        spoken = {"type": "audio", "path": entry["path"], "text": item.text}
        return _row(item.id, spoken, item.answer, {**item.facts, "kind": "statement", **facts})

    def _noise(self, number: int, noises: Noises, files: AudioFiles) -> dict[str, object]:
        options = self.options
        kind, answer = options.kinds[number % len(options.kinds)], options.noise_answers[number % len(options.noise_answers)]
        seed = f"{options.seed} noise {number}"
        rng = random.Random(seed)
        seconds, level = rng.uniform(*options.noise_seconds), rng.uniform(*options.noise_db)

        def make() -> Audio:
            return Audio(at_level(noises(kind, round(seconds * RATE), RATE, seed), level), RATE, {"noise_db": f"{level:.1f}"})

        entry = files(f"noise-{number:06}", make)
        return _row(f"noise-{number:06}", {"type": "audio", "path": entry["path"]}, answer,
                    {"kind": kind, "noise_db": f"{level:.1f}"})


def _row(name: str, audio: dict[str, object], answer: str, facts: dict[str, str]) -> dict[str, object]:
    answered = message(Message("assistant", (), "noise"), [{"type": "text", "text": answer}])
    return {"id": name, "messages": [{"role": "user", "content": [audio]}, answered], "facts": facts}


def _statement(sample: Sample | Rejected, answered: bool) -> Statement | Rejected:
    if isinstance(sample, Rejected):
        return sample
    statement = next((text(turn) for turn in sample.messages if turn.role == "user" and text(turn)), "")
    answer = next((text(turn) for turn in sample.messages if turn.role == "assistant" and text(turn)), "")
    if not statement or (answered and not answer):
        return Rejected(sample.id, "no answer" if statement else "no statement")
    return Statement(sample.id, statement, answer, sample.facts)


def _answered(statements: Sequence[Statement], writer: TextGenerator, folder: Path) -> list[Statement]:
    """Let a model answer, in batches that do not depend on where a call was stopped; each is noted when it is complete."""
    found: list[Statement] = []
    with closing(Journal(folder / BUILD_STATE / "answers.jsonl")) as journal, bar("answering", len(statements)) as advance:
        for index, start in enumerate(range(0, len(statements), BATCH)):
            batch = statements[start : start + BATCH]
            if index >= len(journal.entries):
                journal.entries.append({"answers": writer(INSTRUCTIONS, [item.text for item in batch])})
                journal.add(journal.entries[-1])
            answers = journal.entries[index]["answers"]
            assert isinstance(answers, list), "as it was written above"
            for item, answer in zip(batch, answers, strict=True):
                found.append(replace(item, answer=str(answer)))
                advance()
    return found
