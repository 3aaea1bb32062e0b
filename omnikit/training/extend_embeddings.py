"""A checkpoint whose language model has more pieces: both matrices grow, everything else is copied tensor by tensor."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from omnikit.contracts.types import LazyTensor
from omnikit.data.text.vocabulary import Extension
from omnikit.errors import ConfigError, RunError
from omnikit.store.files import atomic_folder
from omnikit.store.safetensors_writer import size, write_plain
from omnikit.store.tensors import in_folder, read_json

INPUT = "embed_tokens.weight"
TABLES = (INPUT, "lm_head.weight", "lm_head.bias")  # as transformers' causal language models call what has a row for each id
OLD_VOCABULARY = ("vocab.json", "merges.txt", "tokenizer.model", "tokenizer.json", "added_tokens.json")  # of the old pieces
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".index.json")


def write(folder: Path | None, extension: Extension, out: Path, rows: int | None, progress: Callable[[float], None]) -> int:
    """Write a checkpoint with an extended vocabulary, or the tokenizer alone; gives the rows of its matrices.

    A new piece's row is the mean of the rows of its old pieces, a row that no piece has is the mean of all.

    Args:
        folder: of the old checkpoint, with config.json and weights; None for the tokenizer alone.
        rows: of both matrices; None for as many as there are ids, and not fewer than before.
        progress: called with the finished share.

    Raises:
        ConfigError: `rows` is too small.
        RunError: the checkpoint lacks what it needs, or the disk cannot be written.
    """
    if rows is not None and rows < extension.size:
        raise ConfigError(f"--rows is {rows}, but the tokenizer has {extension.size} ids; set --rows {extension.size} or more.")
    with atomic_folder(out) as partial:
        if folder:
            rows = _write_model(folder, extension, partial, rows, progress)
        text = json.dumps(extension.content, ensure_ascii=False, indent=2)
        (partial / "tokenizer.json").write_text(text, encoding="utf-8")
    return rows or extension.size


def _write_model(folder: Path, extension: Extension, out: Path, rows: int | None, progress: Callable[[float], None]) -> int:
    config, tensors = read_json(folder / "config.json"), in_folder(folder)
    before = config.get("vocab_size")
    tables = {name: tensor for name, tensor in tensors.items() if name.endswith(TABLES)}
    _check(folder, before, tables, extension)
    assert isinstance(before, int), "checked"
    if rows is not None and rows < before:
        raise ConfigError(f"--rows is {rows}, but the checkpoint in {folder} has {before} rows; set --rows {before} or more.")
    rows = rows or max(before, extension.size)
    for name, tensor in tables.items():
        tensors[name] = replace(tensor, shape=(rows, *tensor.shape[1:]), read=_grown(tensor, extension, rows))
    for file in folder.iterdir():
        if file.is_file() and not file.name.endswith(WEIGHTS) and file.name not in OLD_VOCABULARY:
            shutil.copyfile(file, out / file.name)
    (out / "config.json").write_text(f"{json.dumps({**config, 'vocab_size': rows}, indent=2)}\n", encoding="utf-8")
    _write_shards(tensors, out, progress)
    return rows


def _check(folder: Path, before: object, tables: dict[str, LazyTensor], extension: Extension) -> None:
    if not isinstance(before, int):
        raise RunError(f"{folder / 'config.json'} has no vocab_size, so its matrices cannot grow; give the folder of a causal"
                       " language model.")
    if not any(name.endswith(INPUT) for name in tables):
        raise RunError(f"{folder} holds no tensor …{INPUT}, which has a row for each piece; give the folder of a causal"
                       " language model as transformers writes it.")
    unexpected = next((name for name, tensor in tables.items() if tensor.shape[0] != before), None)
    if unexpected:
        raise RunError(f"{folder}: {unexpected} has {tables[unexpected].shape[0]} rows, but config.json has vocab_size"
                       f" {before}; copy the checkpoint again.")
    if extension.first > before:
        raise RunError(f"{folder}: its tokenizer has {extension.first} ids, but its matrices have {before} rows; give the"
                       " tokenizer that belongs to the checkpoint.")


def _grown(table: LazyTensor, extension: Extension, rows: int) -> Callable[[], Tensor]:
    def read() -> Tensor:
        old = table.read()
        new = old.new_empty(rows, *old.shape[1:])
        new[:len(old)] = old
        mean = _mean(old, range(extension.first))
        new[len(old):] = mean
        for place, ids in enumerate(extension.old_ids):
            new[extension.first + place] = _mean(old, ids) if ids else mean
        return new

    return read


def _mean(table: Tensor, ids: Sequence[int]) -> Tensor:
    return table[torch.tensor(list(ids))].float().mean(0).to(table.dtype)


def _write_shards(tensors: dict[str, LazyTensor], out: Path, progress: Callable[[float], None]) -> None:
    """Write as many files as there were, with an index if there is more than one."""
    total, done = sum(map(size, tensors.values())), 0

    def passed(count: int) -> None:
        nonlocal done
        done += count
        progress(done / max(1, total))

    files = sorted({tensor.file for tensor in tensors.values()})
    shard_of: dict[str, str] = {}
    for number, file in enumerate(files, 1):
        name = "model.safetensors" if len(files) == 1 else f"model-{number:05}-of-{len(files):05}.safetensors"
        own = {key: tensor for key, tensor in tensors.items() if tensor.file == file}
        write_plain(out / name, own, passed)
        shard_of |= dict.fromkeys(own, name)
    if len(files) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": shard_of}
        (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
