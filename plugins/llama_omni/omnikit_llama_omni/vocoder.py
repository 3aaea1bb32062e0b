"""Units to a wave: durations for merged units, then a HiFi-GAN generator. Knows nothing of the model that gives units.

Source: fairseq's CodeHiFiGANVocoder, by the tensor names and rules of its checkpoints; HiFi-GAN, arXiv:2010.05646.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from omnikit.errors import ConfigError, DataError
from omnikit_llama_omni.config import UnitHiFiGAN

SLOPE = 0.1  # of every leaky ReLU but the last, which has torch's 0.01


class UnitVocoder(nn.Module):
    """Owns the unit embeddings (`dict`), the duration predictor and the generator, with weight norm folded."""

    def __init__(self, config: UnitHiFiGAN) -> None:
        super().__init__()
        self.config = config
        widths = [config.channels // 2 ** i for i in range(len(config.rates) + 1)]
        self.dict = nn.Embedding(config.units, config.dim)
        self.conv_pre = nn.Conv1d(config.dim, widths[0], 7, padding=3)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(wide, narrow, kernel, rate, padding=(kernel - rate) // 2)
            for wide, narrow, kernel, rate in zip(widths, widths[1:], config.kernels, config.rates, strict=False))
        self.resblocks = nn.ModuleList(ResidualBlock(width, kernel, config.dilations)
                                       for width in widths[1:] for kernel in config.block_kernels)
        self.conv_post = nn.Conv1d(widths[-1], 1, 7, padding=3)
        self.dur_predictor = DurationPredictor(config)
        self.register_load_state_dict_pre_hook(_fold_hook)  # type: ignore[no-untyped-call]  # torch has none here
        if config.weights and torch.get_default_device().type != "meta":
            self._load(config.weights)

    def encode(self, wave: Tensor) -> Tensor:
        """Refuse: this codec decodes only."""
        raise DataError("codec unit_hifigan does not encode: its units come with the data; use codec mel_units where"
                        " units shall be made from waves.")

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Merged units [T] to a wave in [-1, 1]; negative units are dropped, as in the original."""
        codes = self._valid(codes)
        if not codes.numel():
            return torch.zeros(0, device=codes.device)
        durations = self.durations(codes)
        return self.generate(codes.repeat_interleave(durations))

    def durations(self, codes: Tensor) -> Tensor:
        """Frames [T] of each unit [T], at least 1; halves round to even."""
        log_duration: Tensor = self.dur_predictor(self.dict(codes)[None])[0]  # [T]
        return (log_duration.exp() - 1).round().clamp(min=1).long()

    def generate(self, codes: Tensor) -> Tensor:
        """One unit per frame [T] to a wave [T x product of rates]."""
        x = self.conv_pre(self.dict(codes).T[None])  # [1, C, T]
        blocks = len(self.config.block_kernels)
        for step, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, SLOPE))  # [1, C / 2, T x rate]
            parallel = self.resblocks[step * blocks:(step + 1) * blocks]
            x = torch.stack([block(x) for block in parallel]).mean(0)
        wave: Tensor = self.conv_post(F.leaky_relu(x)).tanh()[0, 0]
        return wave

    def _load(self, file: str) -> None:
        found, own = _read(file), self.state_dict()
        wrong = sorted(name for name in own.keys() | found.keys()
                       if name not in own or name not in found or own[name].shape != found[name].shape)
        if wrong:
            raise ConfigError(f"speech.codec.weights {file!r} does not fit: {len(wrong)} tensors differ, {wrong[0]!r} first;"
                              " choose the preset with the vocoder's sizes (unit_hifigan_1000).")
        self.load_state_dict(found)

    def _valid(self, codes: Tensor) -> Tensor:
        codes = codes[codes >= 0]
        if codes.numel() and int(codes.max()) >= self.config.units:
            raise DataError(f"unit {int(codes.max())} cannot be spoken: codec unit_hifigan has units 0 to"
                            f" {self.config.units - 1}; use units of the same codec.")
        return codes


class ResidualBlock(nn.Module):
    """Pairs of a dilated and a plain convolution, each pair added to its input."""

    def __init__(self, width: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(nn.Conv1d(width, width, kernel, dilation=d, padding=d * (kernel - 1) // 2)
                                    for d in dilations)
        self.convs2 = nn.ModuleList(nn.Conv1d(width, width, kernel, padding=(kernel - 1) // 2) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, T] to [B, C, T]."""
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            x = x + plain(F.leaky_relu(dilated(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class DurationPredictor(nn.Module):
    """Two convolutions with norms, one number per unit: log(frames + 1)."""

    def __init__(self, config: UnitHiFiGAN) -> None:
        super().__init__()
        wide = config.duration_dim
        self.conv1 = nn.Sequential(nn.Conv1d(config.dim, wide, 3, padding=1), nn.ReLU())
        self.ln1 = nn.LayerNorm(wide)
        self.conv2 = nn.Sequential(nn.Conv1d(wide, wide, 3, padding=1), nn.ReLU())
        self.ln2 = nn.LayerNorm(wide)
        self.proj = nn.Linear(wide, 1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Embedded units [B, T, D] to log(frames + 1) [B, T]."""
        x = self.dropout(self.ln1(self.conv1(x.transpose(1, 2)).transpose(1, 2)))  # [B, T, duration_dim]
        x = self.dropout(self.ln2(self.conv2(x.transpose(1, 2)).transpose(1, 2)))
        result: Tensor = self.proj(x)[..., 0]
        return result


def fold(weights: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """Replace weight-norm pairs under `prefix` by the weights they stand for: w = g v / |v|, |v| over all dims but 0.

    Both spellings are known: `weight_g`, `weight_v`, and `parametrizations.weight.original0`, `…original1`.
    """
    folded = dict(weights)
    for gain, direction in (("weight_g", "weight_v"),
                            ("parametrizations.weight.original0", "parametrizations.weight.original1")):
        for name in [n for n in folded if n.startswith(prefix) and n.endswith("." + gain)]:
            stem = name.removesuffix(gain)
            g, v = folded.pop(name), folded.pop(stem + direction)
            folded[stem + "weight"] = g * v / v.flatten(1).norm(dim=1).view_as(g)
    return folded


def _fold_hook(module: nn.Module, weights: dict[str, Tensor], prefix: str, *_: object) -> None:
    folded = fold(weights, prefix)
    weights.clear()
    weights.update(folded)


def _read(file: str) -> dict[str, Tensor]:
    """Read a checkpoint: safetensors, or a torch file with the weights at the top or under `generator`."""
    path = Path(file).expanduser()
    try:
        found = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise ConfigError(f"speech.codec.weights {file!r} is not a readable torch or safetensors file"
                          f" ({type(error).__name__}); give the vocoder's checkpoint.") from error
    weights: Mapping[str, Tensor] = found.get("generator", found)  # type: ignore[assignment]  # checked by the caller
    return fold(weights)
