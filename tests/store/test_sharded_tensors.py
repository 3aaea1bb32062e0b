"""Shards in a folder: written and read, complete or passed over, and never code. Two processes: test_sharded_stage."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from omnikit.errors import RunError
from omnikit.store import mapped, sharded_tensors, training_checkpoint
from omnikit.store.training_checkpoint import sealed, writing

TENSORS = {"a": torch.arange(12.0).view(4, 3), "b": torch.ones(5, dtype=torch.bfloat16), "c": torch.tensor(7)}


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def write(folder: Path, step: int) -> Path:
    """A checkpoint as one rank writes it."""
    with writing(folder, {"step": step}, {}, keep=9) as (partial, seals):
        sharded_tensors.write(partial, TENSORS)
        seals.update(sealed(sharded_tensors.files_of(partial, 0)))
    return folder / "checkpoints" / f"{step:08}"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = write(tmp_path, 4)
    assert sharded_tensors.shapes(folder) == {name: (tensor.shape, tensor.dtype) for name, tensor in TENSORS.items()}
    found = {name: torch.zeros_like(tensor) for name, tensor in TENSORS.items()}
    sharded_tensors.read(folder, found)
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


def test_checkpoint_whose_shards_were_not_all_written_is_not_there(tmp_path: Path) -> None:
    write(tmp_path, 4)
    with pytest.raises(KeyboardInterrupt), writing(tmp_path, {"step": 6}, {}, keep=1) as (partial, _):
        sharded_tensors.write(partial, TENSORS)
        raise KeyboardInterrupt
    found = training_checkpoint.newest(tmp_path)
    assert found is not None and found.step == 4


@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp"])
def test_checkpoint_with_a_damaged_shard_is_passed_over(tmp_path: Path, name: str) -> None:
    write(tmp_path, 4)
    file = write(tmp_path, 6) / name
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    found = training_checkpoint.newest(tmp_path)
    assert found is not None and found.step == 4


def test_code_in_metadata_is_not_run(tmp_path: Path) -> None:
    folder = write(tmp_path, 4)

    class Code:
        def __reduce__(self) -> object:
            return os.mkdir, (str(tmp_path / "ran"),)

    (folder / ".metadata").write_bytes(pickle.dumps(Code()))
    with pytest.raises(RunError, match=r"\.metadata cannot be read \(it holds posix\.mkdir, which is not data"):
        sharded_tensors.shapes(folder)
    assert not (tmp_path / "ran").exists()


def test_disk_that_refuses_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file/folder cannot be written: .*; make room or choose another folder\.$"):
        sharded_tensors.write(tmp_path / "file" / "folder", TENSORS)


def test_large_tensor_lies_in_a_file_without_a_name(tmp_path: Path) -> None:
    large = torch.randn(700, 600)
    found = mapped.on_disk(large, tmp_path)
    assert torch.equal(found, large) and mapped.is_on_disk(found) and not list(tmp_path.iterdir())
    half = mapped.cast(torch.cat([found, found]).double(), torch.float32)
    assert not mapped.is_on_disk(half)
    assert mapped.is_on_disk(mapped.cast(mapped.on_disk(large.double(), tmp_path), torch.float32))
    assert not mapped.is_on_disk(mapped.on_disk(large[:2], tmp_path))
