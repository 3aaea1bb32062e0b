"""What is frozen stays frozen, and proves it."""

from pathlib import Path

import pytest
import torch
from doubles import FakeEncoder, make_plan, write_tokenizer
from torch import nn

from omnikit.errors import RunError
from omnikit.model import OmniModel
from omnikit.recipe.optim import Optim
from omnikit.store.hashes import distinct, hashes, weights_hash
from omnikit.training.optimizers import groups
from omnikit.training.trainable.freeze import check_unmoved, freeze


@pytest.fixture
def model(tmp_path: Path) -> OmniModel:
    model = OmniModel(make_plan(write_tokenizer(tmp_path), encoder=FakeEncoder(dropout=0.5)))
    freeze(model, ("backbone", "audio.projector"))
    return model


def test_frozen_parts_stay_in_eval_mode(model: OmniModel) -> None:
    model.train()
    modes = {path: part.training for path, part in model.parts().items()}
    assert [path for path, training in modes.items() if training] == ["audio.projector", "backbone"]


def test_frozen_batch_norm_and_dropout_do_not_move(model: OmniModel) -> None:
    before = hashes(model)
    model.train()
    encoder = model.get_submodule("audio.encoder")
    x = torch.randn(4, 5, 20)
    assert torch.equal(encoder.norm(x), encoder.norm(x)) and torch.equal(encoder.dropout(x), x)
    assert hashes(model) == before


def test_unfrozen_batch_norm_moves_the_hash(model: OmniModel) -> None:
    freeze(model, ("audio.encoder",))
    before = hashes(model)
    model.train()
    model.get_submodule("audio.encoder").norm(torch.randn(4, 5, 20))
    assert [path for path, digest in hashes(model).items() if digest != before[path]] == ["audio.encoder"]


def test_only_trained_parameters_want_gradients_and_are_optimised(model: OmniModel) -> None:
    optimised = {id(p) for group in groups(model, ("backbone", "audio.projector"), Optim()) for p in group["params"]}
    wanting = {id(p) for p in model.parameters() if p.requires_grad}
    trained = {id(p) for path in ("backbone", "audio.projector") for p in model.get_submodule(path).parameters()}
    assert optimised == wanting == trained


def test_moved_part_is_named() -> None:
    with pytest.raises(RunError, match=r"Stage speak changed backbone, which it does not train: .* a1 before and b2 after"):
        check_unmoved({"backbone": "a1", "speech.head": "c"}, {"backbone": "b2", "speech.head": "d"}, ["speech.head"], "speak")


def test_hash_changes_with_one_bit() -> None:
    layer = nn.Linear(3, 3)
    before = weights_hash(layer)
    with torch.no_grad():
        layer.weight[0, 0] = torch.nextafter(layer.weight[0, 0], torch.tensor(9.0))
    assert weights_hash(layer) != before


def test_hash_reads_bfloat16_scalars_and_empty_tensors() -> None:
    part = nn.Module()
    part.register_buffer("a", torch.ones(2, dtype=torch.bfloat16))
    part.register_buffer("b", torch.tensor(3))
    part.register_buffer("c", torch.zeros(0))
    assert len(weights_hash(part)) == 16


def test_tied_weights_appear_once() -> None:
    part = nn.Module()
    part.table = nn.Embedding(3, 2)
    part.output = nn.Linear(2, 3, bias=False)
    part.output.weight = part.table.weight
    assert [name for name, _ in distinct(part)] == ["table.weight"]
