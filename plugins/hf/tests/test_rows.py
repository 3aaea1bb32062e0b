"""Rows that come and go, each of its own length, equal the full forward of each alone."""

import pytest
import torch
from omnikit_hf.config import HF, PACKED
from omnikit_hf.model import HFBackbone
from torch import Tensor

TINY = {"dim": 64, "layers": 2, "heads": 4, "kv_heads": 2, "ffn": 96, "vocabulary": 600, "context": 64}


def built(family: str, **fields: object) -> HFBackbone:
    torch.manual_seed(0)
    module = HF(model_type=family, **(TINY | fields)).build().eval()  # type: ignore[arg-type]
    assert isinstance(module, HFBackbone)
    return module


def full(model: HFBackbone, inputs: Tensor) -> Tensor:
    return model(inputs[None], torch.ones(1, len(inputs), dtype=torch.bool))[0]


CASES = [*((family, attention, None) for family in PACKED for attention in ("sdpa", "eager")), ("llama", "sdpa", (3, 16)),
         ("mixtral", "eager", (4, 11))]


@pytest.mark.parametrize(("family", "attention", "fixed"), CASES, ids=str)
@torch.no_grad()
def test_rows_of_mixed_lengths_equal_each_alone(family: str, attention: str, fixed: tuple[int, int] | None) -> None:
    model = built(family, attention=attention, **({"experts": 4} if family in ("mixtral", "qwen2_moe") else {}))
    long, short, late = (model.embed(torch.randint(0, 500, (count,), generator=torch.Generator().manual_seed(count)))
                         for count in (11, 6, 7))
    cache = model.init_rows(fixed)
    assert cache is not None
    assert [cache.add(), cache.add()] == [0, 1]
    found = {"long": [cache.step(long[None, :4], [0])[0], cache.step(long[None, 4:8], [0])[0]],
             "short": [cache.step(short[None, :3], [1])[0]], "late": []}
    for step in range(2):
        both = cache.step(torch.stack([long[8 + step:9 + step], short[3 + step:4 + step]]), [0, 1])
        found["long"].append(both[0])
        found["short"].append(both[1])
    assert cache.add() == 2
    found["late"].append(cache.step(late[None, :5], [2])[0])
    both = cache.step(torch.stack([late[5:6], long[10:11]]), [2, 0])  # not as they stand in memory
    found["late"].append(both[0])
    found["long"].append(both[1])
    cache.remove(0)  # now late is row 0
    both = cache.step(torch.stack([late[6:7], short[5:6]]), [0, 1])
    found["late"].append(both[0])
    found["short"].append(both[1])
    for name, inputs in (("long", long), ("short", short), ("late", late)):
        torch.testing.assert_close(torch.cat(found[name]), full(model, inputs), rtol=1e-4, atol=1e-5)  # other sums of float32


@torch.no_grad()
def test_saved_positions_go_on_as_if_they_were_read() -> None:
    model = built("llama")
    inputs = model.embed(torch.randint(0, 500, (9,), generator=torch.Generator().manual_seed(0)))
    first = model.init_rows()
    assert first is not None
    first.add()
    first.step(inputs[None, :7], [0])
    saved = first.save(0)
    first.add()
    first.load(1, saved, 5)
    again = first.step(inputs[None, 5:], [1])[0]
    torch.testing.assert_close(again, full(model, inputs)[5:], rtol=1e-4, atol=1e-5)  # other sums of float32
    assert (saved.length, saved.cut(3).length, saved.cut(3).bytes) == (7, 3, saved.bytes // 7 * 3)


@torch.no_grad()
def test_memory_grows_and_is_given_back() -> None:
    model, sizes = built("llama", context=2048), []
    cache = model.init_rows()
    assert cache is not None
    for count in (3, 300, 3):
        cache.step(model.embed(torch.zeros(1, count, dtype=torch.int64)), [cache.add()])
        sizes.append(cache.bytes)
    cache.remove(1)
    sizes.append(cache.bytes)
    cache.remove(0)
    cache.remove(0)
    position = 2 * 2 * 2 * 16 * 4  # keys and values of 2 layers, 2 heads of 16 float32
    assert [each // position for each in sizes] == [64, 2 * 320, 4 * 320, 2 * 64] and cache.bytes == 0


@torch.no_grad()
def test_window_shorter_than_the_row_holds() -> None:
    model = built("mistral")
    model.model.config.sliding_window = 4
    inputs = model.embed(torch.randint(0, 500, (10,), generator=torch.Generator().manual_seed(0)))
    cache = model.init_rows()
    assert cache is not None
    cache.add()
    found = torch.cat([cache.step(part[None], [0])[0] for part in inputs.split([6, 1, 1, 2])])
    torch.testing.assert_close(found, full(model, inputs), rtol=1e-4, atol=1e-5)  # other sums of float32


@pytest.mark.parametrize("family", ["opt", "falcon"])
def test_other_families_have_no_rows(family: str) -> None:
    assert built(family).init_rows() is None


def test_layers_of_different_windows_have_no_rows() -> None:
    model = built("gemma3_text")
    model.model.config.sliding_window = 4
    model.model.config.layer_types = ["sliding_attention", "full_attention"]
    assert model.init_rows() is None
