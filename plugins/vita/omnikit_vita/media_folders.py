"""Where a row's files lie: a set's folder for images and videos, one folder with a subfolder "audio" for audio."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from omnikit.errors import DataError, nearest


@dataclass(frozen=True)
class MediaFolders:
    """Folders by set, and the folder of audio (None where the dataset has none)."""

    folders: Mapping[str, Path]
    audio: Path | None

    def find(self, kind: str, name: str, file: str) -> str:
        """Give the path of a row's file.

        Raises:
            DataError: no folder is known, the file is not there, or it would lie outside of its folder.
        """
        folder = self.audio if kind == "audio" else self.folders.get(name)
        if folder is None and kind == "audio":
            raise DataError(f"audio is {file!r}, but the dataset names no folder of audio; set `audio` to the folder that holds"
                            ' the subfolder "audio".', kind="unknown set")
        if folder is None:
            raise DataError(f"set is {name!r}, but `folders` has {', '.join(self.folders) or 'none'}; add it there."
                            f"{nearest(name, self.folders)}", kind="unknown set")
        inside = Path(os.path.normpath(file))
        if inside.is_absolute() or inside.parts[0] == os.pardir:  # symbolic links within the folder may lead anywhere
            raise DataError(f"{kind} is {file!r}, which lies outside of {folder}; put the file there and name it without ..",
                            kind="path outside")
        path = folder / inside
        if not path.is_file():
            raise DataError(f"{kind} is {file!r}, but there is no file {path}; fix the name or the folder.",
                            kind="missing file")
        return str(path)
