"""Models of transformers, imported: the same logits, gradients and answers; and the same files again."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hf_cases import CASES
from hf_parity import (
    Pair,
    assert_equal,
    batch_of,
    gradients,
    made,
    media_of,
    other_medium,
    our_logits,
    their_inputs,
    their_logits,
    without_media,
)
from omnikit_hf_models.convert import class_of
from omnikit_hf_models.layout import HFModel
from safetensors.torch import load_file

from omnikit.contracts.types import Batch
from omnikit.inference.generate import Sampling, generate
from omnikit.store.import_export import export
from omnikit.training.import_run import import_checkpoint


@pytest.fixture(scope="module", params=CASES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return made(CASES[request.param], tmp_path_factory.mktemp(request.param))


@pytest.fixture
def batch(pair: Pair) -> Batch:
    return batch_of(pair, *media_of(pair))


@torch.no_grad()
def test_every_medium_changes_the_logits(pair: Pair, batch: Batch) -> None:
    before = their_logits(pair, batch)
    for index in range(len(batch.rows[pair.case.branch])):
        changed = other_medium(batch, pair.case.branch, index)
        assert (their_logits(pair, changed) - before).abs().max() > 1e-3
        assert_equal(pair, our_logits(pair, changed), their_logits(pair, changed))


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@torch.no_grad()
def test_logits_are_equal(pair: Pair, batch: Batch, left: bool) -> None:
    assert_equal(pair, our_logits(pair, batch, left=left), their_logits(pair, batch, left=left))


@torch.no_grad()
def test_a_dropped_medium_is_found(pair: Pair, batch: Batch) -> None:
    with pytest.raises(AssertionError, match="Mismatched elements"):
        assert_equal(pair, our_logits(pair, without_media(batch)), their_logits(pair, batch))


def test_footprints_count_the_parameters(pair: Pair) -> None:
    branch = pair.ours.plan.inputs[pair.case.branch]
    counts = [sum(weight.numel() for weight in pair.ours.get_submodule(f"{branch.name}.{slot}").parameters())
              for slot in ("encoder", "projector")]
    dim = pair.ours.plan.parts()["backbone"].dim
    projector = branch.projector.fused_footprint([branch.encoded, *(each.encoded for each in branch.sources)], dim) if (
        branch.sources) else branch.projector.footprint(branch.encoded, dim)
    found = (branch.encoder.footprint(), projector)
    assert [each.parameters for each in found] == counts


def test_gradients_are_equal(pair: Pair, batch: Batch) -> None:
    pair.ours.requires_grad_(True)
    kind = class_of(pair.theirs.config)
    theirs = {kind.ours(name): grad for name, grad in gradients(pair.theirs, their_logits(pair, batch)).items()}
    ours = gradients(pair.ours, our_logits(pair, batch))
    names = {f"{part}.{name}": grad for part, name in [found for found in theirs if found] for grad in [theirs[part, name]]}
    assert ours.keys() <= names.keys() and len(ours) > 20
    for name, grad in ours.items():
        torch.testing.assert_close(grad, names[name], atol=1e-6, rtol=1e-4, msg=name)
    assert all(not grad.any() for name, grad in names.items() if name not in ours)


@torch.no_grad()
def test_answers_are_equal(pair: Pair) -> None:
    batch = batch_of(pair, *media_of(pair), prompt=True)
    ours = generate(pair.ours, batch, Sampling((-1,), 6)).tokens
    inputs = their_inputs(pair, batch, left=True)
    found = pair.theirs.generate(**inputs, do_sample=False, max_new_tokens=6, min_new_tokens=6, eos_token_id=None)
    assert ours == found[:, -6:].tolist()


def test_what_was_imported_is_written_back(pair: Pair, tmp_path: Path) -> None:
    export(HFModel, str(pair.run), tmp_path / "again")
    loaded, report = type(pair.theirs).from_pretrained(tmp_path / "again", output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    kind = class_of(pair.theirs.config)
    before, after = load_file(pair.folder / "model.safetensors"), load_file(tmp_path / "again" / "model.safetensors")
    unused = re.compile(f"{kind.unused(pair.theirs.config)}|{kind.repeats}")
    used = {kind.canonical(name): tensor for name, tensor in before.items() if not unused.match(kind.canonical(name))}
    assert used.keys() <= after.keys() <= {kind.canonical(name) for name in before}
    assert [name for name in used if not torch.equal(used[name], after[name])] == []
    import_checkpoint("hf_model", {"folder": str(tmp_path / "again"), "template": "llama_3"}, tmp_path / "run")
    batch = batch_of(pair, *media_of(pair))
    with torch.no_grad():
        assert_equal(pair, their_logits(replace(pair, theirs=loaded.eval()), batch), their_logits(pair, batch))
