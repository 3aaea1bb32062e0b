"""An optimizer whose moments lie in the host's memory, and come to the device for a few weights at a time."""

from collections.abc import Callable, Iterator
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from omnikit.training.distributed import BUCKET


class OffloadedOptimizer(Optimizer):
    """Steps another optimizer bucket by bucket; its state dict is that one's, and so is each step.

    On a CPU, where host and device share their memory, nothing is moved.

    Args:
        bucket: weights (numbers) whose moments are on the device at the same time, at least those of one
            tensor; None: BUCKET.
    """

    def __init__(self, inner: Optimizer, bucket: int | None = None) -> None:
        self.inner, self.bucket = inner, bucket or BUCKET
        self._pinned: dict[tuple[int, str], Tensor] = {}  # weight and key → where its numbers lie between steps
        super().__init__(inner.param_groups, {})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Step; the closure makes the gradients of all."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self.inner.param_groups
        try:
            for some in list(_buckets(groups, self.bucket)):
                self.inner.param_groups = some
                self._move(some, self._to_device)
                self.inner.step()
                self._move(some, self._to_host)
        finally:
            self.inner.param_groups = groups
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Give the state, once the device has written it."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return self.inner.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what `state_dict` gave, here or of the other optimizer."""
        self.inner.load_state_dict(state_dict)
        self.param_groups = self.inner.param_groups
        self._move(self.param_groups, self._to_host)

    def _move(self, groups: list[dict[str, Any]], to: Callable[[Tensor, str, Tensor], Tensor]) -> None:
        """Move what is as large as a weight; counts stay."""
        for weight in (weight for group in groups for weight in group["params"] if weight.device.type != "cpu"):
            state = self.inner.state.get(weight, {})
            state.update({key: to(weight, key, value) for key, value in state.items()
                          if isinstance(value, Tensor) and value.ndim > 0})

    def _to_device(self, weight: Tensor, key: str, value: Tensor) -> Tensor:
        return value.to(weight.device, non_blocking=True)

    def _to_host(self, weight: Tensor, key: str, value: Tensor) -> Tensor:
        if type(value) is not Tensor:  # in 8 bits
            return value.cpu()
        place = id(weight), key
        if place not in self._pinned:
            self._pinned[place] = torch.empty_like(value, device="cpu", pin_memory=True)
        return self._pinned[place].copy_(value, non_blocking=True)


def _buckets(groups: list[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """Give the groups cut into lists of groups of so many numbers each."""
    for group in groups:
        some: list[Tensor] = []
        for weight in group["params"]:
            if some and sum(map(torch.numel, some)) + weight.numel() > size:
                yield [{**group, "params": some}]
                some = []
            some.append(weight)
        if some:
            yield [{**group, "params": some}]
