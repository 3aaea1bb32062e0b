"""The kinds of golden cases: each a module with `matches(case)`, by what a case holds, and `replay(case)`, which compares."""

from types import ModuleType

from parity.kinds import (
    internvit,
    llama_omni_full,
    llama_omni_prompt,
    mel_whisper,
    unit_hifigan,
    whale_audio_encoder,
    whale_fbank,
)

KINDS: dict[str, ModuleType] = {
    "internvit": internvit,
    "llama_omni_full": llama_omni_full,
    "llama_omni_prompt": llama_omni_prompt,
    "mel_whisper": mel_whisper,
    "unit_hifigan": unit_hifigan,
    "whale_audio_encoder": whale_audio_encoder,
    "whale_fbank": whale_fbank,
}
