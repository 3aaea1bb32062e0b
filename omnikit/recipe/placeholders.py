"""What stands in the place of a file that was not fetched, or not to its end. Reads its first bytes; no torch, no network."""

import re
from collections.abc import Iterator
from pathlib import Path

POINTER = b"version https://git-lfs.github.com/spec/"
BEGUN = (".incomplete", ".part", ".partial", ".crdownload", ".aria2", ".download")  # ends of what programs are still fetching
PAGES = ("<!doctype", "<html", "<?xml", "<head", "<error")
OTHER_KINDS = {b"GGUF": "a file of llama.cpp (GGUF)", b"\x1f\x8b": "compressed with gzip", b"\x89HDF": "a file of HDF5",
               b"version https://git-annex": "a pointer of git-annex"}
ELSEWHERE = {"*.gguf": "llama.cpp", "tf_model.h5": "TensorFlow", "flax_model*.msgpack": "Flax", "*.onnx": "ONNX",
             "consolidated*": "the authors' own layout", "adapter_model.*": "an adapter alone"}
BEGIN = 400  # bytes that are looked at
SHOWN = 60  # characters of a text that stands in a file's place


def placeholder(path: Path) -> str | None:
    """Say what is there in place of a file and what to do, as the end of a sentence about it; None where nothing is certain."""
    if not path.exists():
        return _absent(path)
    if path.is_dir():
        return "is a folder, not a file; give the file in it"
    if not path.stat().st_size:
        return "is empty (0 bytes); fetch it again"
    with path.open("rb") as file:
        begin = file.read(BEGIN)
    if begin.startswith(POINTER):
        return "is a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`"
    for magic, kind in OTHER_KINDS.items():
        if begin.startswith(magic):
            return f"is {kind}, which is not read here; fetch the file that transformers reads"
    text = begin.decode("utf-8", "ignore").lstrip("\ufeff \t\r\n")
    if text.lower().startswith(PAGES):
        return f"is a page of a web server ({_title(text)}), not the file itself; fetch it again, logged in if it must be"
    if path.stat().st_size < BEGIN and re.fullmatch(r"[A-Z][\w' ,.:;/-]+", text.strip()):
        return f"holds the text {text.strip()[:SHOWN]!r} of a web server, not the file itself; fetch it again"
    return None


def in_place_of_weights(folder: Path) -> tuple[str, str] | None:
    """Give what a folder without weights that can be read holds instead, and what to do; None where nothing is well known."""
    if not folder.is_dir():
        return "it is no folder", "give the folder of a model as transformers saves it"
    if snapshot := next(iter(snapshots(folder)), None):
        return f"it is a download cache, whose files are in {snapshot}", "give that folder"
    if begun := next(iter(_begun(folder)), None):
        return f"it holds {begun.name}, a download that did not end", "fetch it again"
    if lost := next((path for path in sorted(folder.iterdir()) if path.is_symlink() and not path.exists()), None):
        return f"{lost.name} is a link to a file that is not there", "fetch it again"
    for pattern, origin in ELSEWHERE.items():
        if found := next(iter(sorted(folder.glob(pattern))), None):
            return f"it holds {found.name} ({origin}), which is not read", "give the folder of a model as transformers saves it"
    other = next((path for end in ("safetensors", "bin", "pt", "pth") for path in sorted(folder.glob(f"*.{end}"))), None)
    return None if other is None else (
        f"it holds {other.name}, which no index.json names", "fetch the index too, or rename the file")


def snapshots(folder: Path) -> list[Path]:
    """Give the folders with files in a download cache: in its root, or in the folder of one model there."""
    found = [path for pattern in ("snapshots/*", "models--*/snapshots/*", "hub/models--*/snapshots/*")
             for path in sorted(folder.glob(pattern)) if path.is_dir()]
    found = found or ([path for path in sorted(folder.iterdir()) if (path / "config.json").is_file()]
                      if folder.name == "snapshots" else [])
    newest = _newest(folder)
    return sorted(found, key=lambda path: path != newest)


def _newest(model: Path) -> Path | None:
    """Give the snapshot that a model's `refs/main` names."""
    try:
        return model / "snapshots" / (model / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _begun(folder: Path) -> Iterator[Path]:
    """Give the files of downloads that did not end, also where huggingface_hub keeps them."""
    for place in (folder, folder / ".cache" / "huggingface" / "download", folder / "blobs"):
        if place.is_dir():
            yield from (path for path in sorted(place.iterdir()) if path.name.endswith(BEGUN))


def _absent(path: Path) -> str | None:
    if path.is_symlink():
        return f"is a link to {path.readlink()}, which is not there; fetch the file again"
    begun = next((one for end in BEGUN if (one := path.with_name(path.name + end)).exists()), None)
    return f"is missing, but {begun.name}, a download that did not end, lies there; fetch it again" if begun else None


def _title(page: str) -> str:
    found = re.search(r"<(?:title|message|code)>\s*([^<]+)", page, re.IGNORECASE) or re.search(r">\s*([^<>\s][^<>]+)<", page)
    return " ".join((found[1] if found else page).split())[:SHOWN]
