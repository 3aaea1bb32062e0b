"""A model made ready for what a stage trains of it, and given back with the proof that this moved and nothing else did."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn

from omnikit.model import OmniModel
from omnikit.parts import seeded
from omnikit.plan.plan import Plan, StagePlan
from omnikit.plan.tuning import Tuning
from omnikit.store.adapters import AdapterFacts
from omnikit.store.load import empty_part
from omnikit.store.quantise import check_torchao
from omnikit.training.trainable.adapters import attach, detach, facts_of, target_layers
from omnikit.training.trainable.freeze import Movement, Snapshot, chosen_tensors, full_precision


@dataclass
class Tuned:
    """What a stage made; `adapters`: part → what to save instead of the whole part."""

    adapters: dict[str, tuple[AdapterFacts, dict[str, Tensor]]] = field(default_factory=dict)


@contextmanager
def tuned(model: OmniModel, stage: StagePlan, before: Mapping[str, str], *, prove: bool = True) -> Iterator[Tuned]:
    """Train inside, on a model whose untrained parts are frozen and which is on the CPU again at the end.

    Adapters are on their layers meanwhile, and what is trained is held in float32.

    Args:
        before: part → hash, as its weights were loaded.
        prove: look at what moved and what is to be saved; False for a process that another one does so for.

    Raises:
        RunError: what is to be trained is not there, something moved that is frozen, or something did not that is trained.
    """
    snapshot, found = Snapshot.of(model, stage) if prove else None, Tuned()
    chosen = {part: _tune(model, stage, part, tuning) for part, tuning in stage.tuning.items()}
    model.pieces = frozenset(chosen)
    model.train(model.training)
    with full_precision(model, stage.trained, [part for part, tuning in stage.tuning.items() if tuning.full]):
        movement = Movement(model, stage) if prove else None
        yield found
        if movement and stage.stage.objective != "units":  # fitted by the codec's own method, without gradients
            movement.check(model)
    if snapshot is None:
        return
    for part, tuning in stage.tuning.items():
        if tuning.lora:
            module = model.get_submodule(part)
            tensors = detach(module)
            own = dict(module.state_dict())
            facts = facts_of(module, tensors, tuning.lora, before[part])
            found.adapters[part] = facts, {**{name: own[name] for name in chosen[part]}, **tensors}
    snapshot.check(model, chosen)


def check_tuning(plan: Plan, stage: StagePlan) -> None:
    """Raise RunError if a stage's `train` names tensors or layers that a part does not have; builds it without weights."""
    for part, tuning in stage.tuning.items():
        if tuning.lora and tuning.lora.load_in:
            check_torchao(f"stages.{stage.name}.train.{part}.lora.load_in is {tuning.lora.load_in}")
        _chosen(empty_part(plan, part), stage, tuning, f"stages.{stage.name}.train.{part}", plan.described(part))


def _tune(model: OmniModel, stage: StagePlan, part: str, tuning: Tuning) -> list[str]:
    """Let what is trained of a part require gradients, and nothing else; give the names of tensors that may move."""
    module, where, words = model.get_submodule(part), f"stages.{stage.name}.train.{part}", model.plan.described(part)
    names = _chosen(module, stage, tuning, where, words)
    own = dict(module.named_parameters())
    chosen, movable = {id(own[name]) for name in names}, [*names, *_buffers_beside(module, names)]
    if tuning.lora:
        with seeded(f"{model.plan.recipe.seed} {part} {stage.name}"):
            attach(module, tuning.lora, f"{where}.lora", words)
    for name, weights in module.named_parameters():
        weights.requires_grad_(id(weights) in chosen or ".lora_" in name)
    return movable


def _chosen(module: nn.Module, stage: StagePlan, tuning: Tuning, where: str, words: str) -> list[str]:
    """Give the names of the parameters that are trained themselves, once it is clear that all that is named is there."""
    if tuning.lora:
        target_layers(module, tuning.lora, f"{where}.lora", words)
    return chosen_tensors(module, tuning.full, where, words)


def _buffers_beside(module: nn.Module, names: list[str]) -> list[str]:
    """Give the saved buffers of the modules that own some parameters: running means of a norm that is trained."""
    owners = {name.rpartition(".")[0] for name in names}
    parameters = {name for name, _ in module.named_parameters()}
    return [name for name in module.state_dict() if name not in parameters and name.rpartition(".")[0] in owners]
