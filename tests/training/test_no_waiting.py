"""A step of training asks the accelerator for nothing: no value of a tensor on it is read by the host.

Without a GPU this is shown by tensors that have a device and a shape but no values (torch's fake tensors): whatever needs a
value raises. On a GPU torch itself raises at each wait. Left out are heads with CTC, whose loss reads lengths, and clipping.
"""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from omnikit.contracts.types import Batch, ContentPart, Message, Sample
from omnikit.data.batch.collate import Collator, to_device
from omnikit.data.batch.packing import PackedCollator
from omnikit.data.batch.windows import count_window
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose
from omnikit.splice import OPENING
from omnikit.training.normalisation import WindowScales

BRANCHES = ("text", "turn")


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Images, audio and text in, text and turn detection out."""
    return make(compose("vita_1_5/tiny", []))


def row(name: str, words: str) -> Sample:
    random = np.random.default_rng(len(words))
    audio = ContentPart("audio", audio=random.normal(0, 0.1, 9000).astype(np.float32))
    image = ContentPart("image", pixels=random.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    return Sample(name, (Message("user", (image, audio)), Message("assistant", (ContentPart("text", text=words),))))


def batch(plan: Plan, *, packed: bool) -> Batch:
    rows, collate = [row("a", "it is red"), row("b", "two blue circles")], Collator(plan, BRANCHES)
    found = PackedCollator(collate)([rows]) if packed else collate(rows)
    count_window([found])
    return found


def losses(model: OmniModel, given: Batch) -> Tensor:
    scales = WindowScales(BRANCHES, 1)(given, torch.device("cuda"))
    return torch.stack([scales[name] * loss for name, loss in model.losses(given, BRANCHES).items()]).sum()


def past_the_opening(plan: Plan, parts: Sequence[str]) -> OmniModel:
    """Give a model that has had the first batches, whose lengths are read."""
    model = OmniModel(plan, parts)
    for part in parts:
        for _ in range(OPENING):
            model.length_checks.due(part, torch.device("cuda"))
    return model


def used(plan: Plan) -> list[str]:
    return [part for part in plan.parts() if not part.startswith(("speech", "transcript"))]


def move(module: nn.Module, mode: FakeTensorMode) -> None:
    """Put a module's tensors onto a GPU that is not there."""
    for inner in module.modules():
        for name, weights in inner._parameters.items():
            if weights is not None:
                inner._parameters[name] = nn.Parameter(mode.from_tensor(weights.data).to("cuda"))
        for name, values in inner._buffers.items():
            if values is not None:
                inner._buffers[name] = mode.from_tensor(values).to("cuda")


@pytest.mark.parametrize("packed", [False, True])
def test_losses_read_no_value_on_the_device(plan: Plan, packed: bool) -> None:
    model, given = past_the_opening(plan, used(plan)).train(), batch(plan, packed=packed)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        move(model, mode)
        found = losses(model, given.mapped(lambda tensor: mode.from_tensor(tensor).to("cuda")))
    assert found.device.type == "cuda" and found.shape == ()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("packed", [False, True])
def test_a_step_never_waits_for_the_gpu(plan: Plan, packed: bool) -> None:
    model, given = past_the_opening(plan, used(plan)).train().cuda(), batch(plan, packed=packed).pin_memory()
    moves = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)
    for mode in ("default", "error"):  # the first step allocates
        torch.cuda.set_sync_debug_mode(mode)
        try:
            losses(model, to_device(given, torch.device("cuda"))).backward()
            moves.step()
            moves.zero_grad()
        finally:
            torch.cuda.set_sync_debug_mode("default")
