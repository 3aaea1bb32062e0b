"""Files of weights found and refused by their headers, without torch in the code that is tested."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from omnikit.errors import OmnikitError
from omnikit.recipe.model_folder import TokenizerFolder, check_tokenizer, read_object
from omnikit.recipe.quantised import quantised_tensor
from omnikit.recipe.weight_files import check_weights, equal, stored_tensors, weight_files

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"
INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three tensors in two shards and their index."""
    (tmp_path / "config.json").write_text("{}")
    save_file({"a.weight": torch.ones(2, 3), "b.weight": torch.zeros(4)}, tmp_path / "one.safetensors")
    save_file({"c.weight": torch.ones(5)}, tmp_path / "two.safetensors")
    mapped(tmp_path)
    return tmp_path


def mapped(folder: Path, **changes: object) -> None:
    named = {"a.weight": "one.safetensors", "b.weight": "one.safetensors", "c.weight": "two.safetensors", **changes}
    (folder / INDEX).write_text(json.dumps({"weight_map": {name: file for name, file in named.items() if file is not None}}))


def test_headers_state_what_safetensors_reads(folder: Path) -> None:
    found = check_weights(folder, "")
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in found.items()} == {
        "a.weight": ("float32", (2, 3)), "b.weight": ("float32", (4,)), "c.weight": ("float32", (5,))}
    content = found["c.weight"].file.read_bytes()[found["c.weight"].begin:found["c.weight"].end]
    assert torch.frombuffer(bytearray(content), dtype=torch.float32).tolist() == [1.0] * 5


def test_the_single_file_comes_first(folder: Path) -> None:
    save_file({"d.weight": torch.ones(1)}, folder / "model.safetensors")
    torch.save({"e.weight": torch.ones(1)}, folder / "pytorch_model.bin")
    assert list(stored_tensors(weight_files(folder, ""))) == ["d.weight"]


def test_a_file_that_the_config_names_comes_first(folder: Path) -> None:
    save_file({"d.weight": torch.ones(1)}, folder / "other.safetensors")
    (folder / "config.json").write_text('{"transformers_weights": "other.safetensors"}')
    assert list(stored_tensors(weight_files(folder, ""))) == ["d.weight"]


@pytest.mark.parametrize("file", ["two.safetensors", "stale.safetensors"], ids=["in a named shard", "in an unnamed shard"])
def test_a_stale_duplicate_is_ignored(folder: Path, file: str) -> None:
    save_file({"c.weight": torch.ones(5), "a.weight": torch.zeros(9)} if file == "two.safetensors" else
              {"a.weight": torch.zeros(9)}, folder / file)
    assert check_weights(folder, "")["a.weight"].shape == (2, 3)


def cut(folder: Path) -> None:
    path = folder / "two.safetensors"
    path.write_bytes(path.read_bytes()[:-4])


def unfinished(folder: Path) -> None:
    (folder / "two.safetensors").rename(folder / "two.safetensors.incomplete")


def linked(folder: Path) -> None:
    (folder / "two.safetensors").unlink()
    (folder / "two.safetensors").symlink_to("blobs/lost")


def cache(folder: Path) -> None:
    inside = folder / "models--x--y" / "snapshots" / "abc"
    inside.mkdir(parents=True)
    for file in list(folder.glob("*.*")):
        file.rename(inside / file.name)


def alone(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / INDEX).unlink()
        (folder / "two.safetensors").unlink()
        (folder / "one.safetensors").rename(folder / name)

    return change


def holding(content: bytes, name: str = "two.safetensors") -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "lfs": (holding(LFS), r"two.safetensors is a pointer of Git LFS, not the file itself; fetch it with `git lfs"),
    "lfs config": (holding(LFS, "config.json"), r"config.json is a pointer of Git LFS"),
    "lfs index": (holding(LFS, INDEX), r"index.json is a pointer of Git LFS"),
    "lfs bin": (holding(LFS, "model.safetensors"), r"model.safetensors is a pointer of Git LFS"),
    "empty": (holding(b""), r"two.safetensors is empty \(0 bytes\); fetch it again"),
    "page": (holding(PAGE), r"two.safetensors is a page of a web server \(Sign in\)"),
    "page as config": (holding(PAGE, "config.json"), r"config.json is a page of a web server \(Sign in\)"),
    "page as index": (holding(PAGE, INDEX), r"index.json is a page of a web server"),
    "denied": (holding(b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"), r"web server \(AccessDenied\)"),
    "text": (holding(b"Entry not found"), r"two.safetensors holds the text 'Entry not found' of a web server"),
    "gzip": (holding(b"\x1f\x8b" + bytes(600)), r"two.safetensors is compressed with gzip"),
    "gguf": (holding(b"GGUF" + bytes(600)), r"two.safetensors is a file of llama.cpp"),
    "cut": (cut, r"two.safetensors is not a whole safetensors file \(it has \d+ bytes, but its header names \d+\); copy"),
    "cut header": (holding(b"\x40" + bytes(7) + b"{"),
                   r"two.safetensors is not a whole .* \(its header would take 64 bytes of 9"),
    "unfinished": (unfinished,
                   r"two.safetensors, but that is missing, but two.safetensors.incomplete, a download that did not"),
    "link": (linked, r"two.safetensors, but that is a link to blobs/lost, which is not there"),
    "cache": (cache, r"it is a download cache, whose files are in .*models--x--y/snapshots/abc; give that folder"),
    "shard missing": (lambda f: (f / "two.safetensors").unlink(),
                      r"names the shard two.safetensors, but that is missing; copy"),
    "mapped, not held": (lambda f: mapped(f, x="two.safetensors"), r"names the tensor x, but two.safetensors does not hold it"),
    "in another": (lambda f: mapped(f, **{"b.weight": "two.safetensors"}),
                   r"names the tensor b.weight, which one.safetensors holds, but two.safetensors does not hold it"),
    "held, not mapped": (lambda f: mapped(f, **{"b.weight": None}),
                         r"one.safetensors holds the tensor b.weight, but .*does not"),
    "outside": (lambda f: mapped(f, x="../two.safetensors"), r"names the shard '../two.safetensors', but shards lie beside"),
    "number": (lambda f: mapped(f, x=5), r"names the shard 5, but that is missing"),
    "no map": (holding(b"{}", INDEX), r"has no weight_map, which names the shards"),
    "named outside": (holding(b'{"transformers_weights": "../x.safetensors"}', "config.json"),
                      r"but the weights lie beside it"),
    "variant": (alone("model.fp16.safetensors"), r"but it holds model.fp16.safetensors, which no index.json names"),
    "authors'": (alone("consolidated.00.safetensors"), r"it holds consolidated.00.safetensors \(the authors' own layout\)"),
    "llama.cpp": (alone("model.Q4.gguf"), r"it holds model.Q4.gguf \(llama.cpp\), which is not read"),
    "adapter": (alone("adapter_model.safetensors"),
                r"it holds adapter_model.safetensors \(an adapter alone\), which is not read"),
    "gptq": (holding(b'{"quantization_config": {"quant_method": "gptq", "bits": 4}}', "config.json"),
             r"config.json has a quantization_config \(gptq, 4 bits\), but only plain weights are read; give the checkpoint"),
    "inner": (holding(b'{"text_config": {"quantization_config": {"quant_method": "fp8"}}}', "config.json"),
              r"\(fp8\), but only"),
    "mlx": (holding(b'{"quantization": {"bits": 4}}', "config.json"), r"has a quantization \(an unnamed method, 4 bits\)"),
    "wrapped": (lambda f: save_file({"module.a.weight": torch.ones(1)}, f / "model.safetensors"),
                r"begin with 'module.', which DistributedDataParallel or DeepSpeed writes; set weights_prefix=module. to read"),
    "peft": (lambda f: save_file({"q.base_layer.weight": torch.ones(1)}, f / "model.safetensors"),
             r"call merge_and_unload\(\)"),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_what_stands_in_place_of_weights_is_named(folder: Path, change: Callable[[Path], object], words: str) -> None:
    change(folder)
    with pytest.raises(OmnikitError, match=words) as caught:
        check_weights(folder, "")
    assert len(caught.value.sentences) == 1


SCALES = ["weight_scale", "weight_scale_inv", "input_scale", "scales", "qweight", "qzeros", "g_idx", "SCB", "weight_format",
          "absmax", "weight.absmax", "weight.quant_map", "weight.quant_state.bitsandbytes__nf4", "weight_packed",
          "weight_zero_point", "k_scale", "W_q", "weight._data", "down_proj_blocks", "weight_global_scale"]


@pytest.mark.parametrize("name", SCALES)
def test_scales_are_known_by_their_names(name: str) -> None:
    found = quantised_tensor([(f"layers.0.q_proj.{name}", "float32")], "x")
    assert f"holds layers.0.q_proj.{name}, which belongs to quantised weights" in str(found)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "float8_e4m3fn", "float8_e5m2", "F4"])
def test_matrices_of_whole_or_narrow_numbers_are_refused(dtype: str) -> None:
    assert f"holds q.weight in {dtype}, which means nothing without" in str(quantised_tensor([("q.weight", dtype)], "x"))


@pytest.mark.parametrize("name", ["logit_scale", "ls1.gamma", "norm.num_batches_tracked", "embeddings.position_ids", "scale"])
def test_other_names_are_plain(name: str) -> None:
    assert quantised_tensor([(name, "int64")], "x") is None


def test_bytes_are_compared_to_the_first_difference(tmp_path: Path) -> None:
    one = torch.randn(3000, 500)
    save_file({"a": one, "b": one.clone(), "c": one.index_fill(0, torch.tensor([2999]), 0.0), "d": one.half()},
              tmp_path / "model.safetensors")
    found = stored_tensors(weight_files(tmp_path, ""))
    assert [equal(found["a"], found[name]) for name in "bcd"] == [True, False, False]


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model"])
def test_a_pointer_in_place_of_a_tokenizer_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(LFS)
    with pytest.raises(OmnikitError, match=rf"{re.escape(name)} is a pointer of Git LFS"):
        check_tokenizer(tmp_path)
    assert TokenizerFolder(tmp_path).exists


def test_a_file_that_is_not_json_stays_that(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": ')
    with pytest.raises(OmnikitError, match=r"x\.json is not JSON"):
        read_object(tmp_path / "x.json")
