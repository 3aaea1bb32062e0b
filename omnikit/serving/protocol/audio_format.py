"""Audio on the wire: 16-bit PCM at 24 kHz, G.711 µ-law and A-law at 8 kHz, as bytes and as samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnikit.serving.protocol.fields import Fields, JsonObject

RATES = {"audio/pcm": 24000, "audio/pcmu": 8000, "audio/pcma": 8000}
FULL_SCALE = 32768.0
MU_BIAS, MU_CLIP = 132, 32635  # ITU-T G.711, in 16-bit samples


@dataclass(frozen=True)
class AudioFormat:
    """One of the formats of Realtime sessions."""

    kind: str = "audio/pcm"

    @property
    def rate(self) -> int:
        """Samples a second."""
        return RATES[self.kind]

    @property
    def sample_bytes(self) -> int:
        """Bytes of a sample."""
        return 2 if self.kind == "audio/pcm" else 1

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """Give samples [N] in [-1, 1] of bytes; an incomplete last sample is left out."""
        if self.kind == "audio/pcm":
            return np.frombuffer(data[:len(data) // 2 * 2], dtype="<i2").astype(np.float32) / np.float32(FULL_SCALE)
        table = _MU_TABLE if self.kind == "audio/pcmu" else _A_TABLE
        return table[np.frombuffer(data, dtype=np.uint8)]

    def encode(self, waveform: NDArray[np.float32]) -> bytes:
        """Give the bytes of samples [N]; what exceeds [-1, 1] is clipped."""
        values = np.clip(np.round(waveform.astype(np.float64) * FULL_SCALE), -32768, 32767).astype(np.int32)
        if self.kind == "audio/pcm":
            return values.astype("<i2").tobytes()
        return (_mu_law(values) if self.kind == "audio/pcmu" else _a_law(values)).tobytes()

    def json(self) -> JsonObject:
        """Give the format as a session states it."""
        return {"type": self.kind, "rate": self.rate} if self.kind == "audio/pcm" else {"type": self.kind}


def read_format(fields: Fields) -> AudioFormat:
    """Give the format that a client asks for; PCM has 24 000 samples a second."""
    fields.refuse_others(("type", "rate"))
    kind = fields.choice("type", RATES, "audio/pcm")
    if fields.has("rate") and fields.integer("rate", 1, 2**31) != RATES[kind]:
        raise fields.error("rate", f"{RATES[kind]}; resample the audio")
    return AudioFormat(kind)


def _mu_law(values: NDArray[np.int32]) -> NDArray[np.uint8]:
    magnitude = np.minimum(np.abs(values), MU_CLIP) + MU_BIAS
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7  # [N] in 0 … 7
    mantissa = (magnitude >> (exponent + 3)) & 15
    sign = np.where(values < 0, 128, 0)
    codes: NDArray[np.uint8] = (~(sign | exponent << 4 | mantissa) & 255).astype(np.uint8)
    return codes


def _a_law(values: NDArray[np.int32]) -> NDArray[np.uint8]:
    magnitude = np.where(values < 0, ~values, values) >> 3  # 12 bits
    segment = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 4, 0)  # [N] in 0 … 7
    code = segment << 4 | (magnitude >> np.maximum(segment, 1)) & 15  # the first two segments have one step size
    codes: NDArray[np.uint8] = ((code | np.where(values < 0, 0, 128)) ^ 0x55).astype(np.uint8)
    return codes


def _mu_table() -> NDArray[np.float32]:
    codes = ~np.arange(256) & 255
    exponent, mantissa = codes >> 4 & 7, codes & 15
    magnitude = ((mantissa << 3) + MU_BIAS << exponent) - MU_BIAS
    return (np.where(codes & 128, -magnitude, magnitude) / FULL_SCALE).astype(np.float32)


def _a_table() -> NDArray[np.float32]:
    codes = np.arange(256) ^ 0x55
    exponent, mantissa = codes >> 4 & 7, codes & 15
    magnitude = np.where(exponent == 0, (mantissa << 4) + 8, (mantissa << 4) + 264 << np.maximum(exponent - 1, 0))
    return (np.where(codes & 128, magnitude, -magnitude) / FULL_SCALE).astype(np.float32)


_MU_TABLE, _A_TABLE = _mu_table(), _a_table()
