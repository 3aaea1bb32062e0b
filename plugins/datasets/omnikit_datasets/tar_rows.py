"""Samples of tar shards by index, each file read where it lies: any order, and a stage resumes in the middle of a shard."""

import json
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from itertools import accumulate

from omnikit.errors import DataError
from omnikit_datasets.conversation import has_media_parts
from omnikit_datasets.shard_names import shards
from omnikit_datasets.tar_index import shard_facts, shard_index

OPEN = 64  # shards that are open at once
MEDIA = {"audio": ("wav", "flac", "mp3", "ogg", "opus", "m4a", "aac"),
         "image": ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"), "video": ("mp4", "webm", "mkv", "avi", "mov")}
TEXTS = {"txt": "transcript", "text": "transcript", "transcript": "transcript", "caption": "answer", "question": "question",
         "answer": "answer"}


class TarRows:
    """Rows of shards, one after another: the keys of their .json, .txt as text, media by their extension.

    Args:
        path: a shard, a folder of shards, a pattern (*), or a range, data-{000..127}.tar.
    """

    def __init__(self, path: str) -> None:
        self.shards = shards(path)
        self.indices = [shard_index(shard) for shard in self.shards]
        self.ends = list(accumulate(len(index.keys) for index in self.indices))
        self._open: OrderedDict[int, int] = OrderedDict()  # shard → descriptor
        if not self.ends[-1]:
            raise DataError(f"{path} holds no sample: no file in its shards has a name such as 0001.json.")

    def __len__(self) -> int:
        return self.ends[-1]

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_open": OrderedDict()}

    def place(self, index: int) -> str:
        """Give shard and sample, for sentences."""
        shard, row = self._find(index)
        return f"{self.shards[shard]}, sample {self.indices[shard].keys[row]}"

    def members(self, index: int) -> dict[str, Callable[[], bytes]]:
        """Give what reads each of a sample's files, by its extension and by its name."""
        shard, row = self._find(index)
        found = self.indices[shard]
        read = {found.extensions[at]: partial(self._read, shard, at) for at in range(found.starts[row], found.starts[row + 1])}
        named = {f"{found.keys[row]}.{extension}": one for extension, one in read.items()}
        base = {name.rpartition("/")[2]: one for name, one in named.items()}
        return {**base, **named, **read}

    def name(self, index: int) -> str:
        """Give a sample's name."""
        shard, row = self._find(index)
        return self.indices[shard].keys[row]

    def __getitem__(self, index: int) -> dict[str, object]:
        shard, row = self._find(index)
        found = self.indices[shard]
        values: dict[str, object] = {}
        media: dict[str, list[bytes]] = {}
        for at in range(found.starts[row], found.starts[row + 1]):
            extension = found.extensions[at]
            last = extension.rpartition(".")[2]
            kind = next((kind for kind, endings in MEDIA.items() if last in endings), None)
            if last == "json":
                values |= self._json(shard, at, index)
            elif last in TEXTS:
                values.setdefault(TEXTS[last], self._text(shard, at, index))
            elif kind:
                media.setdefault(kind, []).append(self._read(shard, at))
        if has_media_parts(values):  # which name the files
            return values
        return {**{kind: files for kind, files in media.items() if kind not in values and f"{kind}s" not in values}, **values}

    def _find(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        shard = bisect_right(self.ends, index)
        return shard, index - (self.ends[shard - 1] if shard else 0)

    def _json(self, shard: int, at: int, index: int) -> dict[str, object]:
        try:
            found = json.loads(self._read(shard, at))
        except ValueError as error:
            raise DataError(f"{self.place(index)}: its .json is not JSON ({error}).", kind="not JSON") from None
        if not isinstance(found, dict):
            raise DataError(f"{self.place(index)}: its .json is not an object, but must be one.", kind="not an object")
        return found

    def _text(self, shard: int, at: int, index: int) -> str:
        try:
            return self._read(shard, at).decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise DataError(f"{self.place(index)}: its .{self.indices[shard].extensions[at]} is not UTF-8 ({error}).",
                            kind="not UTF-8") from None

    def _read(self, shard: int, at: int) -> bytes:
        """Read a file; processes may share the descriptor, since none moves its position."""
        descriptor = self._open.get(shard)
        if descriptor is None:
            if len(self._open) >= OPEN:
                os.close(self._open.popitem(last=False)[1])
            try:
                descriptor = self._open[shard] = os.open(self.shards[shard], os.O_RDONLY)
            except OSError as error:
                raise DataError(f"{self.shards[shard]} cannot be read any more ({error.strerror}).",
                                kind="missing file") from None
        found = self.indices[shard]
        if shard_facts(os.fstat(descriptor)) != found.facts:
            raise DataError(f"{self.shards[shard]} has been written again since it was opened; start again.",
                            kind="changed shard")
        return os.pread(descriptor, int(found.sizes[at]), int(found.offsets[at]))
