"""Low-rank adapters added to the matrices that they adapt: W + scale · B A, and with a magnitude the rows' lengths (DoRA)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.linalg import vector_norm


@dataclass
class LowRank:
    """The adapter of one layer.

    Args:
        a: [R, in], of a convolution [R, in, …], of an embedding table [R, rows].
        b: [out, R], of a convolution [out, R, 1, …], of an embedding table [dim, R].
        scale: of the product, usually alpha / R.
        magnitude: lengths of the merged matrix's rows [out]; None: as they come.
        transposed: the layer holds its matrix as [in, out], or is an embedding table [rows, dim].
    """

    a: Tensor
    b: Tensor
    scale: float
    magnitude: Tensor | None = None
    transposed: bool = False


def merge(weight: Tensor, adapter: LowRank) -> Tensor:
    """Give a layer's weight with its adapter added, computed in float32, in the weight's dtype."""
    product = adapter.b.flatten(1).float() @ adapter.a.flatten(1).float()  # [out, in * …]
    own = weight.float()
    own = own.T if adapter.transposed else own.flatten(1)
    found = own + adapter.scale * product
    if adapter.magnitude is not None:
        found = found * (adapter.magnitude.flatten().float() / vector_norm(found, dim=1))[:, None]
    return (found.T if adapter.transposed else found.reshape(weight.shape)).to(weight.dtype).contiguous()
