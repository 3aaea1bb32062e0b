"""How large an audio encoder of transformers is. Light."""

from math import prod

from omnikit.contracts.footprint import Footprint, Matrix, Saved, convolution, linear
from omnikit_hf_audio.encoder import SAMPLE_RATE, TOKENS, Encoder
from omnikit_hf_audio.families import ON_WAVEFORMS

IMPORTS = 46 * 2**20  # bytes of transformers' modelling code in a process


def footprint(encoder: Encoder) -> Footprint:
    """Give how large it is; what a layer keeps for a feature is what was measured of Whisper's, which is built alike."""
    dim, ffn, depth = encoder.dim, encoder.ffn, encoder.depth
    blocks = 2 if encoder.family == "w2v_bert" else 1
    each = 1 + TOKENS / prod(encoder.patches) if encoder.family == "ast" else 1.0
    return Footprint(
        parameters=_before(encoder) + depth * _layer(encoder) + 2 * dim * encoder.closes, layers=depth, width=each * dim,
        layer=Saved(4 * dim, 4 * dim + 2 * blocks * ffn + (8 * dim if blocks > 1 else 0)).times(each),
        outside=_outside(encoder), square=2 * encoder.heads if encoder.family in ("wavlm", "w2v_bert") else 0.0,
        imports=IMPORTS,
        matrices=(Matrix(4 * depth, dim, dim), Matrix(blocks * depth, dim, ffn), Matrix(blocks * depth, ffn, dim)))


def _layer(encoder: Encoder) -> int:
    """Give the parameters of one layer."""
    dim, head = encoder.dim, encoder.dim // encoder.heads
    attention, block = 4 * linear(dim, dim), linear(dim, encoder.ffn) + linear(encoder.ffn, dim)
    if encoder.family == "w2v_bert":
        distances = (encoder.left_positions + encoder.right_positions + 1) * head
        convolutions = 3 * dim**2 + dim * encoder.depthwise_kernel
        return attention + 2 * block + convolutions + distances + 12 * dim
    if encoder.family == "wavlm":
        attention += encoder.heads + linear(head, 8)
    return attention + block + 4 * dim - dim * (encoder.family == "whisper")  # whose keys have no bias


def _before(encoder: Encoder) -> int:
    """Give the parameters before the layers."""
    dim = encoder.dim
    if encoder.family == "whisper":
        return convolution(encoder.mel_bins, dim, 3) + convolution(dim, dim, 3)
    if encoder.family == "ast":
        return convolution(1, dim, encoder.patch**2) + (prod(encoder.patches) + 2 * TOKENS) * dim
    if encoder.family == "w2v_bert":
        return 2 * 160 + linear(160, dim)
    widths = (1, *encoder.conv_dim)
    convolutions = sum(widths[i] * widths[i + 1] * kernel for i, kernel in enumerate(encoder.kernels))
    convolutions += sum(encoder.conv_dim) * encoder.conv_bias
    convolutions += 2 * (encoder.conv_dim[0] if encoder.conv_norm == "group" else sum(encoder.conv_dim))
    positions = dim // encoder.position_groups * dim * encoder.position_kernel + encoder.position_kernel + dim
    last = encoder.conv_dim[-1]
    total = convolutions + 2 * last + linear(last, dim) + positions + encoder.buckets * encoder.heads
    return total if encoder.stable else total + 2 * dim  # whose norm stands before the layers


def _outside(encoder: Encoder) -> Saved:
    """Give what is kept for a feature before the layers: of convolutions on waveforms, two values for each of their outputs."""
    if encoder.family not in ON_WAVEFORMS:
        return Saved(4 * encoder.dim)
    rate, values = float(SAMPLE_RATE), 0.0
    for width, stride in zip(encoder.conv_dim, encoder.strides, strict=True):
        rate /= stride
        values += (3 if encoder.conv_norm == "layer" else 2) * width * rate
    return Saved(2 * encoder.dim, values / rate)
