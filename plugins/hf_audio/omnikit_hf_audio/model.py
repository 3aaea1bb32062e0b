"""An audio encoder of transformers from the waveform on, up to the chosen layers. Holds no decoder and no head.

Parameter names are those of transformers' module, here behind `tower.`. A row in a batch gives what it gives alone: what lies
beyond its end enters no convolution, norm or attention.
"""

import logging
from fractions import Fraction
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from omnikit.contracts.types import Features, Signal
from omnikit.ops.empty import loads_weights
from omnikit_hf_audio.config import HfAudio
from omnikit_hf_audio.encoder import MEL_STRIDE, SAMPLE_RATE, TOKENS
from omnikit_hf_audio.features import log_mel, mel_frames, pairs_of_mel, patches_of_mel, standardised
from omnikit_hf_audio.weights import fresh, layers_of, loaded


@cache
def warn_cut(family: str, seconds: float) -> None:
    """Log once that clips are cut, as transformers does it in silence."""
    logging.getLogger(__name__).warning("hf_audio's %s cuts clips to %g s; what follows is dropped.", family, seconds)


class HfAudioEncoder(nn.Module):
    """Waveforms [B, N] at 16 kHz to features [B, T, width]."""

    def __init__(self, config: HfAudio) -> None:
        super().__init__()
        self.config, self.sizes = config, config.encoder
        load = config.weights is not None and loads_weights()
        self.tower = loaded(self.sizes, str(config.weights), config.weights_prefix) if load else fresh(self.sizes)
        projections = [name for name, _ in self.named_modules() if name.endswith(("q_proj", "k_proj", "v_proj", "out_proj"))]
        self.direct_weights = tuple(projections) if config.family == "wavlm" else ()  # its attention reads the matrices

    def forward(self, signal: Signal) -> Features:
        inside = torch.arange(signal.data.shape[1], device=signal.data.device) < signal.lengths[:, None]
        waveform = signal.data.float().masked_fill(~inside, 0.0)
        if self.sizes.window:
            data = self._of_window(waveform, signal.lengths)
            return Features(data, torch.full_like(signal.lengths, data.shape[1]))
        lengths = self._lengths(signal.lengths)
        hidden = self._before(waveform, signal.lengths)
        # a row without features would leave attention nothing to attend to (NaN): it attends to its padding instead
        mask = torch.arange(hidden.shape[1], device=hidden.device) < lengths.clamp(min=1)[:, None]
        data = self._through(self.tower.get_submodule("encoder"), hidden, attention_mask=mask)
        return Features(data, lengths, Fraction(SAMPLE_RATE, self.sizes.step))

    def _lengths(self, samples: Tensor) -> Tensor:
        """Give the features of clips of so many samples, as the configuration's `length` does."""
        if self.sizes.family == "w2v_bert":
            return mel_frames(samples) // MEL_STRIDE
        for kernel, stride in zip(self.sizes.kernels, self.sizes.strides, strict=True):
            samples = (torch.div(samples - kernel, stride, rounding_mode="floor") + 1).clamp(min=0)
        return samples

    def _of_window(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Give the features of clips that are padded or cut to one length."""
        sizes, dtype = self.sizes, self.tower.dtype
        if waveform.shape[1] > sizes.window:
            warn_cut(sizes.family, sizes.window / SAMPLE_RATE)
        if sizes.family == "whisper":
            return self._through(self.tower, log_mel(waveform, sizes).to(dtype))
        mel = patches_of_mel(waveform, lengths, sizes).to(dtype)
        return self._through(self.tower, mel)[:, 0 if sizes.class_token else TOKENS:]

    def _before(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Give what enters the transformer, [B, T, dim]."""
        dtype, shortest = self.tower.dtype, self.sizes.shortest
        if self.sizes.normalize:
            waveform = standardised(waveform, lengths)
        waveform = F.pad(waveform, (0, max(0, shortest - waveform.shape[1])))
        if self.sizes.family == "w2v_bert":
            features = pairs_of_mel(waveform, lengths).to(dtype)
        else:
            features = self._convolved(waveform.to(dtype), lengths).transpose(1, 2)
        hidden: Tensor | tuple[Tensor, Tensor] = self.tower.get_submodule("feature_projection")(features)
        return hidden[0] if isinstance(hidden, tuple) else hidden

    def _convolved(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Give the convolutions' output [B, C, T]; where the first one's norm is over time, it is over the row's own time."""
        x: Tensor = waveform[:, None]
        first, *others = self.tower.get_submodule("feature_extractor.conv_layers").children()
        if self.sizes.conv_norm == "layer":
            x = first(x)
        else:
            count = torch.div(lengths - self.sizes.kernels[0], self.sizes.strides[0], rounding_mode="floor") + 1
            norm = first.get_submodule("layer_norm")
            assert isinstance(norm, nn.GroupNorm)
            x = first.get_submodule("activation")(norm_over_time(first.get_submodule("conv")(x), count, norm))
        for layer in others:
            x = layer(x)
        return x

    def _through(self, module: nn.Module, x: Tensor, **options: Tensor) -> Tensor:
        """Give the chosen layers' outputs, joined: the last one's is what the module gives, the others' pass by on the way."""
        found: dict[int, Tensor] = {}
        handles = [self._noted(index, found) for index in self.sizes.chosen if index != self.sizes.depth]
        try:
            found[self.sizes.depth] = module(x, **options).last_hidden_state
        finally:
            for handle in handles:
                handle.remove()
        chosen = [found[index] for index in self.sizes.chosen]
        return torch.cat(chosen, dim=2) if len(chosen) > 1 else chosen[0]

    def _noted(self, index: int, found: dict[int, Tensor]) -> RemovableHandle:
        """Let the next forward pass write a layer's output, or what enters the first one, into `found`."""
        layers = layers_of(self.tower)

        def before(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            found[0] = inputs[0]

        def after(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]) -> None:
            found[index] = output[0] if isinstance(output, tuple) else output

        return layers[index - 1].register_forward_hook(after) if index else layers[0].register_forward_pre_hook(before)


def norm_over_time(x: Tensor, count: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Norm each channel of x [B, C, T] over the first `count` [B] steps of its row.

    A row without padding takes torch's own group norm, so that it is equal to transformers' to the last bit.
    """
    inside = (torch.arange(x.shape[2], device=x.device) < count[:, None])[:, None]  # [B, 1, T]
    steps = count.clamp(min=1)[:, None, None]
    wide = x.float()
    mean = wide.masked_fill(~inside, 0.0).sum(dim=2, keepdim=True) / steps
    variance = (wide - mean).masked_fill(~inside, 0.0).square().sum(dim=2, keepdim=True) / steps
    own = ((wide - mean) * (variance + norm.eps).rsqrt()).to(x.dtype) * norm.weight[:, None] + norm.bias[:, None]
    return torch.where((count == x.shape[2])[:, None, None], norm(x), own)
