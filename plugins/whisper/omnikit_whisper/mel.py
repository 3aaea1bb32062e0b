"""Whisper's log-mel spectrogram of waveforms, and its blanking for training. Uses no encoder."""

from functools import cache

import torch
from torch import Tensor
from torchaudio.functional import mask_along_axis_iid
from transformers.audio_utils import mel_filter_bank

from omnikit_whisper.config import SAMPLE_RATE

FFT = 400  # samples of a window, openai-whisper audio.py
FLOOR = -10.0  # log10 of the smallest power, 1e-10
RANGE = 8.0  # what lies more than 80 dB below a clip's loudest bin is lifted to there


def log_mel(waveform: Tensor, frames: Tensor, bins: int, hop: int = 160) -> Tensor:
    """Give Whisper's input for waveforms, in float32 whatever surrounds it.

    Args:
        waveform: [B, N] at 16 kHz, N a multiple of `hop` and above 200; zeros beyond a row's end.
        frames: [B] frames of each row that count; the others take no part in the row's maximum and become 0.

    Returns:
        [B, bins, N / hop], about -1 to 1.5.

    Source: openai-whisper 20250625 audio.py.
    """
    with torch.autocast(waveform.device.type, enabled=False):
        window = torch.hann_window(FFT, device=waveform.device)
        spectrum = torch.stft(waveform.float(), FFT, hop, window=window, center=True, return_complex=True)[..., :-1]
        power = spectrum.real.square() + spectrum.imag.square()  # [B, FFT / 2 + 1, T]
        mel = torch.matmul(filters(bins, waveform.device), power).clamp(min=1e-10).log10()  # [B, bins, T]
    valid = (torch.arange(mel.shape[2], device=mel.device) < frames[:, None])[:, None]  # [B, 1, T]
    loudest = mel.masked_fill(~valid, FLOOR).amax(dim=(1, 2), keepdim=True)
    mel = (torch.maximum(mel, loudest - RANGE) + 4.0) / 4.0
    return mel.masked_fill(~valid, 0.0)


def blank(mel: Tensor, axis: int, masks: int, width: int) -> Tensor:
    """Set `masks` random stretches of at most `width` along `axis` of mel [B, bins, T] to 0, other ones in each row."""
    for _ in range(masks):
        mel = mask_along_axis_iid(mel, width + 1, 0.0, axis)  # the library draws widths below its argument
    return mel


@cache
def filters(bins: int, device: torch.device) -> Tensor:
    """Whisper's mel filters [bins, FFT / 2 + 1]; no buffer, so that a model in bfloat16 computes them in float32."""
    bank = mel_filter_bank(FFT // 2 + 1, bins, 0.0, SAMPLE_RATE / 2, SAMPLE_RATE, norm="slaney", mel_scale="slaney")
    with torch.inference_mode(False):
        return torch.from_numpy(bank.T).to(device, torch.float32).contiguous()
