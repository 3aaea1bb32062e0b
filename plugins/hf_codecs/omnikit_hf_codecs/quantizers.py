"""How the codebooks of transformers' Mimi and DAC learn: straight-through vectors, losses, moving averages, dead codes."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from transformers import DacModel, MimiModel
from transformers.models.dac.modeling_dac import DacVectorQuantize
from transformers.models.mimi.modeling_mimi import MimiEuclideanCodebook, MimiResidualVectorQuantizer

from omnikit.ops.codebook_usage import CodebookUsage, Revival

DECAY = 0.99  # of the moving averages that Mimi's codes are


class MimiQuantizers:
    """The first codebooks of a MimiModel while they learn; each code is a moving average of the vectors it stands for.

    Args:
        model: owns the codebooks.
        usages: one for each codebook that is used.
    """

    def __init__(self, model: MimiModel, usages: Sequence[CodebookUsage]) -> None:
        semantic = model.quantizer.semantic_residual_vector_quantizer
        acoustic = model.quantizer.acoustic_residual_vector_quantizer
        assert isinstance(semantic, MimiResidualVectorQuantizer), "of that class"
        assert isinstance(acoustic, MimiResidualVectorQuantizer), "of that class"
        self.branches, self.usages = (semantic, acoustic), usages

    def __call__(self, latents: Tensor, *, learn: bool) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Latents [B, D, T] to those of their codes, codes [B, T, Q] and losses; `learn` moves codes and counts them."""
        total, codes, distances = torch.zeros_like(latents), list[Tensor](), list[Tensor]()
        for branch, books in zip(self.branches, self._books(), strict=True):
            entering = latents if branch.input_proj is None else branch.input_proj(latents)
            vectors = entering.transpose(1, 2)  # [B, T, D]
            left, found = vectors.detach(), torch.zeros_like(vectors)
            for book, usage in books:
                chosen, quantised = _nearest(book, left, usage if learn else None)
                distances.append(F.mse_loss(vectors - found, quantised))
                found, left = found + quantised, left - quantised
                codes.append(chosen)
            straight = (vectors + (found - vectors).detach()).transpose(1, 2)
            total = total + (straight if branch.output_proj is None else branch.output_proj(straight))
        return total, torch.stack(codes, -1), {"commitment": torch.stack(distances).mean()}

    def unquantised(self, latents: Tensor, *, learn: bool) -> Tensor:
        """Latents [B, D, T] through the projections alone; `learn` lets the first codebook of each branch remember them."""
        total = torch.zeros_like(latents)
        for branch, books in zip(self.branches, self._books(), strict=True):
            entering = latents if branch.input_proj is None else branch.input_proj(latents)
            if learn and books:
                books[0][1].remember(entering.transpose(1, 2))
            total = total + (entering if branch.output_proj is None else branch.output_proj(entering))
        return total

    def revive(self, generator: Generator) -> int:
        """Revive the dead codes of all codebooks; give how many there were."""
        found = [(book, usage.revive(generator)) for books in self._books() for book, usage in books]
        for book, revival in found:
            if revival is not None:
                _begin_again(book, revival)
        return sum(len(revival.codes) for _, revival in found if revival is not None)

    def _books(self) -> tuple[list[tuple[MimiEuclideanCodebook, CodebookUsage]], ...]:
        books = [[module for module in branch.modules() if isinstance(module, MimiEuclideanCodebook)]
                 for branch in self.branches]
        semantic, acoustic = self.usages[:len(books[0])], self.usages[len(books[0]):]
        return list(zip(books[0], semantic, strict=True)), list(zip(books[1], acoustic, strict=False))


class DacQuantizers:
    """The first codebooks of a DacModel while they learn, by gradients.

    Args:
        model: owns the codebooks.
        usages: one for each codebook that is used.
    """

    def __init__(self, model: DacModel, usages: Sequence[CodebookUsage]) -> None:
        self.layers, self.usages = _dac_layers(model)[:len(usages)], usages

    def __call__(self, latents: Tensor, *, learn: bool) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Latents [B, D, T] to those of their codes, codes [B, T, Q] and losses; `learn` counts the codes."""
        total, left = torch.zeros_like(latents), latents
        codes, losses = list[Tensor](), list[tuple[Tensor, Tensor]]()
        for layer, usage in zip(self.layers, self.usages, strict=True):
            quantised, commitment, codebook, chosen, vectors = layer(left)
            if learn:
                usage.count(vectors.transpose(1, 2), chosen)
            total, left = total + quantised, left - quantised
            codes.append(chosen)
            losses.append((commitment, codebook))
        commitments, codebooks = (torch.stack(terms).mean() for terms in zip(*losses, strict=True))
        return total, torch.stack(codes, -1), {"commitment": commitments, "codebook": codebooks}

    def unquantised(self, latents: Tensor, *, learn: bool) -> Tensor:
        """Latents [B, D, T] through the first projections alone; `learn` lets the first codebook remember them."""
        vectors: Tensor = self.layers[0].in_proj(latents)
        if learn:
            self.usages[0].remember(vectors.transpose(1, 2))
        found: Tensor = self.layers[0].out_proj(vectors)
        return found

    def revive(self, generator: Generator) -> int:
        """Revive the dead codes of all codebooks; give how many there were."""
        count = 0
        for layer, usage in zip(self.layers, self.usages, strict=True):
            found = usage.revive(generator)
            if found is not None:
                weight = layer.codebook.weight
                with torch.no_grad():
                    weight[found.codes] = found.vectors.to(weight.dtype)
                count += len(found.codes)
        return count


def usage_of(usages: Sequence[CodebookUsage]) -> dict[str, float]:
    """Give the share of each codebook that was drawn: "codes" of the first, "codes_2" of the second."""
    return {f"codes_{index + 1}" if index else "codes": float(usage.share) for index, usage in enumerate(usages)}


@torch.no_grad()
def _nearest(book: MimiEuclideanCodebook, vectors: Tensor, usage: CodebookUsage | None) -> tuple[Tensor, Tensor]:
    """Vectors [B, T, D] to their codes [B, T] and what stands for these [B, T, D], before the codes move."""
    book._embed = None
    codes: Tensor = book.encode(vectors)  # type: ignore[no-untyped-call]
    quantised: Tensor = book.decode(codes)  # type: ignore[no-untyped-call]
    if usage is not None:
        counts = usage.count(vectors, codes)
        sums = torch.zeros_like(book.embed_sum).index_add_(0, codes.flatten(), vectors.flatten(0, 1).to(book.embed_sum.dtype))
        book.cluster_usage.lerp_(counts.to(book.cluster_usage.dtype), 1 - DECAY)
        book.embed_sum.lerp_(sums, 1 - DECAY)
        book._embed = None
    return codes, quantised


@torch.no_grad()
def _begin_again(book: MimiEuclideanCodebook, found: Revival) -> None:
    shares = found.shares.to(book.cluster_usage.dtype) * book.cluster_usage.sum()
    book.cluster_usage[found.codes] = shares
    book.embed_sum[found.codes] = found.vectors.to(book.embed_sum.dtype) * shares[:, None]
    book._embed = None


def _dac_layers(model: DacModel) -> list[DacVectorQuantize]:
    return [layer for layer in model.quantizer.quantizers if isinstance(layer, DacVectorQuantize)]
