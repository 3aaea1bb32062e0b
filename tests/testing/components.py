"""Every component of the tree, in the smallest size that has all of its code."""

from pathlib import Path
from typing import Any

from omnikit import registry
from omnikit.recipe.presets import preset_fields
from omnikit.recipe.schema import construct

EXPECTED_FAILURES: dict[str, dict[str, str]] = {}
SMALL: dict[str, tuple[str, str, dict[str, object]]] = {
    "whisper": ("encoder", "whisper_tiny_random", {"dim": 32, "layers": 2, "ffn": 64}),
    "whisper window": ("encoder", "whisper_tiny_random", {"dim": 32, "layers": 1, "ffn": 64, "seconds": 1.0}),
    "mel_cnn": ("encoder", "mel_cnn_tiny_random", {"dim": 32, "layers": 2, "ffn": 64}),
    "mel_cnn streaming": ("encoder", "mel_cnn_tiny_random", {"dim": 32, "layers": 2, "ffn": 64, "chunk_size": 2,
                                                             "left_chunks": 3, "normalisation": "fixed"}),
    "mel_cnn relative": ("encoder", "mel_cnn_tiny_relative_random", {"dim": 32, "layers": 2, "ffn": 64}),
    "internvit": ("encoder", "internvit_tiny_random", {}),
    "openclip": ("encoder", "openclip_tiny_random", {}),
    "prompt": ("encoder", "prompt", {}),
    **{name: ("encoder", f"{name}_tiny_random", {}) for name in (
        "wav2vec2", "hubert", "wavlm", "w2v_bert", "hf_whisper", "ast", "clip", "siglip", "siglip2", "dinov2", "sam")},
    "linear": ("projector", "linear", {}),
    "mlp": ("projector", "mlp", {"hidden": 32, "norm": True}),
    "stack_mlp": ("projector", "stack_mlp", {"hidden": 32}),
    "stack_mlp pad": ("projector", "stack_mlp", {"hidden": 32, "stride": 2, "tail": "pad"}),
    "strided_conv": ("projector", "strided_conv", {"hidden": 32}),
    "strided_conv right": ("projector", "strided_conv", {"hidden": 32, "causal": False, "norm": "batch", "prompts": 3}),
    "qformer": ("projector", "qformer", {"queries": 4, "dim": 32, "ffn": 64, "heads": 2}),
    "prompt_embeddings": ("projector", "prompt_embeddings", {"count": 3}),
    "concat_mlp": ("projector", "concat_mlp", {}),
    "concat_sequence": ("projector", "concat_sequence", {}),
    "weighted_sum": ("projector", "weighted_sum", {}),
    "average_pool": ("projector", "average_pool", {}),
    "bert_qformer": ("projector", "bert_qformer", {}),
    "bert_qformer of text": ("projector", "bert_qformer", {"tokenizer": "tiny", "vocabulary": 665}),
    "window_qformer": ("projector", "window_qformer", {}),
    "perceiver_resampler": ("projector", "perceiver_resampler", {}),
    "query_resampler": ("projector", "query_resampler", {}),
    "pixel_shuffle_mlp": ("projector", "pixel_shuffle_mlp", {}),
    "anyres_mlp": ("projector", "anyres_mlp", {"hidden": 24, "most_tiles": 1, "video_stride": 2}),
    "spatiotemporal_pool": ("projector", "spatiotemporal_pool", {}),
    "video_qformer": ("projector", "video_qformer", {"dim": 32, "heads": 2, "ffn": 64, "frame_queries": 3, "queries": 5}),
    "hf_image_tower": ("encoder", "hf_image_tower", {}),
    "hf_high_res_tower": ("encoder", "hf_high_res_tower", {}),
    "hf_audio_tower": ("encoder", "hf_audio_tower", {}),
    "llama": ("backbone", "llama_tiny_random", {"dim": 32, "layers": 2, "ffn": 64}),
    "qwen2": ("backbone", "qwen2_tiny_random", {"dim": 32, "layers": 2, "ffn": 64}),
    "mixtral": ("backbone", "mixtral_tiny_random", {"dim": 32, "layers": 2, "ffn": 64}),
    "hf_cross_attention": ("backbone", "hf_cross_attention", {"dim": 32, "layers": 2, "ffn": 64, "cross_heads": 2,
                                                              "cross_head_dim": 8, "cross_gate": 0.5}),
    "hf_prefix": ("backbone", "hf_prefix", {"dim": 32, "layers": 2, "ffn": 64}),
    "hf_expert": ("backbone", "hf_expert", {"dim": 32, "layers": 2, "ffn": 64}),
    "hf_encoder_decoder": ("backbone", "hf_encoder_decoder", {"dim": 32, "head_dim": 8, "ffn": 64}),
    "bart": ("backbone", "hf_encoder_decoder", {"model_type": "bart", "dim": 32, "head_dim": 8, "ffn": 64, "gated": False,
                                                "context": 64, "start": 2}),
    "lm": ("head", "lm", {}),
    "ctc_text": ("head", "ctc_text", {}),
    "ctc_text stacked": ("head", "ctc_text", {"stack": 2}),
    "caption_words": ("head", "caption_words", {}),
    "state": ("head", "state", {}),
    "ctc_units": ("head", "ctc_units_tiny_random", {"dim": 32, "ffn": 64, "factor": 5}),
    "nar_ar": ("head", "nar_ar_tiny_random", {"dim": 32, "heads": 2, "ffn": 64, "layers": 2, "max_codes": 12}),
    "nar_ar prefix": ("head", "nar_ar_tiny_random", {"dim": 32, "heads": 2, "ffn": 64, "layers": 2, "max_codes": 12,
                                                     "prefix": True}),
    "parallel_codes": ("head", "parallel_codes_tiny_random", {"dim": 32, "heads": 2, "max_frames": 20}),
    "depth_codes": ("head", "depth_codes_tiny_random", {"dim": 32, "heads": 2, "max_frames": 20}),
    "delayed_codes": ("head", "delayed_codes", {"max_frames": 20}),
    "mimi": ("codec", "mimi_tiny_random", {}),
    "dac": ("codec", "dac_tiny_random", {}),
    "unit_hifigan": ("codec", "unit_hifigan_tiny_random", {}),
    "ticodec": ("codec", "ticodec_tiny_random", {}),
    "encodec": ("codec", "encodec_tiny_random", {}),
    "hubert_units": ("codec", "hubert_units", {"units": 16}),
    "mel_units": ("codec", "mel_units", {"units": 16, "duration_steps": 5, "griffin_lim": 2, "duration_dim": 16}),
    "energy": ("vad", "energy", {}),
    "silero": ("vad", "silero", {}),
    "espeak": ("tts", "espeak", {}),
}


def config(name: str) -> Any:
    """Give one of SMALL."""
    kind, preset, changes = SMALL[name]
    return made(kind, preset, changes)


def made(kind: str, preset: str, changes: dict[str, object]) -> Any:
    """Give a preset or component with changed fields."""
    fields = {**preset_fields(kind, preset), **changes}
    errors: list[str] = []
    found = construct(registry.component(kind, str(fields.pop("use"))), fields, kind, errors)
    assert not errors, errors
    return found


def rows_file(folder: Path) -> Path:
    """Write a dataset of one row."""
    path = folder / "rows.jsonl"
    path.write_text('{"id": "a", "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}\n')
    return path
