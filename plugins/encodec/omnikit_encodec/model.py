"""Codec `encodec` around the package's own networks. Reads no file layout but the published state dict."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from encodec.model import EncodecModel
from encodec.modules.seanet import SEANetDecoder, SEANetEncoder
from encodec.quantization.vq import ResidualVectorQuantizer
from torch import Tensor, nn
from torch.nn.utils import remove_weight_norm

from omnikit.errors import ConfigError, DataError, RunError
from omnikit.ops.empty import filled_from, loads_weights
from omnikit.store.tensors import fill, in_file
from omnikit_encodec.config import BANDWIDTHS, BITS, CARDINALITY, Encodec
from omnikit_encodec.streaming import CausalState, OverlapState, join, speak


class EncodecCodec(nn.Module):
    """Owns the package's model with its weight norms worked into the weights, which no stage changes."""

    def __init__(self, config: Encodec) -> None:
        super().__init__()
        self.config = config
        with filled_from(config.weights):
            self.model = network(config)
        if config.weights and loads_weights():
            self._load(config.weights)
        for module in self.model.modules():
            if hasattr(module, "weight_g"):
                remove_weight_norm(module)
        self.train(False)

    def train(self, mode: bool = True) -> EncodecCodec:
        """Stay in eval mode: in training the package's quantiser moves its codebooks."""
        super().train(False)
        return self

    @torch.no_grad()
    def encode(self, wave: Tensor) -> Tensor:
        """Wave [N] in [-1, 1] to codes [T, Q]; segments one after the other."""
        found = [codes for codes, _ in self._segments(wave)]
        books = self.config.spec.codebooks
        return torch.cat(found) if found else torch.zeros(0, books, dtype=torch.int64, device=wave.device)

    @torch.no_grad()
    def loudness(self, wave: Tensor) -> Tensor:
        """Wave [N] to the loudness [S] of each segment of the 48 kHz model; none at 24 kHz."""
        found = [scale.reshape(1) for _, scale in self._segments(wave) if scale is not None]
        return torch.cat(found) if found else wave.new_zeros(0)

    def decode(self, codes: Tensor, loudness: Tensor | None = None) -> Tensor:
        """Codes [T, Q] to a wave in [-1, 1]; `loudness` [S] of the segments, None: the configured one."""
        wave, _ = self.step(codes, self.init_state(1, loudness), last=True)
        return wave

    def init_state(self, batch: int, loudness: Tensor | None = None) -> CausalState | OverlapState:
        """Give the state of a wave of which nothing was spoken; `batch` is 1."""
        assert batch == 1, "a state is of one wave"
        return OverlapState(loudness) if self.config.overlapping else CausalState()

    @torch.no_grad()
    def step(self, codes: Tensor, state: CausalState | OverlapState, *,
             last: bool = False) -> tuple[Tensor, CausalState | OverlapState]:
        """New codes [N, Q] after what `state` holds to the wave [M] that is certain now. Changes `state`.

        At 24 kHz that is up to the newest code (the first seven are waited for), at 48 kHz up to the last whole segment.
        """
        codes = self._valid(codes)
        if isinstance(state, OverlapState):
            wave = join(self._waveform, codes, state, last=last)  # [2, M]
        else:
            wave = speak(self.model.decoder, self._vectors(codes), state, last=last)[0]  # [1, M]
        return wave.mean(0).clamp(-1, 1), state

    def _segments(self, wave: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """Give the codes [T, Q] of each segment, and its loudness at 48 kHz, as the package cuts them."""
        if not len(wave):
            return []
        sides = wave.to(self._any.dtype).expand(1, self.model.channels, -1)
        return [(codes[0].T, scale) for codes, scale in self.model.encode(sides)]

    def _waveform(self, codes: Tensor, loudness: Tensor | None) -> Tensor:
        """Codes [T, Q] of one segment to its two sides [2, T x 320]."""
        scale = self.config.loudness if loudness is None else loudness
        sides: Tensor = self.model.decoder(self._vectors(codes))[0]
        return sides * scale

    def _vectors(self, codes: Tensor) -> Tensor:
        """Codes [T, Q] to what the decoder reads [1, D, T]."""
        found: Tensor = self.model.quantizer.decode(codes.T[:, None])
        return found

    def _valid(self, codes: Tensor) -> Tensor:
        books = self.config.spec.codebooks
        if codes.ndim != 2 or codes.shape[1] != books:
            raise DataError(f"codes of shape {list(codes.shape)} cannot be spoken: codec encodec has {books} codebooks at"
                            f" {self.config.bandwidth:g} kbit/s; give [T, {books}].")
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < CARDINALITY:
            raise DataError(f"code {int(codes.max())} or {int(codes.min())} cannot be spoken: codec encodec has codes 0 to"
                            f" {CARDINALITY - 1}; use codes of the same codec.")
        return codes

    def _load(self, file: str) -> None:
        try:
            fill(self.model, in_file(Path(file).expanduser()), file, f"encodec of {self.config.sample_rate} Hz with width"
                 f" {self.config.width} and dim {self.config.dim}", "give the published file of that model", field="")
        except RunError as error:
            raise ConfigError(f"encodec.weights: {error}") from error

    @property
    def _any(self) -> Tensor:
        return next(self.model.parameters())


def network(config: Encodec) -> EncodecModel:
    """Give the package's model with random weights, codebooks included: its own begin as zeros, for k-means in training."""
    norm, channels = ("time_group_norm", 2) if config.overlapping else ("weight_norm", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's new weight norm has other names than the published files
        encoder, decoder = (half(channels=channels, dimension=config.dim, n_filters=config.width, norm=norm,
                                 causal=not config.overlapping) for half in (SEANetEncoder, SEANetDecoder))
    books = round(1000 * BANDWIDTHS[config.sample_rate][-1] / (config.frame_rate * BITS))
    quantizer = ResidualVectorQuantizer(config.dim, books, CARDINALITY)
    bandwidths = list(BANDWIDTHS[config.sample_rate][1:])
    assert isinstance(encoder, SEANetEncoder) and isinstance(decoder, SEANetDecoder), "made in this order"
    model = EncodecModel(encoder, decoder, quantizer, bandwidths, config.sample_rate, channels, normalize=config.overlapping,
                         segment=1.0 if config.overlapping else None)
    model.bandwidth = config.bandwidth
    for name, buffer in quantizer.named_buffers():
        if name.endswith("inited"):
            buffer.fill_(1)
        elif name.endswith("embed"):
            nn.init.normal_(buffer)
    return model
