"""K-means in torch, the same for the same generator. Independent of audio."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

BLOCK = 8192  # rows compared at once: 8192 x 100 distances are 3 MB


def kmeans(rows: Tensor, count: int, rounds: int, generator: Generator, progress: Callable[[float], None]) -> Tensor:
    """Cluster rows [N, D] into `count` centroids [count, D]: k-means++ and Lloyd's rounds.

    A centroid that loses all its rows starts again at the row that is farthest from every centroid, so that each is used
    as long as there are enough different rows. Stops early when no row changes its centroid.
    """
    centroids, before = _spread(rows, count, generator), None
    for step in range(rounds):
        labels, distances = nearest(rows, centroids)
        if before is not None and torch.equal(labels, before):
            break
        centroids, before = _means(rows, labels, distances, centroids), labels
        progress((step + 1) / rounds)
    progress(1.0)
    return centroids


def nearest(rows: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Give the nearest centroid [N] of each row [N, D] and its squared distance [N]."""
    found = [_distances(block, centroids).min(1) for block in torch.split(rows, BLOCK)]
    if not found:
        return rows.new_zeros(0, dtype=torch.long), rows.new_zeros(0)
    return torch.cat([f.indices for f in found]), torch.cat([f.values for f in found])


def _distances(rows: Tensor, centroids: Tensor) -> Tensor:
    """Squared distances [N, K]."""
    cross = rows @ centroids.T
    return (rows.square().sum(1, keepdim=True) - 2 * cross + centroids.square().sum(1)).clamp(min=0)


def _spread(rows: Tensor, count: int, generator: Generator) -> Tensor:
    """K-means++: each next centroid is a row drawn in proportion to its squared distance from those before."""
    first = torch.randint(len(rows), (1,), generator=generator, device=generator.device)
    chosen = [rows[int(first)]]
    closest = _distances(rows, chosen[0][None])[:, 0]
    for _ in range(count - 1):
        total = closest.double().cumsum(0)
        draw = torch.rand((), generator=generator, device=generator.device, dtype=torch.float64).to(total) * total[-1]
        chosen.append(rows[int(torch.searchsorted(total, draw, right=True).clamp(max=len(rows) - 1))])
        closest = torch.minimum(closest, _distances(rows, chosen[-1][None])[:, 0])
    return torch.stack(chosen)


def _means(rows: Tensor, labels: Tensor, distances: Tensor, centroids: Tensor) -> Tensor:
    """Mean of each centroid's rows [K, D]; the farthest rows replace centroids without any."""
    sums = torch.zeros_like(centroids).index_add_(0, labels, rows)
    sizes = labels.bincount(minlength=len(centroids))
    means = sums / sizes.clamp(min=1)[:, None]
    empty = (sizes == 0).nonzero()[:, 0]
    means[empty] = rows[distances.topk(len(empty)).indices]
    return means
