"""The builder `spoken_questions`: a fraction of the written questions is spoken; all else of a row stays."""

import random
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from omnikit.contracts.builders import Runs
from omnikit.contracts.types import BuildReport, Message, Sample
from omnikit.data.build.folder import build_folder
from omnikit.data.media.audio import load_audio
from omnikit.errors import DataError
from omnikit.recipe.schema import plain
from omnikit_spoken_turns.audio_files import AudioFiles, Entry, audio_files, bar
from omnikit_spoken_turns.config import SpokenQuestions
from omnikit_spoken_turns.rows import Rejected, finish, message, part, samples, source, text
from omnikit_spoken_turns.synthesis import Audio, Noises, Synthesizer

NAME, FORMAT = "spoken_questions", 1  # change the format when the same options give other files
RATE = 16000  # of the source's own audio, where noise is mix_at_snr


class SpokenQuestionsBuilder:
    """Makes the dataset of some options in a folder; a second call resumes where the first was stopped."""

    def __init__(self, options: SpokenQuestions) -> None:
        self.options = options

    def make(self, folder: Path, runs: Runs) -> BuildReport:
        """Build all that is not there yet.

        Raises:
            OmnikitError: the source, a voice or the folder cannot be used.
        """
        options = self.options
        reader, digest = source(options)
        synthesizer = Synthesizer(options.voices)
        identity = {"builder": NAME, "options": plain(options), "source_sha256": digest, "versions": {
            "format": FORMAT, "omnikit": version("omnikit"), "tts": synthesizer.tts.version}}
        found = list(samples(reader, options.limit))
        texts = [spoken for sample in found if isinstance(sample, Sample) for turn in sample.messages if turn.role == "user"
                 and (spoken := text(turn))]
        rows: list[dict[str, object]] = []
        rejected: list[Rejected] = []
        with build_folder(folder, identity), audio_files(folder) as files, bar("synthesizing", len(found)) as advance:
            turns = Turns(options, synthesizer, Noises(synthesizer, texts), files, folder.absolute())
            for index, sample in enumerate(found):
                try:
                    if isinstance(sample, Rejected):
                        rejected.append(sample)
                    else:
                        rows.append(turns.row(sample, f"{index:06}"))
                except DataError as error:
                    rejected.append(Rejected(sample.id, error.kind, str(error)))
                advance()
            built, _ = finish(folder, identity, rows, rejected, files.entries)
        return replace(built, made=files.made)


class Turns:
    """Rows with some of their questions spoken."""

    def __init__(self, options: SpokenQuestions, synthesizer: Synthesizer, noises: Noises, files: AudioFiles,
                 folder: Path) -> None:
        self.options, self.synthesizer, self.noises, self.files, self.folder = options, synthesizer, noises, files, folder

    def row(self, sample: Sample, name: str) -> dict[str, object]:
        """Give a row of messages_jsonl; raises DataError where a medium cannot be used."""
        facts, messages = dict(sample.facts), []
        for number, turn in enumerate(sample.messages):
            content, found = self._content(sample.id, turn, f"{name}-{number}", f"{self.options.seed} {sample.id} {number}")
            messages.append(message(turn, content))
            facts |= found
        return {"id": sample.id, "messages": messages, "facts": facts}

    def _content(self, row: str, turn: Message, name: str, seed: str) -> tuple[list[dict[str, object]], dict[str, str]]:
        """Give a message's parts, and facts about what was made of them."""
        parts = [part(value, self.folder, row) for value in turn.content]
        audio = [value for value in parts if value["type"] == "audio"]
        if turn.role != "user":
            return parts, {}
        if audio:
            return self._noisy(turn, parts, name, seed)
        if not text(turn) or random.Random(f"{seed} share").random() >= self.options.fraction:
            return parts, {}
        entry = self.files(name, lambda: self.noises.add(self.synthesizer(text(turn), seed), self.options.noise, seed))
        if "reason" in entry:
            return parts, {}
        visual = [value for value in parts if value["type"] != "text"]
        return [*visual, {"type": "audio", "path": entry["path"], "text": text(turn)}], _facts(entry)

    def _noisy(self, turn: Message, parts: list[dict[str, object]], name: str, seed: str) -> tuple[
            list[dict[str, object]], dict[str, str]]:
        """Add noise to a fraction of the source's own audio."""
        facts: dict[str, str] = {}
        for number, (value, origin) in enumerate(zip(parts, turn.content, strict=True)):
            chosen = random.Random(f"{seed} {number} noise").random() < self.options.noise.fraction
            if origin.type != "audio" or origin.path is None or not chosen:
                continue
            speech = Audio(load_audio(origin.path, RATE), RATE)
            make = partial(self.noises.add, speech, self.options.noise, f"{seed} {number}")
            entry = self.files(f"{name}-{number}", make)
            parts[number] = {**value, "path": entry["path"]}
            facts |= _facts(entry)
        return parts, facts


def _facts(entry: Entry) -> dict[str, str]:
    facts = entry["facts"]
    assert isinstance(facts, dict), "as audio_files.py writes it"
    return {str(key): str(value) for key, value in facts.items()}
