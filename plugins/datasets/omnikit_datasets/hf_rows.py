"""Rows of a Hugging Face dataset by index, media undecoded. The package `datasets` is imported here only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from omnikit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from datasets import Dataset  # type: ignore[import-untyped]

    from omnikit_datasets.config import HFDataset

OFFLINE = "HF_HUB_OFFLINE"
FILES = {".parquet": "parquet", ".arrow": "arrow", ".json": "json", ".jsonl": "json", ".csv": "csv"}


class HFRows:
    """Rows of what `save_to_disk` wrote, of Parquet or Arrow files, of a folder of them, or of a dataset in the hub's cache.

    Raises:
        ConfigError: the package is missing, or a split has to be chosen.
        DataError: there is no such dataset on this machine.
    """

    def __init__(self, config: HFDataset) -> None:
        self.path = config.path
        self.table = _load(config).with_format("arrow")  # gives media as they are stored
        if not len(self.table):
            raise DataError(f"{self.path} is empty, but must hold at least one row.")

    def __len__(self) -> int:
        return len(self.table)

    def place(self, index: int) -> str:
        """Give dataset and row, for sentences."""
        return f"{self.path}, row {index}"

    def __getitem__(self, index: int) -> dict[str, object]:
        row = self.table[index].to_pylist()[0]
        return {key: _without_none(value) for key, value in row.items() if value is not None}


def _load(config: HFDataset) -> Dataset:
    try:
        import datasets
    except ImportError:
        raise ConfigError("hf_dataset needs the package datasets, which is not installed; pip install datasets.") from None
    path = Path(config.path).expanduser()
    datasets.disable_progress_bars()
    try:
        found = _open(config, path)
    except (OSError, ValueError, datasets.exceptions.DatasetsError, datasets.exceptions.DatasetNotFoundError) as error:
        sentence = " ".join(str(error).split())[:200].rstrip(".")
        raise DataError(f"{config.path} is not a dataset that can be opened here ({type(error).__name__}: {sentence}); name a"
                        " folder of save_to_disk, Parquet files, or a dataset that lies in the hub's cache.",
                        kind="no dataset") from None
    if isinstance(found, dict):
        if config.split is None and len(found) == 1:
            return next(iter(found.values()))
        if config.split is None or config.split not in found:
            raise ConfigError(f"split is {config.split or 'empty'}, but {config.path} has the splits {', '.join(found)}; choose"
                              " one.")
        return found[config.split]
    return found


def _open(config: HFDataset, path: Path) -> Dataset | dict[str, Dataset]:
    from datasets import DownloadConfig, load_dataset, load_from_disk

    if path.is_dir() and ((path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file()):
        return load_from_disk(str(path))
    files = sorted(str(file) for file in path.rglob("*.parquet")) if path.is_dir() else [str(path)] if path.is_file() else []
    if path.is_dir() and not files:
        raise ConfigError(f"path is the folder {path}, which holds neither what save_to_disk writes nor Parquet files.")
    if files:
        kind = FILES.get(Path(files[0]).suffix)
        if kind is None:
            raise ConfigError(f"path is {path}, but must end in {', '.join(FILES)}, or be a folder.")
        chosen = [file for file in files if config.split and Path(file).name.startswith(config.split)] or files
        return load_dataset(kind, data_files=chosen, split="train")
    with _offline():
        return load_dataset(config.path, config.name, download_config=DownloadConfig(local_files_only=True))


@contextmanager
def _offline() -> Iterator[None]:
    """Keep the libraries from asking the hub, which they would do over and over where there is no network."""
    modules = [import_module(name) for name in ("datasets.config", "huggingface_hub.constants")]
    before = [getattr(module, OFFLINE) for module in modules]
    try:
        for module in modules:
            setattr(module, OFFLINE, True)
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            setattr(module, OFFLINE, value)


def _without_none(value: object) -> object:
    """Leave out keys of structs that a row lacks: a column's structs have the keys of all rows."""
    if isinstance(value, dict):
        return {key: _without_none(each) for key, each in value.items() if each is not None}
    return [_without_none(each) for each in value] if isinstance(value, list) else value
