"""How large the basic projectors and heads are, counted by formula. Imports no torch."""

from itertools import pairwise

from omnikit.contracts.footprint import Footprint, Matrix, Saved, convolution, linear


def pointwise(widths: tuple[int, ...], *, norm: bool = False, joined: int = 1, bias: bool = True) -> Footprint:
    """Linears with activations between them; `joined` frames of the first width come in for each that goes out."""
    first, *inner = widths[0] * joined, *widths[1:-1]
    parameters = sum(linear(*pair, bias=bias) for pair in pairwise((first, *widths[1:]))) + 2 * first * norm
    return Footprint(parameters, outside=Saved(2 * first * norm, first + 2 * sum(inner)))


def fused(sources: list[int], width: int, behind: tuple[int, ...], *, weights: int = 0) -> Footprint:
    """A Linear for each source, and Linears behind activations; `weights` are learned beside them."""
    parameters = sum(linear(source, width) for source in sources) + sum(linear(*pair) for pair in pairwise(behind)) + weights
    return Footprint(parameters, outside=Saved(0, sum(sources) + 2 * sum(behind[:-1]) + width * weights))


def strided_conv(source: int, dim: int, hidden: int, *, kernel: int, stride: int, norm: bool, prompts: int) -> Footprint:
    """A convolution, norm, activation and a Linear."""
    parameters = convolution(source, hidden, kernel) + 2 * hidden * norm + linear(hidden, dim) + prompts * dim
    return Footprint(parameters, outside=Saved(2 * hidden, source * stride + 2 * hidden))


def qformer(source: int, out: int, queries: int, *, dim: int, ffn: int, layers: int, crossing: int,
            added: int = 0) -> Footprint:
    """Learned queries through layers, `crossing` of which also attend to the features; a unit is one query."""
    attention = 4 * linear(dim, dim)
    cross = 2 * linear(dim, dim) + 2 * source * dim + 2 * dim + 2 * dim
    layer = attention + 4 * dim + linear(dim, ffn) + linear(ffn, dim)
    return Footprint(
        queries * dim + layers * layer + crossing * cross + 2 * dim + linear(dim, out) + added, layers=layers, width=dim,
        layer=Saved(4 * dim, 10 * dim + 2 * ffn), outside=Saved(2 * dim, dim),
        matrices=(Matrix(layers, dim, dim), Matrix(layers, dim, ffn), Matrix(layers, ffn, dim)))


def perceiver(source: int, out: int, latents: int, *, layers: int, inner: int, norms: int) -> Footprint:
    """Latents through attention `inner` wide and a feed-forward of four times the width; a unit is one latent."""
    layer = 4 * source * inner + 8 * source * source + 6 * source + norms
    return Footprint(
        latents * source + layers * layer + 2 * source + linear(source, out), layers=layers, width=source,
        layer=Saved(4 * source, 4 * inner + 10 * source), outside=Saved(2 * source, source),
        matrices=(Matrix(4 * layers, source, inner), Matrix(layers, source, 4 * source), Matrix(layers, 4 * source, source)))


def resampler(source: int, out: int, queries: int, *, width: int, layers: int, ffn: int) -> Footprint:
    """Queries through attention to projected features, and feed-forwards; a unit is one query."""
    layer = 4 * linear(width, width) + 2 * width + bool(ffn) * (2 * width + linear(width, ffn) + linear(ffn, width))
    return Footprint(
        queries * width + source * width + 4 * width + layers * layer + linear(width, out), layers=layers, width=width,
        layer=Saved(4 * width, 6 * width + 2 * ffn), outside=Saved(2 * width, source + 3 * width),
        matrices=(Matrix(layers, width, width),))


def classes(source: int, count: int, *, norm: bool = False, joined: int = 1) -> Footprint:
    """A norm and a Linear to classes, whose log-probabilities are float32; a unit is one of `joined` frames."""
    parameters = linear(source * joined, count) + 2 * source * norm
    return Footprint(parameters, outside=Saved(2 * source * norm + 3 * count / joined, source + count / joined))
