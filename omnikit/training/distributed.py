"""Processes that train one stage together: ranks, what they tell each other, sums of gradients, shards of weights.

Each process is a rank. With strategy `ddp` a rank holds the whole model, and the gradients of all ranks are summed before each
optimizer step; with `fsdp2` a rank holds a shard of each weight. A rank whose batch has no audio, no image or no target of a
head takes part in every sum with zeros, so that no mixture of rows lets another rank wait for ever.
"""

import atexit
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, Replicate, distribute_tensor

from omnikit.contracts.types import LazyTensor
from omnikit.model import OmniModel
from omnikit.store.mapped import on_disk
from omnikit.training.launch import numbers_of_process

T = TypeVar("T")
BUCKET = 2**25  # numbers of a sum of gradients: what it takes besides the gradients themselves
PATIENCE = timedelta(days=2)  # ranks wait for a stage that one of them trains alone; a rank that ends ends the others


@dataclass(frozen=True)
class World:
    """The processes of a training, and which of them this is.

    Args:
        local_rank: among those on this machine; the number of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes files and messages."""
        return self.rank == 0

    def agree(self, value: T) -> T:
        """Give the first rank's value on every rank; waits for it."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, 0, device=torch.device("cpu"))
        return values[0]

    def all(self, value: T) -> list[T]:
        """Give every rank's value on every rank, in their order."""
        values: list[T | None] = [None] * self.size
        if self.size == 1:
            return [value]
        dist.all_gather_object(values, value)
        return [each for each in values if each is not None]


ALONE = World()


def any_rank(flags: Sequence[bool], world: World) -> list[bool]:
    """Give for each flag whether some rank has it; by way of the CPU."""
    if world.size == 1:
        return list(flags)
    found = torch.tensor(flags, dtype=torch.uint8)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return [bool(flag) for flag in found.tolist()]


def largest(value: int, world: World) -> int:
    """Give the largest of all ranks' numbers; by way of the CPU."""
    if world.size == 1:
        return value
    found = torch.tensor(value)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return int(found)


@cache  # a process joins once
def join() -> World:
    """Meet the other processes; gives this one's place. The process group ends with the interpreter.

    Were the group left to the end of the process, gloo's threads could still run then, which aborts it (PyTorch issue 190489).
    """
    world = World(*(numbers_of_process() or (0, 1, 0)))
    if world.size > 1:
        if torch.cuda.is_available():
            torch.cuda.set_device(world.local_rank)
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", rank=world.rank,
                                world_size=world.size, timeout=PATIENCE)
        atexit.register(dist.destroy_process_group)
    return world


def sum_gradients(parameters: Sequence[nn.Parameter], world: World) -> None:
    """Sum the gradients of all ranks, in float32 or wider; a rank that has none of a weight adds zeros.

    A weight that no rank has a gradient of keeps none, so that the optimizer leaves it alone.
    """
    if world.size == 1 or not parameters:
        return
    there = torch.tensor([weight.grad is not None for weight in parameters], dtype=torch.uint8, device=parameters[0].device)
    dist.all_reduce(there, dist.ReduceOp.MAX)
    moved = [weight for weight, some in zip(parameters, there.tolist(), strict=True) if some]
    for weights in _buckets(moved):
        grads = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
        flat = torch.cat([grad.flatten().float() for grad in grads])
        dist.all_reduce(flat)
        for weight, grad, total in zip(weights, grads, torch.split(flat, [grad.numel() for grad in grads]), strict=True):
            weight.grad = grad.copy_(total.view_as(grad))


def spread_buffers(module: nn.Module, world: World) -> None:
    """Give every rank the first rank's buffers: statistics that a forward pass changes."""
    if world.size > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    bucket: list[nn.Parameter] = []
    for weight in parameters:
        if bucket and sum(map(torch.numel, bucket)) + weight.numel() > BUCKET:
            yield bucket
            bucket = []
        bucket.append(weight)
    if bucket:
        yield bucket


Originals = dict[tuple[nn.Module, str], nn.Parameter]  # module and name → the parameter that is a shard meanwhile


def shard(root: nn.Module, model: OmniModel, world: World, methods: Sequence[str], *, again: bool = True) -> Originals:
    """Shard a module over all ranks, the repeated layers of encoders and backbone one by one, the rest with the root.

    Matrices in 8 or 4 bits are whole on every rank: their dtypes have no shards.

    Args:
        root: what holds the model.
        methods: of the root, from which every forward pass begins.
        again: give up a layer's collected weights after its forward pass, and collect them again in the backward pass.

    Returns:
        what `gather` needs.

    Source: torch.distributed.fsdp.fully_shard (FSDP2).
    """
    originals = {(module, name): weight for module in root.modules() for name, weight in module._parameters.items()
                 if weight is not None and type(weight.data) is Tensor}
    quantised = {weight for weight in root.parameters() if type(weight.data) is not Tensor}
    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (world.size,))
    blocks = [layer for path, part in model.parts().items() if path == "backbone" or path.endswith(".encoder")
              for stack in part.modules() if isinstance(stack, nn.ModuleList) for layer in stack]
    inner = {id(module) for block in blocks for module in list(block.modules())[1:]}
    for block in blocks:
        if id(block) not in inner and any(True for _ in block.parameters()):
            fully_shard(block, mesh=mesh, ignored_params=quantised, reshard_after_forward=again)
    fully_shard(root, mesh=mesh, ignored_params=quantised)
    for method in methods:
        register_fsdp_forward_method(root, method)
    for weight in originals.values():
        weight.data = weight.data.new_empty(0)
    return originals


def gather(root: nn.Module, originals: Originals, folder: Path | None) -> None:
    """Put the complete weights back where `shard` found them, one after another; every rank takes part.

    Args:
        folder: of this rank, into whose files they go, see omnikit.store.mapped; None: it shall not hold them.
    """
    done: set[int] = set()
    for (module, name), weight in originals.items():
        shards = module._parameters[name]
        if id(weight) not in done and isinstance(shards, DTensor):
            found = shards.full_tensor().detach()
            weight.data = on_disk(found, folder) if folder else weight.data
            done.add(id(weight))
            del found
        module._parameters[name] = weight
    for module in root.modules():
        if isinstance(module, FSDPModule):
            module.__class__ = type(module).__bases__[1]  # the one that fully_shard has put FSDPModule before


def reshard(root: nn.Module) -> None:
    """Give up what a forward pass without a backward pass has collected; nothing where weights are not sharded."""
    for module in root.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def complete(value: Tensor) -> Tensor:
    """Give a tensor, of shards the whole on every rank; all take part."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def local(value: Tensor) -> Tensor:
    """Give a tensor, of shards those of this rank."""
    return value.to_local() if isinstance(value, DTensor) else value


def like(value: Tensor, pattern: Tensor) -> Tensor:
    """Give a whole tensor, the same on every rank, as the shards that a pattern has; of another shape, on all of its ranks."""
    value = value.to(pattern.device)
    if not isinstance(pattern, DTensor) or (value.ndim == 0 and value.shape != pattern.shape):
        return value
    placements = pattern.placements if value.shape == pattern.shape else [Replicate()]
    return distribute_tensor(value, pattern.device_mesh, placements)


def empty_like(shape: torch.Size, dtype: torch.dtype, pattern: Tensor) -> Tensor:
    """Give a tensor to be filled, placed as `like` places one."""
    if isinstance(pattern, DTensor) and shape == pattern.shape:
        return torch.empty_like(pattern, dtype=dtype)
    return like(torch.empty(shape, dtype=dtype), pattern)


@contextmanager
def gathering(tensors: Mapping[str, Tensor], world: World) -> Iterator[dict[str, LazyTensor]]:
    """Give on the first rank tensors to be read one by one, each put together of all ranks' shards when it is read.

    The other ranks give theirs meanwhile; inside, they have none.
    """
    if not world.is_first:
        while (name := world.agree("")):
            complete(tensors[name])
        yield {}
        return

    def read(name: str) -> Tensor:
        world.agree(name)
        return complete(tensors[name])

    try:
        yield {name: LazyTensor(name, Path(), tuple(each.shape), str(each.dtype).removeprefix("torch."), partial(read, name))
               for name, each in tensors.items()}
    finally:
        world.agree("")
