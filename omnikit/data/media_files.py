"""Media of samples as files: the bytes of a part, and the path under which a dataset file names it. Decodes nothing."""

import io
import re
from pathlib import Path

import numpy as np

from omnikit.contracts.types import ContentPart
from omnikit.data.media.audio import wav_bytes
from omnikit.errors import DataError
from omnikit.store.files import atomic_file

SIGNATURES = (  # where, what, suffix
    (0, b"RIFF", ".wav"), (0, b"fLaC", ".flac"), (0, b"OggS", ".ogg"), (0, b"ID3", ".mp3"), (0, b"\xff\xfb", ".mp3"),
    (0, b"\xff\xf3", ".mp3"), (0, b"\x89PNG", ".png"), (0, b"\xff\xd8", ".jpg"), (8, b"WEBP", ".webp"), (0, b"GIF8", ".gif"),
    (0, b"BM", ".bmp"), (4, b"ftyp", ".mp4"), (0, b"\x1aE\xdf\xa3", ".webm"))
FOLDER = "media"  # beside a dataset's file, for what was embedded


def media_content(part: ContentPart) -> tuple[bytes, str]:
    """Give the bytes of a part's media file, and the suffix that belongs to them.

    Raises:
        DataError: it has no media, or video as arrays.
    """
    if part.data is not None:
        return part.data, suffix_of(part.data)
    if part.path is not None:
        return Path(part.path).read_bytes(), Path(part.path).suffix.lower()
    if part.audio is not None:
        return wav_bytes(part.audio, part.sample_rate), ".wav"
    if part.pixels is not None and part.type == "image":
        return _png(part), ".png"
    raise DataError(f"A part of type {part.type} has no media file and none can be made of it; leave its row out.",
                    kind="no media")


def media_path(part: ContentPart, folder: Path, name: str) -> str:
    """Give the path of a part's media as a dataset file in `folder` names it; what is embedded is written beside it.

    Args:
        name: of a file that is written, without suffix.
    """
    if part.path is not None and part.data is None:
        path, base = Path(part.path).absolute(), folder.absolute()
        return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)
    data, suffix = media_content(part)
    file = folder / FOLDER / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:120]}{suffix}"
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file) as temporary:
        temporary.write_bytes(data)
    return f"{FOLDER}/{file.name}"


def suffix_of(data: bytes) -> str:
    """Give the suffix of a media file by its first bytes; .bin where they are unknown."""
    suffix = next((suffix for at, signature, suffix in SIGNATURES if data[at:at + len(signature)] == signature), ".bin")
    return ".webp" if suffix == ".wav" and data[8:12] == b"WEBP" else suffix


def _png(part: ContentPart) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.asarray(part.pixels)).save(buffer, format="PNG")
    return buffer.getvalue()
