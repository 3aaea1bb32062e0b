"""One of two processes that train components together: `python -m omnikit.testing.distributed_worker FOLDER`.

FOLDER holds configs.pickle; RANK.jsonl beside it gets a message for each component, "" where nothing is wrong.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from omnikit.testing.component import identify
from omnikit.testing.probe import Probe, Row
from omnikit.testing.probes import probe_of
from omnikit.testing.training_checks import unused_parameters

PATIENCE = timedelta(seconds=60)  # until a process that waits for the other gives up
STEPS, LR = 2, 1e-3


class LossModule(nn.Module):
    """A component and its loss as one module, whose forward pass the gradients are averaged behind."""

    def __init__(self, probe: Probe, module: nn.Module) -> None:
        super().__init__()
        self.probe, self.module = probe, module

    def forward(self, rows: Sequence[Row]) -> Tensor:
        return self.probe.loss(self.module, rows)


def main(folder: Path) -> None:
    """Train every component in turn."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=PATIENCE)
    with (folder / f"{dist.get_rank()}.jsonl").open("w", encoding="utf-8") as file:
        for pickled in pickle.loads((folder / "configs.pickle").read_bytes()):
            file.write(json.dumps(message(pickle.loads(pickled))) + "\n")
            file.flush()
            dist.barrier()
    dist.destroy_process_group()


def message(config: Any) -> str:
    """Give what is wrong with a component's steps in two processes, or ""."""
    try:
        return trained(probe_of(identify(config)))
    except Exception as error:  # whatever a component raises is the reason
        return f"{type(error).__name__}: {' '.join(str(error).split())}"


def trained(probe: Probe) -> str:
    """Train on other rows in each process, and hold the gradients of both against each other."""
    module = probe.fresh().train()
    for name in unused_parameters(module):
        module.get_parameter(name).requires_grad_(False)
    together = DistributedDataParallel(LossModule(probe, module))
    moving = torch.optim.SGD([weights for weights in module.parameters() if weights.requires_grad], lr=LR)
    for step in range(STEPS):
        moving.zero_grad()
        loss = together(probe.rows(seed=10 * step + dist.get_rank()))
        loss.backward()
        own = torch.stack([torch.zeros(()) if weights.grad is None else weights.grad.float().square().sum()
                           for weights in module.parameters()])
        found = [torch.zeros_like(own) for _ in range(2)]
        dist.all_gather(found, own)
        if not bool(own.isfinite().all()):
            return "its gradients in two processes are not finite"
        if not torch.allclose(found[0], found[1]):
            return "two processes hold other gradients after they were averaged; let no parameter be used in one process only"
        moving.step()
    return ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
