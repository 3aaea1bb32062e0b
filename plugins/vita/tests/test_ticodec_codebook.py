"""A codebook of `ticodec` while it learns: which codes count as dead, and how moving averages begin and go on."""

import pytest
import torch
from omnikit_vita.ticodec_quantizer import Codebook, Losses
from torch import Generator, Tensor

from omnikit.ops.codebook_usage import EXPECTED


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed))


def book_at(codes: Tensor, decay: float = 0.0) -> Codebook:
    book = Codebook(len(codes), codes.shape[1], decay).train()
    book.embedding.weight.data.copy_(codes)
    return book


def distortion(book: Codebook, vectors: Tensor) -> float:
    return float((vectors - book.embedding.weight[book.nearest(vectors)]).detach().square().sum(1).mean())


def mixture(rows: int, seed: int) -> Tensor:
    """Vectors around 64 centres."""
    centres = 3 * normal(64, 8, seed=99)
    return centres[torch.randint(64, (rows,), generator=Generator().manual_seed(seed))] + 0.5 * normal(rows, 8, seed=seed)


# ---- dead codes ----


def test_codes_that_few_vectors_could_have_drawn_are_not_dead() -> None:
    codes = normal(1024, 8)
    book = book_at(codes)
    for step in range(50):  # a batch of 16 segments has 16 voices: 800 draws of 1024 codes, all of them perfect
        book(codes[torch.randint(1024, (16,), generator=Generator().manual_seed(step))], Losses())
    assert int((book.usage.drawn == 0).sum()) > 400
    assert book.revive(Generator().manual_seed(0)) == 0 and distortion(book, codes) == 0


def test_perfect_codes_stay_when_enough_were_drawn() -> None:
    codes = normal(1024, 8)
    book = book_at(codes)
    book(codes[torch.randint(1024, (int(EXPECTED) * 1024,), generator=Generator().manual_seed(0))], Losses())
    assert book.revive(Generator().manual_seed(0)) <= 2  # 1024 x e^-10 = 0.05 are expected
    assert int(book.usage.drawn.sum()) == 0  # counting begins again


def test_draws_are_counted_over_calls_until_they_suffice() -> None:
    book = book_at(torch.tensor([[0.0], [90.0], [91.0], [92.0]]))
    revived = []
    for _ in range(4):
        book(torch.tensor([[1.0], [2.0]]).repeat(7, 1), Losses())  # 14 of 40 draws
        revived.append(book.revive(Generator().manual_seed(0)))
    assert revived == [0, 0, 3, 0]


def test_frames_that_are_only_remembered_become_clusters() -> None:
    book = Codebook(64, 8, 0.95).train()
    book.usage.remember(mixture(600, seed=1))
    assert book.revive(Generator().manual_seed(0)) == 64
    labels = book.nearest(book.usage.recent)
    means = torch.stack([book.usage.recent[labels == code].mean(0) for code in labels.unique()])
    assert float((book.embedding.weight.detach()[labels.unique()] - means).abs().max()) < 0.5  # k-means has nearly settled


# ---- moving averages ----


def test_averages_are_those_of_counts_and_sums() -> None:
    decay, codes = 0.9, normal(16, 4)
    book, counts, sums = book_at(codes, decay), torch.full((16,), 1 / 16), codes / 16
    for step in range(20):
        batch = normal(32, 4, seed=step)
        drawn = book(batch, Losses())[1]
        chosen = torch.nn.functional.one_hot(drawn, 16).float()
        counts = decay * counts + (1 - decay) * chosen.mean(0)
        sums = decay * sums + (1 - decay) * chosen.T @ batch / 32
        torch.testing.assert_close(book.embedding.weight.data, sums / counts[:, None], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(book.frequencies, counts)


@pytest.fixture
def clustered() -> Codebook:
    book = Codebook(64, 8, 0.95).train()
    book.usage.remember(mixture(1024, seed=1))
    book.revive(Generator().manual_seed(0))
    return book


def test_frequencies_begin_at_the_sizes_of_the_clusters(clustered: Codebook) -> None:
    sizes = torch.bincount(clustered.nearest(clustered.usage.recent), minlength=64) / 1024
    assert float((clustered.frequencies - sizes).abs().sum()) < 0.05  # the last move of the centres changes a few labels
    assert float(clustered.frequencies.sum()) == pytest.approx(1)


def test_first_batch_after_clustering_does_not_replace_the_codes(clustered: Codebook) -> None:
    held_out = mixture(4000, seed=2)
    before = distortion(clustered, held_out)
    clustered(mixture(64, seed=3), Losses())  # one vector for a code: codes that jumped to it would lose what they stood for
    assert distortion(clustered, held_out) < 1.02 * before


def test_loaded_codes_go_on_as_if_nothing_had_happened(clustered: Codebook) -> None:
    for step in range(5):
        clustered(mixture(64, seed=10 + step), Losses())
    loaded = Codebook(64, 8, 0.95).train()
    loaded.load_state_dict(clustered.state_dict())
    batch = mixture(64, seed=30)
    for book in (clustered, loaded):
        book(batch, Losses())
    assert torch.equal(loaded.embedding.weight, clustered.embedding.weight)


def test_gradient_codes_store_no_frequencies() -> None:
    assert list(Codebook(4, 2, 0.0).state_dict()) == ["embedding.weight"]
