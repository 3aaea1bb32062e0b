"""All that changes while a stage is trained, as tensors and plain values, and back: a resumed stage goes on to the bit.

Weights that are not trained are not among it: they are the same as when the stage began, which its end proves.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as L
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError
from omnikit.model import OmniModel
from omnikit.plan.plan import StagePlan
from omnikit.store import sharded_tensors
from omnikit.store.training_checkpoint import TrainingCheckpoint
from omnikit.training.distributed import ALONE, World, any_rank, empty_like, like, local
from omnikit.training.module import Training
from omnikit.training.offload import OffloadedOptimizer
from omnikit.training.optimizers import CombinedOptimizer, ExpertMuon, dequantised, quantised_again, rate

State = dict[str, Any]  # of what torch.load reads with weights_only
MODEL = "model."  # begins the names of a sharded checkpoint's tensors of the model
NAME = "tensor"  # key of what stands in an optimizer's state for a tensor of shards


def trained_tensors(model: OmniModel, trained: tuple[str, ...]) -> dict[str, Tensor]:
    """Give name → tensor of what a stage may change in the parts it trains: trained weights, and every buffer."""
    found: dict[str, Tensor] = {}
    for path in trained:
        part = model.get_submodule(path)
        found |= {f"{path}.{name}": weights for name, weights in part.named_parameters() if weights.requires_grad}
        found |= {f"{path}.{name}": buffer for name, buffer in part.named_buffers()}
    return {name: tensor.detach() for name, tensor in found.items()}


def fill_tensors(model: OmniModel, trained: tuple[str, ...], stored: Mapping[str, LazyTensor]) -> None:
    """Put stored tensors in the place of the model's, one by one; a buffer may have grown meanwhile, a weight not.

    Raises:
        RunError: there are others, or a weight has another shape.
    """
    own = trained_tensors(model, trained)
    grown = _grown(model, own, {name: tensor.shape for name, tensor in stored.items()})
    for name, tensor in own.items():
        if name in grown:
            _set_buffer(model, name, stored[name].read().to(tensor.device))
        else:
            tensor.copy_(like(stored[name].read(), tensor))


def fill_from_shards(model: OmniModel, trained: tuple[str, ...], folder: Path) -> None:
    """Put what a sharded checkpoint holds of the model in its place; each rank reads what it holds.

    Raises:
        RunError: there are other tensors, a weight has another shape, or a file is damaged.
    """
    own, found = trained_tensors(model, trained), sharded_tensors.shapes(folder)
    stored = {name.removeprefix(MODEL): each for name, each in found.items() if name.startswith(MODEL)}
    grown = _grown(model, own, {name: tuple(shape) for name, (shape, _) in stored.items()})
    fresh = {name: torch.empty(stored[name][0], dtype=stored[name][1]) for name in grown}
    sharded_tensors.read(folder, {f"{MODEL}{name}": tensor for name, tensor in (own | fresh).items()})
    for name, tensor in fresh.items():
        _set_buffer(model, name, tensor.to(own[name].device))


def _grown(model: OmniModel, own: Mapping[str, Tensor], stored: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Give the names of buffers that have another shape now; raises RunError if a weight has, or if names differ."""
    advice = "begin the stage from scratch with --restart"
    for name in own.keys() ^ stored.keys():
        raise RunError(f"The checkpoint and the model differ in the tensor {name}; {advice}.")
    grown = [name for name, tensor in own.items() if tuple(tensor.shape) != tuple(stored[name])]
    for name in grown:
        path, _, leaf = name.rpartition(".")
        if leaf not in dict(model.get_submodule(path).named_buffers(recurse=False)):
            raise RunError(f"The checkpoint's tensor {name} has shape {tuple(stored[name])}, but the model's has"
                           f" {tuple(own[name].shape)}; {advice}.")
    return grown


def _set_buffer(model: OmniModel, name: str, tensor: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(path), leaf, tensor)


def check_finite(model: OmniModel, stage: StagePlan, step: int, world: World = ALONE) -> None:
    """Raise RunError if a trained weight is NaN or infinite, on every rank if its shard is so on one."""
    weights = {f"{path}.{name}": weights for path in stage.trained
               for name, weights in model.get_submodule(path).named_parameters() if weights.requires_grad}
    broken = any_rank([not bool(torch.isfinite(local(tensor)).all()) for tensor in weights.values()], world)
    for name, is_broken in zip(weights, broken, strict=True):
        if is_broken:
            raise RunError(f"Stage {stage.name} at step {step}: {name} holds what is not a number; lower"
                           f" stages.{stage.name}.optim.lr, or look for broken rows with omnikit check --deep.")


def training_state(trainer: L.Trainer, module: Training) -> State:
    """Give all of it but the tensors of the model, the random generators and the module's counts; shards as they are."""
    return {"optimizers": [one.state_dict() for one in trainer.optimizers],
            "precision": trainer.precision_plugin.state_dict(),
            "losses": module.vocoding.state_dict() if module.vocoding else {}}


def without_shards(value: Any, name: str, shards: dict[str, Tensor]) -> Any:
    """Give a state with a name in place of each tensor of shards, which goes into `shards`; 8-bit ones as floats."""
    if isinstance(value, DTensor):
        shards[name] = dequantised(value)
        return {NAME: name}
    if isinstance(value, dict):
        return {key: without_shards(inner, f"{name}.{key}", shards) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_shards(inner, f"{name}.{index}", shards) for index, inner in enumerate(value)]
    return value


def restore_training_state(trainer: L.Trainer, module: Training, state: State, start: TrainingCheckpoint) -> None:
    """Take back what `training_state` gave; the learning rate is the one of the schedule as it is now."""
    _restore_optimizers(trainer.optimizers, state["optimizers"], start)
    trainer.precision_plugin.load_state_dict(state["precision"])
    if module.vocoding:
        module.vocoding.load_state_dict(state["losses"])
    module.load_progress_state(state["module"])
    optim = module.stage.stage.optim
    for config in trainer.lr_scheduler_configs:
        schedule = config.scheduler
        assert isinstance(schedule, torch.optim.lr_scheduler.LambdaLR), "stages have one kind of schedule"
        schedule.last_epoch = start.step
        for group, peak in zip(schedule.optimizer.param_groups, schedule.base_lrs, strict=True):
            group["lr"] = peak * rate(start.step, module.steps, optim)


@dataclass(frozen=True)
class RandomState:
    """The state of every generator that training may draw from."""

    torch: Tensor
    cuda: list[Tensor]
    python: tuple[Any, ...]
    numpy: Any  # what numpy.random.get_state gives

    @staticmethod
    def now() -> "RandomState":
        """Take it; this waits for no device."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return RandomState(torch.get_rng_state(), cuda, random.getstate(), np.random.get_state())

    def plain(self) -> State:
        """Give it as a checkpoint holds it."""
        name, keys, place, has_gauss, gauss = self.numpy
        return {"torch": self.torch, "cuda": self.cuda, "python": self.python,
                "numpy": (str(name), torch.from_numpy(keys.astype(np.int64)), int(place), int(has_gauss), float(gauss))}


def _restore_optimizers(optimizers: Sequence[Optimizer], states: Sequence[State], start: TrainingCheckpoint) -> None:
    """Let optimizers take their states, in shards where their weights are such, whatever they were when stored."""
    shapes = sharded_tensors.shapes(start.folder) if start.is_sharded else {}
    into: dict[str, Tensor] = {}

    def place(_: Optimizer, key: str, value: object, weight: Tensor) -> object:
        if isinstance(value, dict) and NAME in value:
            shape, dtype = shapes[value[NAME]]
            into[value[NAME]] = found = empty_like(shape, dtype, weight)
            return found
        if isinstance(value, Tensor) and isinstance(weight, DTensor):
            return like(dequantised(value), weight)
        return value

    placed = [_placed(state, one, place) for state, one in zip(states, optimizers, strict=True)]
    if into:
        sharded_tensors.read(start.folder, into)
    for one, found in zip(optimizers, placed, strict=True):
        one.load_state_dict(_placed(found, one, quantised_again))


Place = Callable[[Optimizer, str, object, Tensor], object]  # (optimizer, key, value, weight) → what stands for the value


def _placed(state: State, optimizer: Optimizer, place: Place) -> State:
    """Give an optimizer's state with each value of a weight as `place` gives it."""
    if isinstance(optimizer, OffloadedOptimizer):
        return _placed(state, optimizer.inner, place)
    if isinstance(optimizer, CombinedOptimizer):
        pairs = zip(state["optimizers"], optimizer.optimizers, strict=True)
        return {"optimizers": [_placed(one, inner, place) for one, inner in pairs]}
    if isinstance(optimizer, ExpertMuon):  # whose weights are never shards
        return state
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    indices = [index for group in state["param_groups"] for index in group["params"]]
    own = dict(zip(indices, weights, strict=True))
    return {**state, "state": {index: {key: place(optimizer, key, value, own[index]) for key, value in one.items()}
                               for index, one in state["state"].items()}}


def restore_random_state(state: State) -> None:
    """Let every generator go on as it did then."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *others = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *others))
