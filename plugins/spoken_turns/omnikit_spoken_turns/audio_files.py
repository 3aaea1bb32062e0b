"""Audio files that are made once: each is written, then noted in a journal; a second call finds them. Uses no row."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from omnikit.data.build.folder import BUILD_STATE, Journal
from omnikit.data.media.audio import save_audio
from omnikit_spoken_turns.synthesis import Audio, NotSynthesizedError

AUDIO = "audio"  # folder of the audio files
Entry = Mapping[str, object]


class AudioFiles:
    """The audio files of a dataset's folder; `entries` are the journal's, `made` counts those of this call."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.folder, self.journal, self.made = folder, journal, 0
        self._found: dict[str, Entry] = {str(entry["name"]): entry for entry in journal.entries
                                         if "reason" in entry or (folder / str(entry["path"])).is_file()}
        self.entries: dict[str, Entry] = {}

    def __call__(self, name: str, make: Callable[[], Audio]) -> Entry:
        """Give the journal's entry of a file: path, sha256, seconds and facts; or `reason`, why there is none."""
        entry = self._found.get(name)
        if entry is None:
            self.made += 1
            entry = self._written(name, make)
            self.journal.add(entry)
        self.entries[name] = entry
        return entry

    def _written(self, name: str, make: Callable[[], Audio]) -> dict[str, object]:
        try:
            audio = make()
        except NotSynthesizedError as reason:
            return {"name": name, "reason": str(reason)}
        path = self.folder / AUDIO / f"{name}.wav"
        save_audio(path, audio.waveform, audio.rate)
        return {"name": name, "path": f"{AUDIO}/{path.name}", "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "seconds": round(len(audio.waveform) / audio.rate, 3), "facts": audio.facts}


@contextmanager
def audio_files(folder: Path) -> Iterator[AudioFiles]:
    """Open the journal of a folder's audio files."""
    with closing(Journal(folder / BUILD_STATE / "audio.jsonl")) as journal:
        yield AudioFiles(folder, journal)


@contextmanager
def bar(title: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal; what it gives is called behind each row."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total)
        yield lambda: progress.advance(task)
