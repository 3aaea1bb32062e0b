"""One step of decoding that is recorded once and replayed: on a GPU a CUDA graph, which launches all its kernels at once.

Shapes and addresses never change: every row of a cache of fixed size takes part, those without an answer too. Elsewhere the
step is computed as it is, with the same tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from omnikit.ops.row_cache import RowCache, RowStep

Step = Callable[[Tensor, RowStep], Tensor]  # inputs [R, 1, D] of all rows to hidden [R, 1, D]
WARM_UP = 3  # uncounted runs before a recording, as CUDA graphs need


class RecordedStep:
    """Owns the tensors of a step of all rows.

    Args:
        run: computes it.
        cache: of fixed size.
        like: inputs [B, 1, D], whose device and dtype count.
    """

    def __init__(self, run: Step, cache: RowCache, like: Tensor) -> None:
        assert cache.fixed, "a cache that grows cannot be recorded"
        rows, end = cache.fixed
        self._run, self._cache = run, cache
        self._inputs = like.new_zeros(rows, 1, like.shape[-1])
        every = torch.arange(rows, device=like.device)
        self._step = RowStep(every, torch.zeros_like(every)[:, None], end, 0, replayed=True)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._hidden = self._inputs

    def __call__(self, inputs: Tensor, rows: Sequence[int]) -> Tensor:
        """inputs [B, 1, D] of some rows to hidden [B, 1, D]; what other rows write is replaced by their own next step."""
        idle = [0] * (len(self._inputs) - len(self._cache.lengths))
        lengths = torch.tensor([*self._cache.lengths, *idle])[:, None]
        index = torch.tensor(list(rows)).to(inputs.device, non_blocking=True)
        self._step.positions.copy_(lengths, non_blocking=True)
        self._inputs.index_copy_(0, index, inputs)
        if inputs.device.type == "cuda":
            self._replay()
        else:
            self._hidden = self._run(self._inputs, self._step)
        return self._hidden.index_select(0, index)

    def _replay(self) -> None:
        if self._graph is None:
            self._record()
        assert self._graph is not None, "recorded above"
        self._graph.replay()

    def _record(self) -> None:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch has no annotation here
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._run(self._inputs, self._step)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._hidden = self._run(self._inputs, self._step)
