"""K-means: against known groups, means of rows and a plain search."""

import torch
from torch import Generator

from omnikit.ops.kmeans import kmeans, nearest


def ignore(fraction: float) -> None:
    assert 0 <= fraction <= 1


def test_kmeans_finds_groups_that_lie_apart() -> None:
    generator = Generator().manual_seed(1)
    centres = torch.eye(5) * 20
    truth = torch.arange(5).repeat_interleave(40)
    rows = centres[truth] + torch.randn(200, 5, generator=generator)
    labels, _ = nearest(rows, kmeans(rows, 5, 20, generator, ignore))
    assert len({(int(a), int(b)) for a, b in zip(truth, labels, strict=True)}) == 5  # one label for one group


def test_kmeans_means_are_the_means_of_their_rows() -> None:
    rows = torch.randn(300, 3, generator=Generator().manual_seed(2))
    centroids = kmeans(rows, 4, 100, Generator().manual_seed(2), ignore)
    labels, _ = nearest(rows, centroids)
    expected = torch.stack([rows[labels == i].mean(0) for i in range(4)])
    torch.testing.assert_close(centroids, expected, atol=1e-5, rtol=0)  # order of sums


def test_kmeans_with_fewer_different_rows_than_centroids_stays_finite() -> None:
    rows = torch.tensor([[0.0], [1.0]]).repeat(10, 1)
    centroids = kmeans(rows, 4, 5, Generator().manual_seed(0), ignore)
    assert centroids.isfinite().all()
    assert nearest(rows, centroids)[1].max() == 0


def test_nearest_equals_a_plain_search() -> None:
    rows, centroids = torch.randn(50, 4), torch.randn(7, 4)
    labels, distances = nearest(rows, centroids)
    table = torch.cdist(rows, centroids).square()
    assert torch.equal(labels, table.argmin(1))
    torch.testing.assert_close(distances, table.min(1).values, atol=1e-4, rtol=1e-4)  # expanded squares
