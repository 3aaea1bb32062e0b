"""The kinds of golden cases: each a module with `matches(case)`, by what a case holds, and `replay(case)`, which compares."""

from types import ModuleType

from parity.kinds import (
    dynamic_tiling,
    internvit,
    llama_omni_full,
    llama_omni_prompt,
    mel_whisper,
    slow_fast_pooling,
    streaming_speech_encoder,
    ticodec,
    unit_hifigan,
    video_sampling,
    vita_full,
    vita_prompt,
    vita_speech_decoder,
    vita_speech_streaming,
    vita_text_rules,
    whale_audio_encoder,
    whale_fbank,
)

KINDS: dict[str, ModuleType] = {
    "dynamic_tiling": dynamic_tiling,
    "internvit": internvit,
    "llama_omni_full": llama_omni_full,
    "llama_omni_prompt": llama_omni_prompt,
    "mel_whisper": mel_whisper,
    "slow_fast_pooling": slow_fast_pooling,
    "streaming_speech_encoder": streaming_speech_encoder,
    "ticodec": ticodec,
    "unit_hifigan": unit_hifigan,
    "video_sampling": video_sampling,
    "vita_full": vita_full,
    "vita_prompt": vita_prompt,
    "vita_speech_decoder": vita_speech_decoder,
    "vita_speech_streaming": vita_speech_streaming,
    "vita_text_rules": vita_text_rules,
    "whale_audio_encoder": whale_audio_encoder,
    "whale_fbank": whale_fbank,
}
