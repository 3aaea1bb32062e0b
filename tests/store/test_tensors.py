"""Tensors of checkpoint folders, and into a module."""

import json
import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError
from omnikit.store.tensors import fill, in_file, in_folder, in_memory, torch_file


def shards(folder: Path, name: str) -> Path:
    folder.mkdir()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": name}}))
    return folder


@pytest.mark.parametrize("name", ["../x.safetensors", "sub/x.safetensors", "/x.safetensors"])
def test_shards_of_another_folder_are_refused(tmp_path: Path, name: str) -> None:
    save_file({"x": torch.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(RunError, match=rf"index.json names the shard '{name}', but shards lie beside their index; copy"):
        in_folder(shards(tmp_path / "model", name))


def test_shards_beside_their_index_are_read(tmp_path: Path) -> None:
    folder = shards(tmp_path / "model", "a.safetensors")
    save_file({"x": torch.ones(2)}, folder / "a.safetensors")
    assert torch.equal(in_folder(folder)["x"].read(), torch.ones(2))


def test_folder_without_weights_is_refused_with_the_callers_advice(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nor their index.json for shards; set `weights` to null.$"):
        in_folder(tmp_path, "set `weights` to null")


def test_pickle_of_more_than_tensors_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(pickle.dumps(Path))
    with pytest.raises(RunError, match=r"x\.pt is not a torch file or holds more than tensors, so reading it could run code"):
        torch_file(tmp_path / "x.pt")


# ---- into a module ----


def named(**tensors: Tensor) -> dict[str, LazyTensor]:
    return {name: in_memory(name, Path("there"), tensor) for name, tensor in tensors.items()}


def test_module_holds_what_the_file_held_in_its_own_number_format(tmp_path: Path) -> None:
    module = nn.BatchNorm1d(2)  # parameters, buffers, a whole number
    state = {name: torch.full_like(tensor, 3) for name, tensor in module.state_dict().items()}
    save_file({name: t.bfloat16() if t.is_floating_point() else t for name, t in state.items()}, tmp_path / "x.safetensors")
    fill(module, in_file(tmp_path / "x.safetensors"), "x", "norm", "copy it again")
    torch.testing.assert_close(module.state_dict(), state, rtol=0, atol=0)
    assert module.weight.requires_grad


FIT = {"weight": torch.ones(3, 2), "bias": torch.ones(3)}


@pytest.mark.parametrize(("tensors", "words"), [
    ({"weight": torch.ones(3, 2)}, "bias is missing; choose"),
    ({**FIT, "scale": torch.ones(1)}, "scale is unexpected; choose"),
    ({**FIT, "bias": torch.ones(4)}, "bias has the shape [4], but the configuration makes it [3]; choose"),
    ({"weight": torch.ones(2, 3), "scale": torch.ones(1)}, "bias is missing (and 2 more); choose"),
], ids=["missing", "unexpected", "shape", "all"])  # fmt: skip
def test_tensors_that_do_not_fit_are_a_sentence_and_none_is_copied(tensors: dict[str, Tensor], words: str) -> None:
    module = nn.Linear(2, 3)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    sentence = f"The weights in there/x do not fit mlp: {words} the preset of that size."
    with pytest.raises(RunError, match=f"^{re.escape(sentence)}$"):
        fill(module, named(**tensors), "there/x", "mlp", "choose the preset of that size")
    torch.testing.assert_close(module.state_dict(), before)


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(RunError, match=r"model\.safetensors is a pointer of Git LFS, not the file itself; fetch it with `git"):
        in_folder(tmp_path)


@pytest.mark.parametrize(("file", "words"), [
    ("a.safetensors.incomplete", "but it holds a.safetensors.incomplete, a download that did not end"),
    ("snapshots/abc/x", "but it is a download cache, whose files are in .*snapshots/abc"),
], ids=["incomplete", "cache"])
def test_other_content_in_place_of_weights_is_named(file: str, words: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    with pytest.raises(RunError, match=words):
        in_folder(tmp_path)
