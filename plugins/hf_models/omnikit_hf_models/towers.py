"""Image and audio towers of classes of transformers, their modules its own. Holds no projector.

Parameter names are those of transformers' module, here behind `tower.`.
"""

from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from importlib import import_module

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_utils import PreTrainedModel

from omnikit.contracts.types import Features, Signal
from omnikit_hf_models.config import HOP, SAMPLE_RATE, HFAudioTower, HFImageTower, number

MODELS = {"internvl_vision": ("internvl", "InternVLVisionModel"), "blip_2_vision_model": ("blip_2", "Blip2VisionModel"),
          "instructblip_vision_model": ("instructblip", "InstructBlipVisionModel"),
          "idefics3_vision": ("idefics3", "Idefics3VisionTransformer"),
          "smolvlm_vision": ("smolvlm", "SmolVLMVisionTransformer"),
          "qwen2_audio_encoder": ("qwen2_audio", "Qwen2AudioEncoder"), "sam_vision_model": ("sam", "SamVisionModel")}
FRAME = 400  # samples of a mel frame


class ImageTower(nn.Module):
    """Tiles [T, 3, size, size], normalised, to features [T, patches, width], row by row of an image."""

    def __init__(self, config: HFImageTower) -> None:
        super().__init__()
        self.tower, self.dropped = tower(config.config), config.dropped

    def forward(self, signal: Signal) -> Features:
        data: Tensor = self.tower(pixel_values=signal.data.to(self.tower.dtype)).last_hidden_state[:, self.dropped:]
        return Features(data, torch.full_like(signal.lengths, data.shape[1]))


class AudioTower(nn.Module):
    """Waveforms [B, N] at 16 kHz to features [B, T, width]; padding is attended to by none."""

    def __init__(self, config: HFAudioTower) -> None:
        super().__init__()
        self.tower, self.window, self.bins = tower(config.config), config.window, number(config.config, "num_mel_bins")
        table = self.tower.get_submodule("embed_positions")  # frozen there; a stage that trains all parameters would train it
        weight = table.get_parameter("weight").detach()
        del table.weight
        table.register_buffer("weight", weight)

    def forward(self, signal: Signal) -> Features:
        frames = torch.div(signal.lengths.clamp(max=self.window) + HOP - 1, HOP, rounding_mode="floor")
        counts = torch.div(frames + 1, 2, rounding_mode="floor")  # behind the second convolution
        inside = torch.arange(signal.data.shape[1], device=signal.data.device) < signal.lengths[:, None]
        mel = log_mel(signal.data.float().masked_fill(~inside, 0.0), self.window, self.bins).to(self.tower.dtype)
        positions = torch.arange(self.window // (2 * HOP), device=mel.device) < counts[:, None]
        mask = create_bidirectional_mask(config=self.tower.config, attention_mask=positions,
                                         inputs_embeds=mel.new_empty(*positions.shape, 1))
        data = self.tower(mel, attention_mask=mask).last_hidden_state
        return Features(data, torch.div(counts, 2, rounding_mode="floor"), Fraction(SAMPLE_RATE, 4 * HOP))


def tower(config: Mapping[str, object]) -> PreTrainedModel:
    """Give the module of a configuration, with random weights."""
    folder, name = MODELS[str(config["model_type"])]
    model: type[PreTrainedModel] = getattr(import_module(f"transformers.models.{folder}.modeling_{folder}"), name)
    assert model.config_class, "each of them has one"
    return model(model.config_class.from_dict(dict(config)))


def log_mel(waveform: Tensor, window: int, bins: int) -> Tensor:
    """Give Whisper's input [B, bins, window / HOP] of waveforms [B, N], 0 beyond a row's end.

    The steps and their order are those of feature_extraction_whisper.py, so that it is equal to the last bit.
    """
    waveform = F.pad(waveform[:, :window], (0, max(0, window - waveform.shape[1])))
    with torch.autocast(waveform.device.type, enabled=False):
        hann = torch.hann_window(FRAME, device=waveform.device)
        spectrum = torch.stft(waveform, FRAME, HOP, window=hann, return_complex=True)
        power = (spectrum[..., :-1].abs() ** 2).contiguous()
        mel = torch.clamp(_filters(bins, waveform.device).T @ power, min=1e-10).log10()
    loudest = mel.amax(dim=(1, 2), keepdim=True)
    return (torch.maximum(mel, loudest - 8.0) + 4.0) / 4.0


@cache
def _filters(bins: int, device: torch.device) -> Tensor:
    """Whisper's mel filters [FRAME / 2 + 1, bins]."""
    bank = mel_filter_bank(FRAME // 2 + 1, bins, 0.0, SAMPLE_RATE / 2, SAMPLE_RATE, norm="slaney", mel_scale="slaney")
    with torch.inference_mode(False):
        return torch.from_numpy(bank).to(device, torch.float32)
