"""An early warning about what a stage trains and no gradient has reached: its end, where this is an error, may be days away."""

import logging

import pytorch_lightning as L
from torch import nn
from torch.optim import Optimizer

from omnikit.training.trainable.freeze import listed

log = logging.getLogger(__name__)

STEPS = 100  # after which it warns; rows that a rare medium needs may come later


class MissingGradients(L.Callback):
    """Waits for the first gradient of each trained tensor; costs nothing from then on, and never waits for an accelerator."""

    def __init__(self, stage: str, steps: int = STEPS) -> None:
        self.stage, self.left = stage, steps
        self.waiting: dict[str, nn.Parameter] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.waiting = {name.removeprefix("model."): weights for name, weights in pl_module.named_parameters()
                        if name.startswith("model.") and weights.requires_grad}

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        if not self.waiting:
            return
        self.waiting = {name: weights for name, weights in self.waiting.items() if weights.grad is None}
        self.left -= 1
        if self.left == 0 and self.waiting:
            log.warning("Stage %s trains %s, but no gradient has reached it yet; if none does, the stage fails at its end.",
                        self.stage, listed(list(self.waiting)))
            self.waiting = {}
