"""All that changes while a stage is trained, as tensors and plain values, and back: a resumed stage goes on to the bit.

Weights that are not trained are not among it: they are the same as when the stage began, which its end proves.
"""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer

from omnikit.errors import RunError
from omnikit.model import OmniModel
from omnikit.plan.plan import StagePlan
from omnikit.training.distributed import complete, like
from omnikit.training.module import Training
from omnikit.training.optimizers import CombinedOptimizer, ExpertMuon, rate

State = dict[str, Any]  # of what torch.load reads with weights_only


def trained_tensors(model: OmniModel, trained: tuple[str, ...]) -> dict[str, Tensor]:
    """Give name → tensor of what a stage may change in the parts it trains: trained weights, and every buffer."""
    found: dict[str, Tensor] = {}
    for path in trained:
        part = model.get_submodule(path)
        found |= {f"{path}.{name}": weights for name, weights in part.named_parameters() if weights.requires_grad}
        found |= {f"{path}.{name}": buffer for name, buffer in part.named_buffers()}
    return {name: tensor.detach() for name, tensor in found.items()}


def fill_tensors(model: OmniModel, trained: tuple[str, ...], stored: dict[str, Tensor]) -> None:
    """Put stored tensors in the place of the model's; a buffer may have grown meanwhile, a weight not.

    Raises:
        RunError: there are others, or a weight has another shape.
    """
    own, advice = trained_tensors(model, trained), "begin the stage from scratch with --restart"
    for name in own.keys() ^ stored.keys():
        raise RunError(f"The checkpoint and the model differ in the tensor {name}; {advice}.")
    for name, tensor in own.items():
        path, _, leaf = name.rpartition(".")
        if tensor.shape == stored[name].shape:
            tensor.copy_(like(stored[name], tensor))
        elif leaf in dict(model.get_submodule(path).named_buffers(recurse=False)):
            setattr(model.get_submodule(path), leaf, stored[name].to(tensor.device))
        else:
            raise RunError(f"The checkpoint's tensor {name} has shape {tuple(stored[name].shape)}, but the model's has"
                           f" {tuple(tensor.shape)}; {advice}.")


def check_finite(model: OmniModel, stage: StagePlan, step: int) -> None:
    """Raise RunError if a trained weight is NaN or infinite."""
    for path in stage.trained:
        for name, weights in model.get_submodule(path).named_parameters():
            if weights.requires_grad and not bool(torch.isfinite(weights).all()):
                raise RunError(f"Stage {stage.name} at step {step}: {path}.{name} holds what is not a number; lower"
                               f" stages.{stage.name}.optim.lr, or look for broken rows with omnikit check --deep.")


def training_state(trainer: L.Trainer, module: Training) -> State:
    """Give all of it but the tensors of the model, the random generators and the module's counts."""
    return {"optimizers": [_complete(one.state_dict()) for one in trainer.optimizers],
            "precision": trainer.precision_plugin.state_dict(),
            "losses": module.vocoding.state_dict() if module.vocoding else {}}


def restore_training_state(trainer: L.Trainer, module: Training, state: State, step: int) -> None:
    """Take back what `training_state` gave; the learning rate is the one of the schedule as it is now."""
    for one, stored in zip(trainer.optimizers, state["optimizers"], strict=True):
        one.load_state_dict(_like_shards(stored, one))
    trainer.precision_plugin.load_state_dict(state["precision"])
    if module.vocoding:
        module.vocoding.load_state_dict(state["losses"])
    module.load_progress_state(state["module"])
    optim = module.stage.stage.optim
    for config in trainer.lr_scheduler_configs:
        schedule = config.scheduler
        assert isinstance(schedule, torch.optim.lr_scheduler.LambdaLR), "stages have one kind of schedule"
        schedule.last_epoch = step
        for group, peak in zip(schedule.optimizer.param_groups, schedule.base_lrs, strict=True):
            group["lr"] = peak * rate(step, module.steps, optim)


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


def _complete(value: Any) -> Any:
    """Give an optimizer's state with the whole of each tensor, on every rank; combined ones have states within."""
    if isinstance(value, Tensor):
        return complete(value)
    if isinstance(value, dict):
        return {key: _complete(inner) for key, inner in value.items()}
    return [_complete(inner) for inner in value] if isinstance(value, list) else value


def _like_shards(state: State, optimizer: Optimizer) -> State:
    """Give an optimizer's whole state as shards where its weights are such."""
    if isinstance(optimizer, CombinedOptimizer):
        pairs = zip(state["optimizers"], optimizer.optimizers, strict=True)
        return {"optimizers": [_like_shards(one, inner) for one, inner in pairs]}
    if isinstance(optimizer, ExpertMuon):
        return state
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    indices = [index for group in state["param_groups"] for index in group["params"]]
    own = dict(zip(indices, weights, strict=True))

    def shards(index: int, value: object) -> object:
        return like(value, own[index]) if isinstance(value, Tensor) and value.shape == own[index].shape else value

    return {**state, "state": {index: {key: shards(index, value) for key, value in one.items()}
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
