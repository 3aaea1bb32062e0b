"""Batches that hold as many positions as a budget allows, padding included. Reads no medium."""

from collections.abc import Callable, Iterator, Sequence

from torch.utils.data import Sampler

from omnikit.data.batch.sample_lengths import SampleLengths, passes_batches
from omnikit.data.batch.samplers import MixtureSampler, SampleKey, shuffle


class TokenBatchSampler(Sampler[list[SampleKey]]):
    """Batches of samples of similar length, one pass after another, each sample of a pass once; the seed decides the order.

    A batch takes samples as long as their number times the longest stays within the budget; a sample beyond the budget is a
    batch of its own. Samples are sorted by length in a window, and its batches shuffled.

    Args:
        mixture_sampler: which samples a pass draws.
        sizes: the positions of each.
        batch_tokens: positions of a batch.
        window: batches whose samples are sorted together; 1 sorts none.
        passes: how many passes there will be, where that is set.
    """

    def __init__(self, mixture_sampler: MixtureSampler, sizes: SampleLengths, *, batch_tokens: int, window: int = 50,
                 passes: int | None = None) -> None:
        self.mixture_sampler, self.sizes = mixture_sampler, sizes
        self.batch_tokens, self.window, self.passes = batch_tokens, window, passes
        self._counts: list[int] = []  # batches of each pass

    def __iter__(self) -> Iterator[list[SampleKey]]:
        return self.batches(0)

    def count(self, number: int) -> int:
        """Give the batches of a pass, or, of more than MAX_MEASURED samples, a number that is a little larger."""
        if not self._counts:
            self.measure(lambda fraction: None)
        return self._counts[number]

    def measure(self, report: Callable[[float], None]) -> None:
        """Measure samples, so that a pass has a length."""
        self._counts = passes_batches(self, self.mixture_sampler, self.sizes, self.passes or 0, report)

    def batches(self, number: int, most: int | None = None) -> Iterator[list[SampleKey]]:
        """Give the batches of (the first so many samples of) a pass."""
        keys, generator = self.mixture_sampler.sample_keys(number)
        for window in self._windows(keys[:most]):
            ordered = sorted(window, key=self.sizes) if self.window > 1 else window
            yield from shuffle(list(self._split(ordered)), generator)

    def _windows(self, keys: Sequence[SampleKey]) -> Iterator[list[SampleKey]]:
        """Cut a pass into windows of samples that fill about `window` batches."""
        window: list[SampleKey] = []
        positions = 0
        for key in self.sizes.in_order(keys):
            window.append(key)
            positions += self.sizes(key)
            if positions >= self.window * self.batch_tokens:
                yield window
                window, positions = [], 0
        if window:
            yield window

    def _split(self, keys: Sequence[SampleKey]) -> Iterator[list[SampleKey]]:
        batch: list[SampleKey] = []
        longest = 0
        for key in keys:
            longest = max(longest, self.sizes(key))
            if batch and (len(batch) + 1) * longest > self.batch_tokens:
                yield batch
                batch, longest = [], self.sizes(key)
            batch.append(key)
        yield batch
