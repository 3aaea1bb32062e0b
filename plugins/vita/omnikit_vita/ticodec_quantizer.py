"""TiCodec's codebooks: the nearest code of a vector, how codes learn, and how unused ones come back. Uses no waveform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from omnikit.ops.codebook_usage import CodebookUsage
from omnikit_vita.ticodec import TiCodec


@dataclass
class Losses:
    """Terms that collect over codebooks."""

    codebook: list[Tensor] = field(default_factory=list)
    commitment: list[Tensor] = field(default_factory=list)

    def summed(self) -> dict[str, Tensor]:
        """Give the sum of each kind that has terms."""
        kinds = {"codebook": self.codebook, "commitment": self.commitment}
        return {name: torch.stack(terms).sum() for name, terms in kinds.items() if terms}


class Codebook(nn.Module):
    """Owns the codes of one codebook; while it learns, also counts and vectors that no file holds.

    Codes that are moving averages have `frequencies` [codes], stored with them: for how many of 1 vector each stands, a moving
    average as well. A code moves towards the mean of its vectors by their part in that average, so that a codebook that was
    clustered or loaded goes on from where it is. Where they are not known all codes are equally frequent.

    Args:
        codes: how many.
        dim: width of a vector.
        decay: of the moving averages that codes are; 0: codes learn by gradients.
    """

    def __init__(self, codes: int, dim: int, decay: float) -> None:
        super().__init__()
        self.decay, self.usage = decay, CodebookUsage(codes, dim)
        self.embedding = nn.Embedding(codes, dim)
        nn.init.uniform_(self.embedding.weight, -1 / codes, 1 / codes)
        self.register_buffer("frequencies", torch.full((codes,), 1 / codes), persistent=decay > 0)
        self.frequencies: Tensor

    def nearest(self, x: Tensor) -> Tensor:
        """Vectors [..., dim] to the nearest codes [...], by Euclid."""
        rows, table = x.float().reshape(-1, x.shape[-1]), self.embedding.weight.float()
        with torch.autocast(x.device.type, enabled=False):  # half precision would take neighbours for each other
            distances = table.square().sum(1) - 2 * rows @ table.T + rows.square().sum(1, keepdim=True)
        return distances.argmin(1).view(x.shape[:-1])

    def forward(self, x: Tensor, losses: Losses) -> tuple[Tensor, Tensor]:
        """Vectors [..., dim] to those of their codes, with the gradient of x, and the codes [...]; adds its losses."""
        codes = self.nearest(x.detach())
        if self.training:
            self._learn(x.detach(), codes)
        found = self.embedding(codes)
        losses.commitment.append(F.mse_loss(x, found.detach()))
        if not self.decay:
            losses.codebook.append(F.mse_loss(found, x.detach()))
        return x + (found - x).detach(), codes

    @torch.no_grad()
    def revive(self, generator: Generator) -> int:
        """Put dead codes at vectors that are remembered; gives how many (omnikit.ops.codebook_usage)."""
        found = self.usage.revive(generator)
        if found is None:
            return 0
        self.frequencies[found.codes] = found.shares
        self.embedding.weight[found.codes] = found.vectors.to(self.embedding.weight.dtype)
        return len(found.codes)

    @torch.no_grad()
    def _learn(self, x: Tensor, codes: Tensor) -> None:
        counts = self.usage.count(x, codes)
        if self.decay:
            flat, rows = codes.flatten(), x.float().reshape(-1, x.shape[-1])
            new = (1 - self.decay) * counts / len(flat)  # what this batch adds to the frequencies
            self.frequencies.mul_(self.decay).add_(new)
            means = torch.zeros_like(self.embedding.weight, dtype=torch.float32).index_add_(0, flat, rows)
            means /= counts.clamp(min=1)[:, None]
            step = (new / self.frequencies.clamp(min=torch.finfo(torch.float32).tiny))[:, None]  # 0 where no vector is its own
            self.embedding.weight.lerp_(means.to(self.embedding.weight.dtype), step.to(self.embedding.weight.dtype))


class Quantizer(nn.Module):
    """Owns the codebooks of frames, one for each level and group, and those of the voice."""

    def __init__(self, config: TiCodec) -> None:
        super().__init__()
        self.groups, self.parts = config.groups, config.global_groups
        for level in range(config.levels):
            setattr(self, _level(level), nn.ModuleList(
                Codebook(config.codes, config.dim // config.groups, config.decay) for _ in range(config.groups)))
        self.levels = [_level(level) for level in range(config.levels)]
        self.quantizer_modules_globaltokens = nn.ModuleList(
            Codebook(config.global_codes, config.global_dim // config.global_groups, config.decay)
            for _ in range(config.global_groups))

    def frames(self, x: Tensor, losses: Losses) -> tuple[Tensor, Tensor]:
        """Frames [B, dim, T] to those of their codes and the codes [B, T, levels x groups], level by level.

        The gradient of the frames is that of the first level's; the others move the encoder by their commitment.
        """
        left = x.transpose(1, 2)  # [B, T, dim]
        total, codes = torch.zeros_like(left), list[Tensor]()
        for name in self.levels:
            found, drawn = _coded(self._books(name), left, losses)
            total, left = total + (found.detach() if codes else found), left - found.detach()
            codes.append(drawn)
        return total.transpose(1, 2), torch.cat(codes, -1)

    def voice(self, x: Tensor, losses: Losses) -> tuple[Tensor, Tensor]:
        """Voices [B, global_dim] to those of their tokens and the tokens [B, global_groups]."""
        return _coded(self._books("quantizer_modules_globaltokens"), x, losses)

    def tokens(self, x: Tensor) -> Tensor:
        """Voices [B, global_dim] to their tokens [B, global_groups]; nothing is counted."""
        books = self._books("quantizer_modules_globaltokens")
        return torch.stack([book.nearest(part) for book, part in zip(books, x.chunk(self.parts, -1), strict=True)], -1)

    def embed_frames(self, codes: Tensor) -> Tensor:
        """Codes [B, T, levels x groups] to frames [B, dim, T]."""
        per_level = codes.reshape(*codes.shape[:-1], len(self.levels), self.groups).unbind(-2)
        vectors = [_embedded(self._books(name), part) for name, part in zip(self.levels, per_level, strict=True)]
        return torch.stack(vectors).sum(0).transpose(1, 2)

    def embed_voice(self, tokens: Tensor) -> Tensor:
        """Tokens [B, global_groups] to voices [B, global_dim]."""
        return _embedded(self._books("quantizer_modules_globaltokens"), tokens)

    def remember(self, frames: Tensor, voice: Tensor) -> None:
        """Let codebooks remember frames [B, dim, T] and voices [B, global_dim] that they did not code."""
        for book, part in zip(self._books(self.levels[0]), frames.transpose(1, 2).chunk(self.groups, -1), strict=True):
            book.usage.remember(part)
        for book, part in zip(self._books("quantizer_modules_globaltokens"), voice.chunk(self.parts, -1), strict=True):
            book.usage.remember(part)

    def usage(self) -> dict[str, float]:
        """Give the codebook utilisation of each level, and of the voice's."""
        names = {"codes" if level == 0 else f"codes_{level + 1}": name for level, name in enumerate(self.levels)}
        return {word: _share(self._books(name)) for word, name in {
            **names, "voice": "quantizer_modules_globaltokens"}.items()}

    def revive(self, generator: Generator) -> int:
        """Revive the unused codes of all codebooks; see Codebook."""
        return sum(book.revive(generator) for name in (*self.levels, "quantizer_modules_globaltokens")
                   for book in self._books(name))

    def _books(self, name: str) -> list[Codebook]:
        return [book for book in self.get_submodule(name).children() if isinstance(book, Codebook)]


def _level(level: int) -> str:
    return f"quantizer_modules{level + 1 if level else ''}"  # the public name; the first has no number


def _coded(books: Sequence[Codebook], x: Tensor, losses: Losses) -> tuple[Tensor, Tensor]:
    """Vectors [..., D] part by part to those of their codes [..., D] and the codes [..., parts]; losses are means."""
    own = Losses()
    found = [book(part, own) for book, part in zip(books, x.chunk(len(books), -1), strict=True)]
    losses.commitment.append(torch.stack(own.commitment).mean())
    if own.codebook:
        losses.codebook.append(torch.stack(own.codebook).mean())
    return torch.cat([vectors for vectors, _ in found], -1), torch.stack([codes for _, codes in found], -1)


def _embedded(books: Sequence[Codebook], codes: Tensor) -> Tensor:
    return torch.cat([book.embedding(codes[..., index]) for index, book in enumerate(books)], -1)


def _share(books: Sequence[Codebook]) -> float:
    return float(torch.stack([book.usage.share for book in books]).mean())
