"""Weights on disk: whole or not at all, strict or not at all."""

import errno
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from omnikit.errors import RunError
from omnikit.store import checkpoint
from omnikit.store.files import disk_errors
from omnikit.store.hashes import weights_hash
from omnikit.store.tensors import metadata


def part(width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    torch.manual_seed(0)
    checkpoint.save(path, {"audio.encoder": part(), "backbone": part()}, {"speech.head": "f00"})
    return path


def rewrite(path: Path, change: dict[str, Tensor], remove: tuple[str, ...] = (), **trained: str) -> None:
    """Write a checkpoint again with some tensors changed, under the old header."""
    header = metadata(path)
    header["trained"] = json.dumps({**json.loads(header["trained"]), **trained})
    tensors = {name: tensor for name, tensor in {**load_file(path), **change}.items() if name not in remove}
    save_file(tensors, path, metadata=header)


def test_loaded_weights_are_the_saved_ones(tmp_path: Path) -> None:
    original, other = part(), part()
    checkpoint.save(tmp_path / "w", {"backbone": original}, {})
    checkpoint.load(tmp_path / "w", {"backbone": other})
    assert weights_hash(other) == weights_hash(original)


def test_one_part_of_several_can_be_loaded(saved: Path) -> None:
    module = part()
    checkpoint.load(saved, {"backbone": module})
    assert weights_hash(module) == checkpoint.hashes(saved)[0]["backbone"]


def test_header_names_the_frozen_parts(saved: Path) -> None:
    assert checkpoint.hashes(saved)[1] == {"speech.head": "f00"}


def test_tied_weights_are_saved_and_loaded(tmp_path: Path) -> None:
    def tied() -> nn.Module:
        both = nn.ModuleList([nn.Embedding(3, 2), nn.Linear(2, 3, bias=False)])
        both[1].weight = both[0].weight
        return both

    original, other = tied(), tied()
    checkpoint.save(tmp_path / "w", {"backbone": original}, {})
    checkpoint.load(tmp_path / "w", {"backbone": other})
    assert torch.equal(other[1].weight, original[1].weight) and other[0].weight is other[1].weight


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="gone is missing; train its stage first"):
        checkpoint.load(tmp_path / "gone", {})


@pytest.mark.parametrize("length", [0, 4, 100, 400], ids=lambda n: f"{n} bytes")
def test_truncated_file_is_refused(saved: Path, length: int) -> None:
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(RunError, match=r"weights.safetensors is not a whole safetensors file"):
        checkpoint.load(saved, {"backbone": part()})


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    save_file({"x": torch.ones(1)}, tmp_path / "w")
    with pytest.raises(RunError, match="was not written by omnikit"):
        checkpoint.load(tmp_path / "w", {"backbone": part()})


def test_part_that_is_not_in_the_file_is_named(saved: Path) -> None:
    with pytest.raises(RunError, match=r"holds no weights of speech.head, but only of audio.encoder, backbone"):
        checkpoint.load(saved, {"speech.head": part()})


def test_missing_tensor_is_named(saved: Path) -> None:
    rewrite(saved, {}, remove=("backbone.0.bias",))
    with pytest.raises(RunError, match=r"lacks the tensor backbone.0.bias \(1 such\)"):
        checkpoint.load(saved, {"backbone": part()})


def test_unexpected_tensor_is_named(saved: Path) -> None:
    rewrite(saved, {"backbone.9.bias": torch.ones(1)})
    with pytest.raises(RunError, match=r"holds but the model lacks the tensor backbone.9.bias"):
        checkpoint.load(saved, {"backbone": part()})


def test_tensor_of_no_part_is_named(saved: Path) -> None:
    rewrite(saved, {"stray.bias": torch.ones(1)})
    with pytest.raises(RunError, match=r"holds the tensor stray.bias, which belongs to none of its parts"):
        checkpoint.load(saved, {"backbone": part()})


def test_other_shape_is_named(saved: Path) -> None:
    with pytest.raises(RunError, match=r"backbone.0.\w+ has shape \(3.*\), but the model has \(4"):
        checkpoint.load(saved, {"backbone": part(4)})


def test_altered_tensor_is_refused(saved: Path) -> None:
    rewrite(saved, {"backbone.0.bias": torch.ones(3)})
    with pytest.raises(RunError, match=r"the tensor backbone.0.bias has digest .* the file was altered"):
        checkpoint.load(saved, {"backbone": part()})


def test_altered_header_is_refused(saved: Path) -> None:
    rewrite(saved, {}, backbone="beef")
    with pytest.raises(RunError, match=r"the weights of backbone have hash .*, but beef was written; the file was altered"):
        checkpoint.load(saved, {"audio.encoder": part()})


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow beyond 1000 bytes, as a quota would; only around one call, since pytest writes files, too."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    sentence = r"cannot be written: File too large; make room or choose another folder\.$"
    with pytest.raises(RunError, match=sentence), full_disk():
        checkpoint.save(tmp_path / "weights.safetensors", {"backbone": part(1000)}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"),
                                   SafetensorError("Error while serializing: No space left on device (os error 28)")],
                         ids=["system", "safetensors"])
def test_full_disk_in_either_s_words(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(RunError, match="cannot be written: No space left on device"), disk_errors(tmp_path):
        raise error


def test_other_errors_of_the_system_are_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="broken"), disk_errors(tmp_path):
        raise OSError(errno.EIO, "broken")


@pytest.fixture
def sharded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("omnikit.store.safetensors_writer.SHARD", 40)  # bytes
    path = tmp_path / "weights.safetensors"
    checkpoint.save(path, {"backbone": part()}, {"speech.head": "f00"})
    return path


def test_large_weights_are_shards_with_an_index_and_load_the_same(sharded: Path) -> None:
    module = part()
    checkpoint.load(sharded, {"backbone": module})
    assert not sharded.is_file() and len(list(sharded.parent.glob("weights-0000*-of-*.safetensors"))) > 1
    assert checkpoint.hashes(sharded) == ({"backbone": weights_hash(module)}, {"speech.head": "f00"})


def test_a_missing_shard_is_named(sharded: Path) -> None:
    shard = min(sharded.parent.glob("weights-0000*-of-*.safetensors"))
    shard.unlink()
    with pytest.raises(RunError, match=rf"{shard.name} is missing; give the path of the file"):
        checkpoint.load(sharded, {"backbone": part()})


def test_equal_weights_give_equal_files(tmp_path: Path) -> None:
    module = part()
    for name in ("one", "two"):
        checkpoint.save(tmp_path / name, {"backbone": module}, {})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
