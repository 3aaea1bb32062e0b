"""VITA's rows become samples: placeholders are spread into parts, media stay paths until somebody loads them."""

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.errors import DataError, nearest
from omnikit_vita.config import VitaJson
from omnikit_vita.listing import Listing
from omnikit_vita.media_folders import MediaFolders

KEYS = ("set", "id", "conversations", "image", "video", "audio", "inserted_id", "end_tag")
ROLES = {"human": "user", "gpt": "assistant"}
PLACEHOLDER = re.compile("<(image|video|audio)>")


class VitaReader:
    """Conversations of one file by index; a broken row is refused when it is asked for.

    Raises:
        DataError: the file is missing, empty or no JSON list.
    """

    def __init__(self, config: VitaJson) -> None:
        self.config = config
        self.listing = Listing(Path(config.path).expanduser())
        self.folders = MediaFolders({name: Path(folder).expanduser() for name, folder in config.folders.items()},
                              Path(config.audio).expanduser() / "audio" if config.audio else None)
        count = max(1, round(len(self.listing) * config.fraction))
        self.rows: Sequence[int] = range(len(self.listing))
        if count < len(self.listing):
            self.rows = sorted(random.Random(config.seed).sample(self.rows, count))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        """Give one conversation; raises DataError naming file and row."""
        sample, errors = self._parsed(index)
        if errors or sample is None:
            raise errors[0]
        return sample

    def problems(self, index: int) -> list[DataError]:
        """Give all that is wrong with a row, as far as its text and its files' paths show."""
        return self._parsed(index)[1]

    def _parsed(self, index: int) -> tuple[Sample | None, list[DataError]]:
        number = self.rows[index]
        place = f"{self.listing.file}, row {number}"
        try:
            values: object = json.loads(self.listing[number])
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            return None, [DataError(f"{place} is not JSON ({error}); fix it.", kind="not JSON")]
        if not isinstance(values, dict):
            found = json.dumps(values, ensure_ascii=False)[:60]
            return None, [DataError(f"{place} is {found}, but must be a JSON object.", kind="not an object")]
        row = Row(values, place, self.folders)
        return row.sample(self.config.ignore, str(number)), row.errors


class Row:
    """One row on its way to a sample; collects what is wrong with it."""

    def __init__(self, values: Mapping[str, object], place: str, folders: MediaFolders) -> None:
        name = values.get("id")
        self.id = "+".join(map(str, name)) if isinstance(name, list) else str(name) if isinstance(name, str | int) else ""
        self.values, self.folders, self.errors = values, folders, list[DataError]()
        self.place = f"{place} ({self.id})" if self.id else place

    def sample(self, ignore: Sequence[str], number: str) -> Sample | None:
        """Give the conversation; None if it has errors."""
        if not self.id:
            self.refuse("missing id", f"id is {self.shown('id')}, but must be a word or a number; give the row one.")
        for key in self.values:
            if key not in (*KEYS, *ignore):
                self.refuse("unknown key", f"there is the unknown key {key!r}, but a row may hold {', '.join(KEYS)}; drop it,"
                            f" or name it in `ignore`.{nearest(key, KEYS)}")
        turns = self.turns()
        paths = self.paths(turns)
        noise, cut = self.noise(turns), not self.end()
        if self.errors:
            return None
        files = {kind: iter(found) for kind, found in paths.items()}
        messages = []
        for index, (role, value) in enumerate(turns):
            if role == "assistant":
                broken = cut and index == len(turns) - 1
                messages.append(Message(role, (ContentPart("text", value),), "noise" if index == noise else None, broken))
            else:
                messages.append(Message(role, tuple(spread(value, files))))
        return Sample(self.id or number, tuple(messages))

    def turns(self) -> list[tuple[str, str]]:
        """Give (role, text) of each turn: human and gpt in turns, human first, gpt last."""
        turns = self.values.get("conversations")
        if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
            self.refuse("wrong type", f"conversations is {self.shown('conversations')}, but must be a list of turns"
                        ' {"from", "value"}; fix it.')
            return []
        strange = next((turn for turn in turns if not isinstance(turn.get("value"), str)), None)
        if strange is not None:
            self.refuse("wrong type", f"the turn {_short(strange)} has no text in value; give it one.")
        roles = [turn.get("from") for turn in turns]
        alternate = roles == ["human", "gpt"] * (len(roles) // 2)
        if not alternate:
            found = f"{', '.join(map(str, roles[:6]))}{', …' * (len(roles) > 6)}"
            self.refuse("wrong roles", f"the turns come from {found}, but must be human and gpt in turns, human first and"
                        " gpt last; fix them.")
        if strange is not None or not alternate:
            return []
        return [(ROLES[turn["from"]], cleaned(turn["value"]) if turn["from"] == "human" else turn["value"]) for turn in turns]

    def paths(self, turns: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
        """Give the files of each kind, as many as there are placeholders."""
        found: dict[str, list[str]] = {}
        asked = [kind for role, value in turns if role == "user" for kind in PLACEHOLDER.findall(value)]
        for kind in ("image", "video", "audio"):
            files = self.files(kind)
            if files is None:
                continue
            count = asked.count(kind)
            if turns and count != len(files):
                self.refuse("placeholders", f"there are {count} <{kind}> in the questions, but {len(files)} files in {kind};"
                            " write one for each file.")
            sets = self.sets(len(files)) if kind != "audio" else [""] * len(files)
            for folder, file in zip(sets, files, strict=False):
                try:
                    found.setdefault(kind, []).append(self.folders.find(kind, folder, file))
                except DataError as error:
                    self.refuse(error.kind, str(error))
        if self.values.get("image") and self.values.get("video"):
            self.refuse("image and video", "there are image and video, but a row may hold only one of them; split it.")
        return found

    def files(self, key: str) -> list[str] | None:
        """Give the file names under a key: one, a list, or none; None if they are no names."""
        value = self.values.get(key)
        files = [] if value is None else value if isinstance(value, list) else [value]
        names = [file for file in files if isinstance(file, str) and file]
        if len(names) < len(files):
            self.refuse("wrong type", f"{key} is {self.shown(key)}, but must be a file's name or a list of them; fix it.")
            return None
        return names

    def sets(self, count: int) -> list[str]:
        """Give the set of each of `count` images: one for all, or a list (rows that VITA joined)."""
        value = self.values.get("set")
        sets = value if isinstance(value, list) else [value] * count
        if count and (len(sets) != count or not all(isinstance(name, str) for name in sets)):
            self.refuse("unknown set", f"set is {self.shown('set')}, but must be the name of a set, or one for each of the"
                        f" {count} files; fix it.")
            return []
        return [str(name) for name in sets]

    def noise(self, turns: Sequence[tuple[str, str]]) -> int | None:
        """Give the place of the answer to noise."""
        place = self.values.get("inserted_id")
        if place is None:
            return None
        if type(place) is not int or (turns and not (0 <= place < len(turns) and turns[place][0] == "assistant")):
            self.refuse("inserted_id", f"inserted_id is {self.shown('inserted_id')}, but must be the place of a gpt turn,"
                        " counted from 0; fix it.")
        elif turns and "<audio>" not in turns[place - 1][1]:
            self.refuse("inserted_id", f"inserted_id is {place}, but the question before that turn has no <audio> that could be"
                        " noise; drop it or give the question its audio.")
        return place if type(place) is int else None

    def end(self) -> bool:
        """Say whether the last answer ends."""
        value = self.values.get("end_tag", True)
        if not isinstance(value, bool):
            self.refuse("wrong type", f"end_tag is {self.shown('end_tag')}, but must be true or false; fix it.")
        return bool(value)

    def shown(self, key: str) -> str:
        value = self.values.get(key)
        return "missing" if value is None else _short(value)

    def refuse(self, kind: str, clause: str) -> None:
        self.errors.append(DataError(f"{self.place}: {clause}", kind=kind, row=self.id))


def cleaned(question: str) -> str:
    """Take away the line breaks that belong to placeholders; what a template puts there, or joins, is its own affair."""
    text = re.sub(r"\n*(<(?:image|video)>)\n*", r"\1", question)
    last = re.search("(?:<image>)+$", text)
    if last:
        text = last.group() + text[: last.start()]
    return text.replace("<audio>\n", "<audio>")


def spread(question: str, files: Mapping[str, Iterator[str]]) -> Iterator[ContentPart]:
    """Give the parts of a question: its text, and its media where their placeholders stand."""
    for index, piece in enumerate(PLACEHOLDER.split(question)):
        if index % 2:
            yield ContentPart(piece, path=next(files[piece]))
        elif piece:
            yield ContentPart("text", piece)


def _short(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)[:60]
