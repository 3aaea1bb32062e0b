"""Tensors of checkpoint folders."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from omnikit.data.tensors import in_folder
from omnikit.errors import RunError


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
