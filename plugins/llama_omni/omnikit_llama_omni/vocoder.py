"""Units to a wave: durations for merged units, then a HiFi-GAN generator. Independent of the model that gives units.

Source: fairseq's CodeHiFiGANVocoder, by the tensor names and rules of its checkpoints; HiFi-GAN, arXiv:2010.05646.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from omnikit.contracts.types import LazyTensor
from omnikit.errors import ConfigError, DataError, RunError
from omnikit.ops.durations import rounded_durations
from omnikit.ops.empty import filled_from, loads_weights
from omnikit.ops.packed_conv import keep_compiled
from omnikit.ops.weight_cache import WeightCache
from omnikit.store.layouts import from_legacy_weight_norm
from omnikit.store.tensors import fill, in_file, mapping, torch_file
from omnikit_llama_omni.config import UnitHiFiGAN
from omnikit_llama_omni.streaming import StreamingVocoder, VocoderState
from omnikit_llama_omni.vocoder_layers import SLOPE, DurationPredictor, ResidualBlock


class UnitVocoder(nn.Module):
    """Owns the unit embeddings (`dict`), the speakers' (`spkr`), the duration predictor and the generator.

    Every convolution of the generator has weight norm, w = g v / |v| with |v| over all dims but the first (of a transposed
    convolution the input's channels), as the published checkpoints do; their names `weight_g`, `weight_v` load as well.
    """

    def __init__(self, config: UnitHiFiGAN) -> None:
        super().__init__()
        self.config = config
        keep_compiled()
        self._streaming: WeightCache[StreamingVocoder] = WeightCache()
        with filled_from(config.weights):
            self._build(config)
        if config.weights and loads_weights():
            self._load(config.weights)

    def _build(self, config: UnitHiFiGAN) -> None:
        widths = [config.channels // 2 ** i for i in range(len(config.rates) + 1)]
        self.dict = nn.Embedding(config.units, config.dim)
        self.spkr = nn.Embedding(config.speakers, config.dim) if config.speakers else None
        self.conv_pre = weight_norm(nn.Conv1d(config.width, widths[0], 7, padding=3))
        self.ups = nn.ModuleList(
            weight_norm(nn.ConvTranspose1d(wide, narrow, kernel, rate, padding=(kernel - rate) // 2))
            for wide, narrow, kernel, rate in zip(widths, widths[1:], config.kernels, config.rates, strict=False))
        self.resblocks = nn.ModuleList(ResidualBlock(width, kernel, dilations)
                                       for width in widths[1:] for kernel, dilations in config.blocks)
        self.conv_post = weight_norm(nn.Conv1d(widths[-1], 1, 7, padding=3))
        self.dur_predictor = DurationPredictor(config) if config.duration_dim else None

    def encode(self, wave: Tensor) -> Tensor:
        """Refuse: this codec decodes only."""
        raise DataError("codec unit_hifigan does not encode: its units come with the data; use codec mel_units where"
                        " units shall be made from waves.")

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Merged units [T, 1] to a wave in [-1, 1]; negative units are dropped, as in the original."""
        units = self._valid(codes)
        if not units.numel():
            return torch.zeros(0, device=units.device)
        return self.waveform(units.repeat_interleave(self.durations(units)))

    def init_state(self, batch: int = 1) -> VocoderState:
        """Give the state of a wave of which nothing was spoken; `batch` is 1."""
        assert batch == 1, "a state is of one wave"
        return VocoderState.empty(self.dict.weight.device)

    @torch.no_grad()
    def step(self, codes: Tensor, state: VocoderState, *, last: bool = False) -> tuple[Tensor, VocoderState]:
        """New merged units [N, 1] after what `state` holds to the wave [M] that is certain now. Changes `state`."""
        units = self._valid(codes)
        layers = self._streaming.get(self, lambda: StreamingVocoder(self), check=state.generator is None)
        return layers.step(units, state, last=last), state

    def durations(self, units: Tensor) -> Tensor:
        """Frames [T] of each unit [T], at least 1; halves round to even. One each where nothing predicts them.

        Raises:
            RunError: a prediction is not a number, or absurd.
        """
        if self.dur_predictor is None:
            return torch.ones_like(units)
        log_duration = self.log_durations(units[None, :, None], torch.ones_like(units[None], dtype=torch.bool))[0]  # [T]
        return rounded_durations(log_duration.exp() - 1, "unit_hifigan")

    def log_durations(self, codes: Tensor, mask: Tensor) -> Tensor:
        """Merged units [B, T, 1], mask True = valid, to log(frames + 1) [B, T]; a row's do not depend on its padding."""
        assert self.dur_predictor is not None, "a vocoder without durations has none to train"
        result: Tensor = self.dur_predictor(self.dict(codes[..., 0]), mask)
        return result

    def generate(self, codes: Tensor) -> Tensor:
        """One unit per frame [B, T, 1] to waves [B, T x product of rates]."""
        return self.waveform(codes[..., 0])

    def waveform(self, units: Tensor) -> Tensor:
        """One unit per frame [T] or [B, T] to a wave [T x product of rates] or [B, …].

        Weight norm is computed at each call: at the published sizes 4 % of a call for 54 frames, 12 % for 10. Who calls often
        shares it with torch.nn.utils.parametrize.cached().
        """
        x = self.conv_pre(self.with_speaker(self.dict(units)).transpose(-1, -2))  # [B, C, T]
        blocks = len(self.config.block_kernels)
        for step, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, SLOPE))  # [1, C / 2, T x rate]
            parallel = [block(x) for block in self.resblocks[step * blocks:(step + 1) * blocks]]
            x = parallel[0] if blocks == 1 else torch.stack(parallel).mean(0)  # the mean of one costs an eighth of a step
        wave: Tensor = self.conv_post(F.leaky_relu(x)).tanh()[..., 0, :]
        return wave

    def with_speaker(self, embedded: Tensor) -> Tensor:
        """Give embedded units [..., T, D] with the speaker's embedding beside each, [..., T, 2 D]; of one voice as they are."""
        if self.spkr is None:
            return embedded
        return torch.cat([embedded, self.spkr.weight[self.config.speaker].expand_as(embedded)], dim=-1)

    def _load(self, file: str) -> None:
        try:
            fill(self, stored(Path(file).expanduser()), file, "codec unit_hifigan",
                 "choose the preset with the vocoder's sizes (unit_hifigan_1000)", field="")
        except RunError as error:
            raise ConfigError(f"speech.codec.weights: {error}") from error

    def _valid(self, codes: Tensor) -> Tensor:
        """Units [T, 1] as [T], without negative ones."""
        if codes.ndim != 2 or codes.shape[1] != 1:
            raise DataError(f"codes of shape {list(codes.shape)} cannot be spoken: codec unit_hifigan has 1 codebook; give"
                            " [T, 1].")
        units = codes[codes >= 0]
        if units.numel() and int(units.max()) >= self.config.units:
            raise DataError(f"unit {int(units.max())} cannot be spoken: codec unit_hifigan has units 0 to"
                            f" {self.config.units - 1}; use units of the same codec.")
        return units


def stored(path: Path) -> dict[str, LazyTensor]:
    """Give a vocoder's tensors by our names: of a torch file with entry `generator`, of a plain one, or of safetensors.

    Raises:
        RunError: the file is missing, cut short or holds something else.
    """
    if path.suffix == ".safetensors":
        found = in_file(path)
    else:
        whole = torch_file(path)
        found = mapping(whole.get("generator", whole) if isinstance(whole, Mapping) else whole, path)
    return {from_legacy_weight_norm(name): tensor for name, tensor in found.items()}
