"""Whether spoken questions were meant for the model, by the head that tells states. Writes no answer."""

from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor

from omnikit.contracts.types import Batch, Features, Sample
from omnikit.errors import PlanError
from omnikit.inference.answer_states import NOISE
from omnikit.model import OmniModel, Taps
from omnikit.plan.plan import OutputBranch, Plan

CLASSES = ("audio", NOISE)  # by id, as in training


class StateClassifier(Protocol):
    """What is asked of a head with target "state"."""

    def probabilities(self, features: Features) -> Tensor: ...


def state_branch(plan: Plan) -> OutputBranch | None:
    """Give the branch that tells states; None where there is none."""
    return next((output for output in plan.outputs.values() if output.head.target == "state"), None)


@torch.no_grad()
def turns(model: OmniModel, batch: Batch) -> list[list[dict[str, float]]]:
    """Give for each row and each of its sounds, in order, the shares of "audio" (meant for the model) and "noise".

    Raises:
        PlanError: no head tells states.
    """
    output = state_branch(model.plan)
    if output is None:
        raise PlanError(f"{model.plan.recipe.name} has no head that tells states; add one, for example turn/head=state.")
    found: list[list[dict[str, float]]] = [[] for _ in batch.ids]
    if output.state_input in batch.signals:
        head = cast(StateClassifier, model.head(output.name))  # its contract says so
        shares = head.probabilities(Taps(model, batch).features(output)).tolist()
        for row, each in zip(batch.rows[output.state_input], shares, strict=True):
            found[row].append(dict(zip(CLASSES, each, strict=False)))
    return found


def told(model: OmniModel, batch: Batch, samples: Sequence[Sample]) -> list[str | None]:
    """Give what each row's last question is taken for by the head that tells states; None where no head is needed or there.

    It is needed where the template has no states of its own.
    """
    plan = model.plan
    if state_branch(plan) is None or (plan.template and plan.template.states):
        return [None] * len(samples)
    found: list[str | None] = []
    for sample, shares in zip(samples, turns(model, batch), strict=True):
        last = [message for message in sample.messages if message.role == "user"][-1:]
        heard = any(part.type == "audio" for message in last for part in message.content)
        found.append(max(shares[-1], key=shares[-1].__getitem__) if heard and shares else "text")
    return found
