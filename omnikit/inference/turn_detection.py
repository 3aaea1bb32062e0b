"""Turn detection: whether spoken questions are meant for the model, by a head with target "state"."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from omnikit.contracts.types import Batch, Features, Sample
from omnikit.errors import PlanError
from omnikit.inference.answer_states import NOISE
from omnikit.model import OmniModel
from omnikit.plan.plan import OutputBranch, Plan
from omnikit.taps import Taps

CLASSES = ("audio", NOISE)  # by id, as in training


class TurnClassifier(Protocol):
    """A head with target "state"."""

    def probabilities(self, features: Features) -> Tensor: ...


def turn_branch(plan: Plan) -> OutputBranch | None:
    """Give the branch with the turn-detection head; None where there is none."""
    return next((output for output in plan.outputs.values() if output.head.target == "state"), None)


@dataclass(frozen=True)
class QuestionTurn:
    """How the state of a last question is found: by the hidden state at a position of its prompt, or it is certain."""

    position: int | None = None
    state: str | None = None


def question_turn(plan: Plan, batch: Batch, sample: Sample) -> QuestionTurn:
    """Say where the turn-detection head reads the last question of a prompt, a batch of one row; see `detected_states`."""
    output = turn_branch(plan)
    if output is None or (plan.template and plan.template.states):
        return QuestionTurn()
    if not _is_spoken(sample) or output.state_input not in batch.slots:
        return QuestionTurn(state="text")
    return QuestionTurn(int(batch.slots[output.state_input][-1]))


@torch.no_grad()
def turn_state(model: OmniModel, hidden: Tensor) -> str:
    """Give the state by the hidden state [D] at a QuestionTurn's position."""
    output = turn_branch(model.plan)
    assert output, "a position is given where there is such a head"
    head = cast(TurnClassifier, model.head(output.name))  # the contract of its target
    features = model.head_input(output, hidden[None, None], torch.ones(1, dtype=torch.int64, device=hidden.device))
    return CLASSES[int(head.probabilities(features)[0, :len(CLASSES)].argmax())]


@torch.no_grad()
def turn_probabilities(model: OmniModel, batch: Batch) -> list[list[dict[str, float]]]:
    """Give for each row and each of its audios, in order, the probabilities of "audio" (meant for the model) and "noise".

    Raises:
        PlanError: there is no turn-detection head.
    """
    output = turn_branch(model.plan)
    if output is None:
        raise PlanError(f"{model.plan.recipe.name} has no turn-detection head; add one, for example turn/head=state.")
    found: list[list[dict[str, float]]] = [[] for _ in batch.ids]
    if output.state_input in batch.signals:
        head = cast(TurnClassifier, model.head(output.name))  # the contract of its target
        probabilities = head.probabilities(Taps(model, batch).features(output)).tolist()
        for row, each in zip(batch.rows[output.state_input], probabilities, strict=True):
            found[row].append(dict(zip(CLASSES, each, strict=False)))
    return found


def detected_states(model: OmniModel, batch: Batch, samples: Sequence[Sample]) -> list[str | None]:
    """Give the state that the turn-detection head predicts for each last question; None where there is no such head.

    Also None where the template has states of its own, which then decide.
    """
    plan = model.plan
    if turn_branch(plan) is None or (plan.template and plan.template.states):
        return [None] * len(samples)
    found: list[str | None] = []
    for sample, probabilities in zip(samples, turn_probabilities(model, batch), strict=True):
        spoken = _is_spoken(sample) and probabilities
        found.append(max(probabilities[-1], key=probabilities[-1].__getitem__) if spoken else "text")
    return found


def _is_spoken(sample: Sample) -> bool:
    """Say whether a sample's last question holds audio."""
    last = [message for message in sample.messages if message.role == "user"][-1:]
    return any(part.type == "audio" for message in last for part in message.content)
