"""What enters an audio encoder of transformers: waveforms as its feature extractors prepare them. Holds no weights."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torchaudio.compliance import kaldi
from transformers.audio_utils import mel_filter_bank

from omnikit_hf_audio.encoder import FRAME, HOP, MEL_STRIDE, SAMPLE_RATE, Encoder

kaldi.EPSILON = torch.tensor(torch.finfo(torch.float32).eps, device="cpu")  # its import may have been on meta
SIXTEEN_BITS = 2**15  # W2V-BERT takes samples as 16-bit numbers
W2V_BERT_BINS = 80
SMALL = 1e-7  # added to variances, feature_extraction_wav2vec2.py


def standardised(waveform: Tensor, lengths: Tensor) -> Tensor:
    """Bring the samples [B, N] of each row, as many as `lengths` [B] states, to mean 0 and variance 1; 0 beyond them."""
    inside = torch.arange(waveform.shape[1], device=waveform.device) < lengths[:, None]
    count = lengths.clamp(min=1)[:, None]
    wide = waveform.double().masked_fill(~inside, 0.0)
    mean = wide.sum(dim=1, keepdim=True) / count
    variance = (wide - mean).masked_fill(~inside, 0.0).square().sum(dim=1, keepdim=True) / count
    return ((waveform - mean.float()) / (variance.float() + SMALL).sqrt()).masked_fill(~inside, 0.0)


def log_mel(waveform: Tensor, encoder: Encoder) -> Tensor:
    """Give Whisper's input [B, bins, 2 * positions] of waveforms [B, N], 0 beyond a row's end.

    The steps and their order are those of feature_extraction_whisper.py, so that it is equal to the last bit.
    """
    waveform = F.pad(waveform[:, :encoder.window], (0, max(0, encoder.window - waveform.shape[1])))
    with torch.autocast(waveform.device.type, enabled=False):
        window = torch.hann_window(FRAME, device=waveform.device)
        spectrum = torch.stft(waveform, FRAME, HOP, window=window, return_complex=True)
        power = (spectrum[..., :-1].abs() ** 2).contiguous()
        mel = torch.clamp(mel_filters(encoder.mel_bins, waveform.device).T @ power, min=1e-10).log10()
    loudest = mel.amax(dim=(1, 2), keepdim=True)
    return (torch.maximum(mel, loudest - 8.0) + 4.0) / 4.0


@cache
def mel_filters(bins: int, device: torch.device) -> Tensor:
    """Whisper's mel filters [FRAME / 2 + 1, bins]."""
    bank = mel_filter_bank(FRAME // 2 + 1, bins, 0.0, SAMPLE_RATE / 2, SAMPLE_RATE, norm="slaney", mel_scale="slaney")
    with torch.inference_mode(False):
        return torch.from_numpy(bank).to(device, torch.float32)


def patches_of_mel(waveform: Tensor, lengths: Tensor, encoder: Encoder) -> Tensor:
    """Give AST's input [B, frames, bins]: Kaldi's log-mel of each row, 0 beyond its whole mel frames, normalised."""
    mel = _kaldi(waveform[:, :encoder.window], encoder.mel_bins, "hanning")
    mel = F.pad(mel, (0, 0, 0, encoder.frames - mel.shape[1]))
    return (_inside(mel, mel_frames(lengths)) - encoder.mean) / (encoder.deviation * 2)


def pairs_of_mel(waveform: Tensor, lengths: Tensor) -> Tensor:
    """Give W2V-BERT's input [B, T, 160]: Kaldi's log-mel of each row, each bin to mean 0 and variance 1, two frames to one."""
    count = mel_frames(lengths)
    mel = _kaldi(waveform.double() * SIXTEEN_BITS, W2V_BERT_BINS, "povey")
    mean = _inside(mel, count).sum(dim=1, keepdim=True) / count.clamp(min=1)[:, None, None]
    squares = _inside(mel - mean, count).square().sum(dim=1, keepdim=True)
    variance = squares / (count - 1).clamp(min=1)[:, None, None]
    mel = _inside((mel - mean) / (variance + SMALL).sqrt(), count).float()
    pairs = mel.shape[1] // MEL_STRIDE
    return mel[:, :pairs * MEL_STRIDE].reshape(len(mel), pairs, MEL_STRIDE * W2V_BERT_BINS)


def mel_frames(lengths: Tensor) -> Tensor:
    """Give the whole mel frames of clips of so many samples."""
    return (torch.div(lengths - FRAME, HOP, rounding_mode="floor") + 1).clamp(min=0)


def _inside(x: Tensor, count: Tensor) -> Tensor:
    """Give x [B, T, D] with zeros beyond the first `count` [B] of each row."""
    return x.masked_fill(torch.arange(x.shape[1], device=x.device)[:, None] >= count[:, None, None], 0.0)


def _kaldi(waveform: Tensor, bins: int, window: str) -> Tensor:
    """Give the log-mel [B, frames, bins] of waveforms [B, N] by Kaldi's rules; a frame depends on its own samples alone."""
    if waveform.shape[1] < FRAME:
        return waveform.new_zeros(len(waveform), 0, bins)
    with torch.autocast(waveform.device.type, enabled=False):
        return torch.stack([kaldi.fbank(row[None], sample_frequency=SAMPLE_RATE, window_type=window, num_mel_bins=bins)
                            for row in waveform])
